"""Send attempts in this package's own table of the host's database.

``django_orm.py`` builds its store on it. The model is found by name, because ``actors.django_app`` stands above.
"""

from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import F
from django.utils import timezone

from actors.domain import AttemptState, Receipt, SendAttempt
from actors.errors import ChatError, NotFound
from actors.stores import writes

#: Longest reason, in characters; the column's width.
REASON_CHARS = 500


@writes.translates(OperationalError, InterfaceError)
class AttemptRows:
    """The table, under the database alias ``using``. ``to_key`` writes a chat message's id the one way it is stored."""

    def __init__(self, model: Any, *, using: str, to_key: Callable[[str], str]) -> None:
        self._model = model
        self._using = using
        self._to_key = to_key

    def attempts(self, message_id: str) -> list[SendAttempt]:
        """See :meth:`Store.attempts`."""
        found = self._table().filter(message_id=self._to_key(message_id)).order_by("part")
        return [_attempt(row) for row in found]

    def claim(
        self, message_id: str, part: int, *, instance_name: str, now_ms: int, deadline_at_ms: int
    ) -> SendAttempt | None:
        """See :meth:`Store.claim`."""
        fresh = {"instance_name": instance_name, "started_at_ms": now_ms, "deadline_at_ms": deadline_at_ms}
        try:
            with transaction.atomic(using=self._using, durable=True):
                return self._claimed({"message_id": self._to_key(message_id), "part": part}, fresh)
        except RuntimeError as error:
            # Django's own word for a durable block inside another one.
            raise ChatError(
                f"message {message_id}: claimed inside a transaction, which could still undo it; "
                "call it outside transaction.atomic()",
                code="claim_not_committed",
            ) from error

    def reclaim(self, attempt: SendAttempt, *, now_ms: int) -> SendAttempt | None:
        """See :meth:`Store.reclaim`."""
        with transaction.atomic(using=self._using):
            same = self._same(attempt).filter(state=AttemptState.UNKNOWN, looks=attempt.looks)
            again = {"state": AttemptState.SENDING, "looks": 0, "started_at_ms": now_ms, "reason": None}
            if not _update(same, number=F("number") + 1, **again):
                return None
            return self._now(attempt)

    def settle(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> bool:
        """See :meth:`Store.settle`."""
        movable = self._same(attempt).filter(state__in=writes.settles_from(state))
        provider_id = receipt.provider_message_id if receipt and state is AttemptState.ACCEPTED else None
        reason = reason[:REASON_CHARS] if reason else None
        try:
            with transaction.atomic(using=self._using):
                return _update(movable, state=state, provider_message_id=provider_id, reason=reason)
        except IntegrityError:
            writes.note_duplicate_id(message_id=attempt.message_id, instance=attempt.instance_name)
            return _update(movable, state=state, provider_message_id=None, reason=writes.DUPLICATE_ID)

    def looked(self, attempt: SendAttempt) -> SendAttempt:
        """See :meth:`Store.looked`."""
        same = self._same(attempt).filter(state=AttemptState.UNKNOWN, looks=attempt.looks)
        _update(same, looks=F("looks") + 1)
        return self._now(attempt)

    def bound_ids(self, instance_name: str, *, since_ms: int) -> set[str]:
        """See :meth:`Store.bound_ids`."""
        bound = self._table().filter(instance_name=instance_name, started_at_ms__gte=since_ms)
        return set(bound.exclude(provider_message_id=None).values_list("provider_message_id", flat=True))

    def _claimed(self, key: dict[str, Any], fresh: dict[str, Any]) -> SendAttempt | None:
        # The UPDATE comes first: on SQLite a transaction that has read cannot always become one that writes.
        again = {"state": AttemptState.SENDING, "looks": 0, "provider_message_id": None, "reason": None}
        retryable = self._table().filter(**key, state=AttemptState.RETRYABLE)
        if _update(retryable, number=F("number") + 1, **again, **fresh):
            return _attempt(self._table().get(**key))
        row = self._model(**key, state=AttemptState.SENDING, number=1, **fresh)
        try:
            with transaction.atomic(using=self._using):
                row.save(using=self._using, force_insert=True)
        except IntegrityError:
            return None
        return _attempt(row)

    def _redrive(self, message_id: str) -> None:
        dead = self._table().filter(message_id=self._to_key(message_id), state=AttemptState.DEAD)
        _update(dead, state=AttemptState.RETRYABLE)

    def _table(self) -> Any:
        return self._model.objects.using(self._using)

    def _same(self, attempt: SendAttempt) -> Any:
        key = self._to_key(attempt.message_id)
        return self._table().filter(message_id=key, part=attempt.part, number=attempt.number)

    def _now(self, attempt: SendAttempt) -> SendAttempt:
        row = self._table().filter(message_id=self._to_key(attempt.message_id), part=attempt.part).first()
        if row is None:
            raise NotFound(f"attempt {attempt.message_id}:{attempt.part} does not exist (any more)")
        return _attempt(row)


def _update(rows: Any, **changes: Any) -> bool:
    return bool(rows.update(updated_at=timezone.now(), **changes))


def _attempt(row: Any) -> SendAttempt:
    return SendAttempt(
        message_id=row.message_id,
        part=row.part,
        state=AttemptState(row.state),
        number=row.number,
        instance_name=row.instance_name,
        started_at_ms=row.started_at_ms,
        deadline_at_ms=row.deadline_at_ms,
        looks=row.looks,
        provider_message_id=row.provider_message_id,
        reason=row.reason,
    )
