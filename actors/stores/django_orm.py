"""Chat state in the host's own Django models.

``make_store("django", …)`` builds it from ``CHAT_ACTORS["MODELS"]`` and ``["FIELD_MAP"]``. The host's rows are changed by
conditional ``queryset.update`` only: ``save()`` would overwrite what a webhook wrote meanwhile and fire the host's signals
(the adopting product ingests a closed conversation again at every save).
"""

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
    ChatMessage,
    Conversation,
    ConversationType,
    GroupInfo,
    Instance,
    MessageStatus,
    Route,
)
from actors.errors import NotFound, SettingsError
from actors.stores import rows, writes
from actors.stores.django_attempts import AttemptRows
from actors.stores.django_host import HostModel, find_host, read, to_moment, to_ms, to_row
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow

if TYPE_CHECKING:
    from actors.settings import Settings

ATTEMPT_MODEL = ("chat_actors", "SendAttempt")


@writes.translates(OperationalError, InterfaceError)
class DjangoStore(AttemptRows):
    """Chat state in the models ``host``; everything under the database alias ``using``, so that it commits together."""

    name = "django"

    def __init__(self, host: dict[str, HostModel], *, attempt_model: Any, using: str) -> None:
        super().__init__(attempt_model, using=using, to_key=self._message_key)
        self._message = host["message"]
        self._conversation = host["conversation"]
        self._instance = host["instance"]
        self._attachment = host.get("attachment")
        self._to_conversation = self._message.paths["conversation"]
        paths = self._conversation.paths
        self._home = {name: paths[name] for name in ("instance_name", "tenant_id") if name in paths}

    def route(self, message_id: str) -> Route | None:
        """See :meth:`Store.route`."""
        over = {name: f"{self._to_conversation}__{path}" for name, path in self._home.items()}
        if "metadata" in self._message.paths:
            over["metadata"] = self._message.paths["metadata"]
        for found in read(self._messages(message_id), {"id": self._to_conversation, **over}):
            return _route(found, rows.preferred_instance(found.get("metadata") or {}, found["instance_name"]))
        return None

    def conversation_route(self, conversation_id: str) -> Route | None:
        """See :meth:`Store.conversation_route`."""
        for found in read(self._conversations(conversation_id), {"id": "pk", **self._home}):
            return _route(found, found["instance_name"] or None)
        return None

    def load_message(self, message_id: str) -> ChatMessage:
        """See :meth:`Store.load_message`."""
        found = self._message_row(self._messages(message_id))
        if found is None:
            raise NotFound(f"message {message_id!r} does not exist (any more)")
        conversation = self._conversation_row(self._conversations(found.conversation_id))
        if conversation is None:
            raise NotFound(f"message {message_id!r}: its conversation does not exist (any more)")
        quoted = rows.reply_target(found.metadata)
        same_conversation = {self._to_conversation: found.conversation_id}
        original = self._message_row(self._messages(quoted).filter(**same_conversation)) if quoted else None
        return rows.to_chat_message(found, conversation, self._attachment_rows(found.id), original)

    def load_conversation(self, conversation_id: str) -> Conversation:
        """See :meth:`Store.load_conversation`."""
        found = self._conversation_row(self._conversations(conversation_id))
        if found is None:
            raise NotFound(f"conversation {conversation_id!r} does not exist (any more)")
        return rows.to_conversation(found)

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """See :meth:`Store.load_instance`."""
        usable = self._instance.rows(self._using).filter(self._instance_has("is_active", value=True))
        if "tenant_id" in self._instance.paths:
            usable = usable.filter(
                self._instance_has("tenant_id", value=tenant_id) | self._instance_has("tenant_id", value=None)
            )
        if name and not use_fallback:
            names = ("instance_name", "evolution_instance_name", "phone_number_id")
            usable = usable.filter(self._instance_has(*names, value=name))
        known = [to_row(InstanceRow, found) for found in read(usable, self._instance.columns(InstanceRow))]
        return rows.find_instance(known, name, tenant_id=tenant_id, use_fallback=use_fallback)

    def mark_sent(self, message_id: str, *, provider_message_id: str | None) -> bool:
        """See :meth:`Store.mark_sent`."""
        try:
            with transaction.atomic(using=self._using):
                return self._sent(message_id, provider_message_id)
        except IntegrityError:
            writes.note_taken_id(message_id=message_id)
            return self._sent(message_id, None)

    def mark_failed(self, message_id: str, *, code: str, text: str) -> bool:
        """See :meth:`Store.mark_failed`."""
        pending = self._messages(message_id, MessageStatus.PENDING)
        return self._change(pending, status=MessageStatus.FAILED, error_message=writes.error_text(code, text))

    def mark_pending(self, message_id: str) -> bool:
        """See :meth:`Store.mark_pending`."""
        with transaction.atomic(using=self._using):
            failed = self._messages(message_id, MessageStatus.FAILED)
            moved = self._change(failed, status=MessageStatus.PENDING, error_message=self._no_error())
            if moved:
                self._redrive(message_id)
        return moved

    def pending_messages(self, *, before_ms: int, limit: int, after_id: str | None = None) -> list[str]:
        """See :meth:`Store.pending_messages`."""
        created_at = self._message.paths["created_at"]
        found = self._pending().filter(**{f"{created_at}__lt": to_moment(before_ms)})
        if after_id is not None:
            place = self._messages(after_id).values_list(created_at, "pk").first()
            if place is None:
                return []
            same_time = Q(**{created_at: place[0], "pk__gt": place[1]})
            found = found.filter(same_time | Q(**{f"{created_at}__gt": place[0]}))
        return [str(key) for key in found.order_by(created_at, "pk").values_list("pk", flat=True)[:limit]]

    def older_pending(self, message_id: str) -> str | None:
        """See :meth:`Store.older_pending`."""
        paths = self._message.paths
        created_at, conversation = paths["created_at"], paths["conversation"]
        own = self._messages(message_id)
        older = self._pending().filter(
            **{f"{conversation}__in": own.values(conversation), f"{created_at}__lt": own.values(created_at)[:1]}
        )
        key = older.order_by(created_at, "pk").values_list("pk", flat=True).first()
        return None if key is None else str(key)

    def _pending(self) -> Any:
        paths = self._message.paths
        found = self._message.rows(self._using).filter(
            **{paths["status"]: MessageStatus.PENDING, paths["direction"]: rows.OUTGOING}
        )
        return found.filter(**{paths["is_internal"]: False}) if "is_internal" in paths else found

    def save_picture(self, conversation_id: str, url: str) -> bool:
        """See :meth:`Store.save_picture`."""
        changes = self._conversation.changes(profile_pic_url=url)
        return writes.is_storable(url) and bool(self._conversations(conversation_id).update(**changes))

    def merge_group(self, conversation_id: str, info: GroupInfo) -> bool:
        """See :meth:`Store.merge_group`; the row is locked while its metadata is read and written."""
        with transaction.atomic(using=self._using):
            found = self._conversations(conversation_id)
            if connections[self._using].features.has_select_for_update:
                before = self._conversation_row(found.select_for_update())
            else:
                # SQLite has no row locks: a write that changes nothing takes the database's.
                name = self._conversation.paths["contact_name"]
                found.update(**{name: F(name)})
                before = self._conversation_row(found)
            if before is None or before.conversation_type != ConversationType.GROUP:
                return False
            changes = writes.group_changes(before, info)
            if changes:
                found.update(**self._conversation.changes(**changes))
        return True

    def close_stale_connections(self) -> None:
        """See :meth:`Store.close_stale_connections`."""
        close_old_connections()

    def _sent(self, message_id: str, provider_id: str | None) -> bool:
        waiting = self._messages(message_id, MessageStatus.PENDING, MessageStatus.FAILED)
        bound = {} if provider_id is None else {"message_id": provider_id}
        sent = {"status": MessageStatus.SENT, "evolution_status": MessageStatus.SENT, "error_message": self._no_error()}
        if self._change(waiting, **sent, **bound):
            return True
        if bound:
            path = self._message.paths["message_id"]
            nameless = self._messages(message_id, *SENT_STATUSES).filter(Q((path, None)) | Q((path, "")))
            self._change(nameless, **bound)
        return False

    def _change(self, found: Any, **values: Any) -> bool:
        return bool(found.update(**self._message.changes(updated_at=timezone.now(), **values)))

    def _no_error(self) -> str | None:
        return self._message.empty("error_message")

    def _messages(self, message_id: str, *statuses: MessageStatus) -> Any:
        found = self._message.rows(self._using).filter(pk__in=self._message.keys(message_id))
        return found.filter(**{f"{self._message.paths['status']}__in": statuses}) if statuses else found

    def _conversations(self, conversation_id: str) -> Any:
        return self._conversation.rows(self._using).filter(pk__in=self._conversation.keys(conversation_id))

    def _instance_has(self, *names: str, value: Any) -> Q:
        paths = [self._instance.paths[name] for name in names if name in self._instance.paths]
        return Q(*((path, value) for path in paths), _connector=Q.OR)

    def _message_row(self, found: Any) -> MessageRow | None:
        paths = self._message.paths
        own = {"id": "pk", "conversation_id": paths["conversation"], "created_at_ms": paths["created_at"]}
        for values in read(found, {**self._message.columns(MessageRow), **own}):
            return to_row(MessageRow, {**values, "created_at_ms": to_ms(values["created_at_ms"])})
        return None

    def _conversation_row(self, found: Any) -> ConversationRow | None:
        for values in read(found, {**self._conversation.columns(ConversationRow), "id": "pk"}):
            return to_row(ConversationRow, values)
        return None

    def _attachment_rows(self, message_id: str) -> list[AttachmentRow]:
        if self._attachment is None:
            return []
        paths = self._attachment.paths
        found = self._attachment.rows(self._using).filter(**{f"{paths['message']}__in": self._message.keys(message_id)})
        ordered = found.order_by(*([paths["created_at"]] if "created_at" in paths else []), "pk")
        wanted = {**self._attachment.columns(AttachmentRow), "message_id": paths["message"]}
        # The order is the query's; the time is not asked again.
        return [to_row(AttachmentRow, {**values, "created_at_ms": 0}) for values in read(ordered, wanted)]

    def _message_key(self, message_id: str) -> str:
        # Two spellings of one UUID must not make two attempts.
        return next((str(key) for key in self._message.keys(message_id)), message_id)


def _route(found: dict[str, Any], instance_name: str | None) -> Route:
    tenant_id = found.get("tenant_id")
    return Route(
        conversation_id=str(found["id"]),
        instance_name=instance_name,
        tenant_id=None if tenant_id is None else str(tenant_id),
    )


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
        attempt_model = apps.get_model(*ATTEMPT_MODEL)
    except LookupError as error:
        raise SettingsError(["add 'actors.django_app' to INSTALLED_APPS and run manage.py migrate"]) from error
    using = router.db_for_write(host["message"].model)
    if not connections[using].settings_dict["AUTOCOMMIT"]:
        raise SettingsError([f"DATABASES[{using!r}] has AUTOCOMMIT False: a claim could not be committed by itself"])
    return DjangoStore(host, attempt_model=attempt_model, using=using)


def _set_up() -> None:
    try:
        django.setup()
    except Exception as error:
        # Settings modules fail with anything, and a foreign text may quote a secret: the class and a module's name.
        name = f" {error.name!r}" if isinstance(error, ImportError) and error.name else ""
        raise SettingsError(
            [f"Django could not be set up ({type(error).__name__}{name}): run 'python -m django check' to see why"]
        ) from error
