"""Chat state in the host's own Django models.

``make_store("django", …)`` builds it from ``CHAT_ACTORS["MODELS"]`` and ``["FIELD_MAP"]``. The host's rows are changed by
conditional ``queryset.update`` only: ``save()`` would overwrite what a webhook wrote meanwhile and fire the host's signals
(the adopting product ingests a closed conversation again at every save).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import django
from django.apps import apps
from django.db import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    close_old_connections,
    connections,
    router,
    transaction,
)
from django.db.models import F, Q
from django.utils import timezone

from actors.domain import (
    SENT_STATUSES,
    AttemptState,
    ConversationType,
    GroupInfo,
    MessageStatus,
    Receipt,
    SendAttempt,
    SendOptions,
)
from actors.errors import SettingsError
from actors.stores import announcements, writes
from actors.stores.django_attempts import AttemptRows
from actors.stores.django_host import HostModel, find_host
from actors.stores.django_prepared import Change
from actors.stores.django_rows import HostRows

if TYPE_CHECKING:
    from actors.settings import Settings

APP_LABEL = "chat_actors"
#: This package's own models.
TABLES = ("SendAttempt", "SendOptions")
#: Rows of one statement.
BATCH = 500


@writes.translates(OperationalError, InterfaceError)
class DjangoStore(HostRows, AttemptRows):
    """Chat state in the models ``host``; everything under the database alias ``using``, so that it commits together.

    ``tables`` are this package's own, by name.
    """

    name = "django"

    def __init__(self, host: dict[str, HostModel], *, tables: Mapping[str, Any], using: str) -> None:
        HostRows.__init__(self, host, using=using)
        AttemptRows.__init__(self, tables["SendAttempt"], using=using, to_key=self._message_key)
        self._options = tables["SendOptions"].objects.using(using)
        self.databases = (using,)
        self._send = {is_bound: self._sending(is_bound=is_bound) for is_bound in (False, True)}

    def record_sent(
        self, attempt: SendAttempt, receipt: Receipt, *, first: SendAttempt | None = None
    ) -> SendAttempt | None:
        """See :meth:`Store.record_sent`; two statements in one transaction."""
        accepted = writes.settled(attempt, AttemptState.ACCEPTED, receipt=receipt)
        try:
            with transaction.atomic(using=self._using):
                if self._settled(accepted) is None:
                    return None
                self._record(accepted, first)
        except IntegrityError:
            # Either table may hold the id already: step by step, each with its own way out.
            with transaction.atomic(using=self._using):
                settled = self.settle(attempt, AttemptState.ACCEPTED, receipt=receipt)
                if settled is not None:
                    self._record(settled, first, may_be_taken=True)
            return settled
        return accepted

    def _record(self, accepted: SendAttempt, first: SendAttempt | None, *, may_be_taken: bool = False) -> None:
        record = self._sent_or_taken if may_be_taken else self._sent
        provider_id = writes.row_id(accepted, first)
        if record(accepted.message_id, provider_id):
            self._announce_sent(accepted.message_id, provider_id, accepted.instance_name)

    def record_failed(self, attempt: SendAttempt, *, provider_message_id: str, code: str, text: str) -> bool:
        """See :meth:`Store.record_failed`."""
        with transaction.atomic(using=self._using):
            waiting = self._messages(attempt.message_id, MessageStatus.PENDING, MessageStatus.SENT)
            moved = self._fail(attempt.message_id, waiting, code=code, text=text)
            if moved or self._messages(attempt.message_id, MessageStatus.FAILED).exists():
                self._bury(attempt, provider_message_id=provider_message_id, code=code)
        return moved

    def mark_sent(self, message_id: str, *, provider_message_id: str | None) -> bool:
        """See :meth:`Store.mark_sent`."""
        with transaction.atomic(using=self._using):
            moved = self._sent_or_taken(message_id, provider_message_id)
            if moved:
                self._announce_sent(message_id, provider_message_id)
        return moved

    def mark_failed(self, message_id: str, *, code: str, text: str) -> bool:
        """See :meth:`Store.mark_failed`."""
        with transaction.atomic(using=self._using):
            return self._fail(message_id, self._messages(message_id, MessageStatus.PENDING), code=code, text=text)

    def advance(self, message_id: str, status: MessageStatus) -> bool:
        """See :meth:`Store.advance`."""
        behind = self._messages(message_id, *writes.advances_from(status))
        return self._change(behind, status=status, evolution_status=status)

    def remember_options(self, message_ids: Sequence[str], options: SendOptions) -> None:
        """See :meth:`Store.remember_options`; a statement per :data:`BATCH`, whose conflicts make no transaction unusable."""
        given = {name: True for name in ("use_fallback", "bulk") if getattr(options, name)}
        # In one order, or two callers may wait for each other.
        keys = sorted({self._message_key(id_) for id_ in message_ids})
        # Where a row is already only what is allowed now is written: nothing is taken back.
        conflicts: dict[str, Any] = {
            "update_conflicts": True,
            "unique_fields": ["message_id"],
            "update_fields": [*given],
        }
        self._options.bulk_create(
            [self._options.model(message_id=key, **given) for key in keys],
            batch_size=BATCH,
            **(conflicts if given else {"ignore_conflicts": True}),
        )

    def options_of(self, message_ids: Sequence[str]) -> dict[str, SendOptions]:
        """See :meth:`Store.options_of`."""
        keys = {id_: self._message_key(id_) for id_ in message_ids}
        found = self._options.filter(message_id__in=set(keys.values()))
        known = {
            key: SendOptions(use_fallback=use_fallback, bulk=bulk)
            for key, use_fallback, bulk in found.values_list("message_id", "use_fallback", "bulk")
        }
        return {id_: known[key] for id_, key in keys.items() if key in known}

    def mark_pending(self, message_id: str) -> bool:
        """See :meth:`Store.mark_pending`."""
        with transaction.atomic(using=self._using):
            failed = self._messages(message_id, MessageStatus.FAILED)
            moved = self._change(failed, status=MessageStatus.PENDING, error_message=self._no_error())
            if moved:
                self._redrive(message_id)
        return moved

    def save_picture(self, conversation_id: str, url: str) -> bool:
        """See :meth:`Store.save_picture`."""
        if not writes.is_storable(url):
            return False
        own, changes = self._conversations(conversation_id), self._conversation.changes(profile_pic_url=url)
        with transaction.atomic(using=self._using):
            if own.exclude(**changes).update(**changes):
                self._after_commit(announcements.picture, conversation_id)
                return True
        return bool(own.exists())

    def merge_group(self, conversation_id: str, info: GroupInfo) -> bool:
        """See :meth:`Store.merge_group`; the row is locked while its metadata is read and written."""
        with transaction.atomic(using=self._using):
            found = self._conversations(conversation_id)
            if connections[self._using].features.has_select_for_update:
                before = self._conversation_row(conversation_id, self._thread_reading.all.select_for_update())
            else:
                # SQLite has no row locks: a write that changes nothing takes the database's.
                name = self._conversation.paths["contact_name"]
                found.update(**{name: F(name)})
                before = self._conversation_row(conversation_id, self._thread_reading.all)
            if before is None or before.conversation_type != ConversationType.GROUP:
                return False
            changes = writes.group_changes(before, info)
            if changes:
                found.update(**self._conversation.changes(**changes))
                self._after_commit(announcements.group, conversation_id)
        return True

    def close_thread_connections(self) -> None:
        """See :meth:`Store.close_thread_connections`."""
        connections.close_all()

    def close_stale_connections(self) -> None:
        """See :meth:`Store.close_stale_connections`."""
        close_old_connections()

    def _sent_or_taken(self, message_id: str, provider_id: str | None) -> bool:
        if provider_id is None:
            return self._sent(message_id, None)
        try:
            with transaction.atomic(using=self._using):
                return self._sent(message_id, provider_id)
        except IntegrityError:
            writes.note_taken_id(message_id=message_id)
            return self._sent(message_id, None)

    def _fail(self, message_id: str, found: Any, *, code: str, text: str) -> bool:
        moved = self._change(found, status=MessageStatus.FAILED, error_message=writes.error_text(code, text))
        if moved:
            self._after_commit(announcements.failed, message_id, code=code)
        return moved

    def _announce_sent(self, message_id: str, provider_id: str | None, instance_name: str | None = None) -> None:
        known = {"provider_message_id": provider_id, "instance_name": instance_name}
        self._after_commit(announcements.sent, message_id, **known)

    def _after_commit(self, announce: Callable[..., None], row_id: str, **about: Any) -> None:
        """The commit may be that of a transaction of the host's around this one."""
        transaction.on_commit(lambda: announce(self, row_id, **about), using=self._using, robust=True)

    def _sent(self, message_id: str, provider_id: str | None) -> bool:
        bound = {} if provider_id is None else {"message_id": provider_id}
        keys, change = self._keys(message_id), self._send[bool(bound)]
        now = {"updated_at": timezone.now()}
        if keys and change.run(key=keys[0], **{name: {**now, **bound}[name] for name in change.given if name != "key"}):
            return True
        if bound:
            path = self._message.paths["message_id"]
            nameless = self._messages(message_id, *SENT_STATUSES).filter(Q((path, None)) | Q((path, "")))
            self._change(nameless, **bound)
        return False

    def _sending(self, *, is_bound: bool) -> Change:
        """The statement that makes a message's row sent, with the provider's id where it has one."""
        host, rows = self._message, self._message.rows(self._using)
        before = {f"{host.paths['status']}__in": (MessageStatus.PENDING, MessageStatus.FAILED)}
        sent = {"status": MessageStatus.SENT, "evolution_status": MessageStatus.SENT, "error_message": self._no_error()}
        names = [name for name in ("updated_at", *(["message_id"] if is_bound else [])) if name in host.paths]

        def make(key: Any, **values: Any) -> tuple[Any, dict[str, Any]]:
            return rows.filter(pk=key, **before), host.changes(**sent, **values)

        fields = {"key": host.key_field, **{name: host.field(name) for name in names}}
        return Change(self._using, make, fields=fields, saved=names)

    def _change(self, found: Any, **values: Any) -> bool:
        return bool(found.update(**self._message.changes(updated_at=timezone.now(), **values)))

    def _no_error(self) -> str | None:
        return self._message.empty("error_message")


def make_store(settings: "Settings") -> DjangoStore:
    """Build the backend; sets Django up where that has not happened yet.

    Raises:
        SettingsError: Django cannot be set up, or the host's models do not fit; every fault is named.
    """
    if not apps.ready:
        _set_up()
    host, faults = find_host(settings.models, settings.field_map)
    if faults:
        raise SettingsError([f"{fault.text}. {fault.hint}" for fault in faults])
    try:
        tables = {name: apps.get_model(APP_LABEL, name) for name in TABLES}
    except LookupError as error:
        raise SettingsError(["add 'actors.django_app' to INSTALLED_APPS and run manage.py migrate"]) from error
    using = router.db_for_write(host["message"].model)
    if not connections[using].settings_dict["AUTOCOMMIT"]:
        raise SettingsError([f"DATABASES[{using!r}] has AUTOCOMMIT False: a claim could not be committed by itself"])
    return DjangoStore(host, tables=tables, using=using)


def _set_up() -> None:
    try:
        django.setup()
    except Exception as error:
        # Settings modules fail with anything, and a foreign text may quote a secret: the class and a module's name.
        name = f" {error.name!r}" if isinstance(error, ImportError) and error.name else ""
        raise SettingsError(
            [f"Django could not be set up ({type(error).__name__}{name}): run 'python -m django check' to see why"]
        ) from error
