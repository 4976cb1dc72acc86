"""Send attempts in this package's own table of the host's database.

``django_orm.py`` builds its store on it. The models are found by name, because ``actors.django_app`` stands above.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import F, Q
from django.utils import timezone

from actors.domain import AttemptState, Receipt, SendAttempt
from actors.errors import ChatError, DeliveryUnknown, NotFound
from actors.stores import writes
from actors.stores.django_prepared import Change, Insert, Read

_COLUMNS = [field.name for field in fields(SendAttempt)]
#: What a settling statement is given, beside the time.
_SETTLED = ("message_id", "part", "number", "provider_message_id", "reason")
#: ``writes.is_unaccounted`` as a condition.
_UNACCOUNTED = Q(provider_message_id=None) & (
    Q(state__in=(AttemptState.SENDING, AttemptState.UNKNOWN))
    | Q(state=AttemptState.ACCEPTED) & (Q(reason=None) | ~Q(reason=writes.DUPLICATE_ID))
    | Q(state=AttemptState.DEAD, reason=DeliveryUnknown.code)
)


@writes.translates(OperationalError, InterfaceError)
class AttemptRows:
    """The table, under the database alias ``using``. ``to_key`` writes a chat message's id the one way it is stored."""

    def __init__(self, model: Any, *, using: str, to_key: Callable[[str], str]) -> None:
        self._model = model
        self._using = using
        self._to_key = to_key
        self._by_part = by_part = model.objects.using(using).order_by("part").values_list(*_COLUMNS)
        message_id = {"message_id": model._meta.get_field("message_id")}
        self._read = Read(
            using, lambda message_id: by_part.filter(message_id=message_id), names=_COLUMNS, fields=message_id
        )
        self._insert = Insert(using, model)
        self._settles = {state: self._settling(state, before) for state, before in writes.SETTLES_FROM.items()}

    def attempts(self, message_id: str) -> list[SendAttempt]:
        """See :meth:`Store.attempts`."""
        return [_attempt(row) for row in self._read.rows(message_id=self._to_key(message_id))]

    def claim(self, attempt: SendAttempt, *, before: SendAttempt | None = None) -> SendAttempt | None:
        """See :meth:`Store.claim`; one statement, which commits itself."""
        claimed = replace(attempt, message_id=self._to_key(attempt.message_id))
        try:
            with self._committed():
                return claimed if self._claimed(claimed, before) else None
        except IntegrityError:
            # The part has a row: somebody else was first.
            return None
        except RuntimeError as error:
            # Django's own word for a durable block inside another one.
            raise ChatError(
                f"message {attempt.message_id}: claimed inside a transaction, which could still undo it; "
                "call it outside transaction.atomic()",
                code="claim_not_committed",
            ) from error

    def settle(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> SendAttempt | None:
        """See :meth:`Store.settle`."""
        after = writes.settled(attempt, state, receipt=receipt, reason=reason)
        if after.provider_message_id is None:
            return self._settled(after)
        try:
            with transaction.atomic(using=self._using):
                return self._settled(after)
        except IntegrityError:
            writes.note_duplicate_id(message_id=attempt.message_id, instance=attempt.instance_name)
            return self._settled(replace(after, provider_message_id=None, reason=writes.DUPLICATE_ID))

    def bind(self, message_id: str, part: int, *, provider_message_id: str) -> SendAttempt | None:
        """See :meth:`Store.bind`."""
        row = next((row for row in self.attempts(message_id) if row.part == part), None)
        if row is None or not writes.may_be_bound(row, provider_message_id):
            return None
        bound = replace(row, state=AttemptState.ACCEPTED, provider_message_id=provider_message_id, reason=None)
        same = self._same(row).filter(state=row.state, reason=row.reason)
        try:
            with transaction.atomic(using=self._using):
                moved = _update(same, state=bound.state, provider_message_id=provider_message_id, reason=None)
        except IntegrityError:
            writes.note_duplicate_id(message_id=message_id, instance=row.instance_name)
            return None
        # It moved between the look and the write: its run knows by now, or another update comes.
        return bound if moved else self.bind(message_id, part, provider_message_id=provider_message_id)

    def looked(self, attempt: SendAttempt) -> SendAttempt:
        """See :meth:`Store.looked`."""
        same = self._same(attempt).filter(state=AttemptState.UNKNOWN, looks=attempt.looks)
        _update(same, looks=F("looks") + 1)
        key = self._to_key(attempt.message_id)
        found = _attempts(self._by_part.filter(message_id=key, part=attempt.part))
        if not found:
            raise NotFound(f"attempt {attempt.message_id}:{attempt.part} does not exist (any more)")
        return found[0]

    def attempt_of(self, instance_name: str, provider_message_id: str) -> SendAttempt | None:
        """See :meth:`Store.attempt_of`."""
        own = self._by_part.filter(instance_name=instance_name, provider_message_id=provider_message_id)
        return next(iter(_attempts(own)), None)

    def unaccounted(self, instance_name: str, *, since_ms: int, until_ms: int, limit: int) -> list[SendAttempt]:
        """See :meth:`Store.unaccounted`."""
        own = self._by_part.filter(instance_name=instance_name, started_at_ms__range=(since_ms, until_ms))
        return _attempts(own.filter(_UNACCOUNTED).order_by("started_at_ms", "message_id", "part")[:limit])

    def bound_ids(self, instance_name: str, *, since_ms: int) -> set[str]:
        """See :meth:`Store.bound_ids`."""
        bound = self._table().filter(instance_name=instance_name, started_at_ms__gte=since_ms)
        return set(bound.exclude(provider_message_id=None).values_list("provider_message_id", flat=True))

    def _claimed(self, attempt: SendAttempt, before: SendAttempt | None) -> bool:
        values = {name: getattr(attempt, name) for name in _COLUMNS}
        if before is None:
            now = timezone.now()
            self._insert.run(**values, created_at=now, updated_at=now)
            return True
        if before.state not in writes.CLAIMED_FROM:
            return False
        return _update(self._same(before).filter(state=before.state, looks=before.looks), **values)

    def _settled(self, after: SendAttempt) -> SendAttempt | None:
        own = {name: getattr(after, name) for name in _SETTLED}
        key = self._to_key(after.message_id)
        return (
            after if self._settles[after.state].run(**{**own, "message_id": key}, updated_at=timezone.now()) else None
        )

    def _settling(self, state: AttemptState, before: frozenset[AttemptState]) -> Change:
        """The statement that brings an attempt from one of ``before`` to ``state``."""
        table = self._table()

        def make(message_id: Any, part: Any, number: Any, **changes: Any) -> tuple[Any, dict[str, Any]]:
            same = table.filter(message_id=message_id, part=part, number=number, state__in=before)
            return same, {**changes, "state": state}

        fields = {name: self._model._meta.get_field(name) for name in (*_SETTLED, "updated_at")}
        return Change(self._using, make, fields=fields, saved=("provider_message_id", "reason", "updated_at"))

    def _committed(self) -> AbstractContextManager[None]:
        """Outside a transaction a statement commits itself, without two more words to the database."""
        if not transaction.get_connection(self._using).in_atomic_block:
            return nullcontext()
        committed: AbstractContextManager[None] = transaction.atomic(using=self._using, durable=True)
        return committed

    def _bury(self, attempt: SendAttempt, *, provider_message_id: str, code: str) -> None:
        rows = self._table().filter(message_id=self._to_key(attempt.message_id), part=attempt.part)
        _update(rows, state=AttemptState.DEAD, provider_message_id=provider_message_id, reason=code)

    def _redrive(self, message_id: str) -> None:
        dead = self._table().filter(message_id=self._to_key(message_id), state=AttemptState.DEAD)
        _update(dead, state=AttemptState.RETRYABLE)

    def _table(self) -> Any:
        return self._model.objects.using(self._using)

    def _same(self, attempt: SendAttempt) -> Any:
        key = self._to_key(attempt.message_id)
        return self._table().filter(message_id=key, part=attempt.part, number=attempt.number)


def _update(rows: Any, **changes: Any) -> bool:
    return bool(rows.update(updated_at=timezone.now(), **changes))


def _attempts(rows: Any) -> list[SendAttempt]:
    return [_attempt(dict(zip(_COLUMNS, values, strict=True))) for values in rows]


def _attempt(row: dict[str, Any]) -> SendAttempt:
    return SendAttempt(**{**row, "state": AttemptState(row["state"])})
