"""Send attempts, and what senders allow, of the store in memory. ``memory.py`` builds its store on it."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

from actors.domain import AttemptState, Receipt, SendAttempt, SendOptions
from actors.stores import writes


class AttemptTable:
    """Attempts by (message, part) and options by message, under one lock that the whole store shares."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._attempts: dict[tuple[str, int], SendAttempt] = {}
        self._options: dict[str, SendOptions] = {}

    def attempts(self, message_id: str) -> list[SendAttempt]:
        """See :meth:`Store.attempts`."""
        with self._lock:
            found = [attempt for (owner, _), attempt in self._attempts.items() if owner == message_id]
        return sorted(found, key=lambda attempt: attempt.part)

    def claim(self, attempt: SendAttempt, *, before: SendAttempt | None = None) -> SendAttempt | None:
        """See :meth:`Store.claim`."""
        with self._lock:
            row = self._attempts.get((attempt.message_id, attempt.part))
            if before is None:
                return self._put(attempt) if row is None else None
            row = self._same(before, writes.CLAIMED_FROM & {before.state})
            return None if row is None or row.looks != before.looks else self._put(attempt)

    def settle(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> SendAttempt | None:
        """See :meth:`Store.settle`."""
        with self._lock:
            row = self._same(attempt, writes.settles_from(state))
            if row is None:
                return None
            after = writes.settled(row, state, receipt=receipt, reason=reason)
            if after.provider_message_id in self.bound_ids(row.instance_name, since_ms=0):
                writes.note_duplicate_id(message_id=row.message_id, instance=row.instance_name)
                after = replace(after, provider_message_id=None, reason=writes.DUPLICATE_ID)
            return self._put(after)

    def bind(self, message_id: str, part: int, *, provider_message_id: str) -> SendAttempt | None:
        """See :meth:`Store.bind`."""
        with self._lock:
            row = self._attempts.get((message_id, part))
            if row is None or not writes.may_be_bound(row, provider_message_id):
                return None
            owner = self.attempt_of(row.instance_name, provider_message_id)
            if owner is not None and owner != row:
                writes.note_duplicate_id(message_id=message_id, instance=row.instance_name)
                return None
            return self._put(
                replace(row, state=AttemptState.ACCEPTED, provider_message_id=provider_message_id, reason=None)
            )

    def looked(self, attempt: SendAttempt) -> SendAttempt:
        """See :meth:`Store.looked`."""
        with self._lock:
            row = self._same(attempt, {AttemptState.UNKNOWN})
            if row is not None and row.looks == attempt.looks:
                return self._put(replace(row, looks=row.looks + 1))
            return self._attempts[attempt.message_id, attempt.part]

    def remember_options(self, message_ids: Sequence[str], options: SendOptions) -> None:
        """See :meth:`Store.remember_options`."""
        with self._lock:
            for id_ in message_ids:
                self._options[id_] = writes.joined(self._options.get(id_), options)

    def options_of(self, message_ids: Sequence[str]) -> dict[str, SendOptions]:
        """See :meth:`Store.options_of`."""
        with self._lock:
            return {id_: self._options[id_] for id_ in message_ids if id_ in self._options}

    def attempt_of(self, instance_name: str, provider_message_id: str) -> SendAttempt | None:
        """See :meth:`Store.attempt_of`."""
        with self._lock:
            own = [row for row in self._attempts.values() if row.instance_name == instance_name]
        return next((row for row in own if row.provider_message_id == provider_message_id), None)

    def unaccounted(self, instance_name: str, *, since_ms: int, until_ms: int, limit: int) -> list[SendAttempt]:
        """See :meth:`Store.unaccounted`."""
        with self._lock:
            own = [row for row in self._attempts.values() if row.instance_name == instance_name]
        found = [row for row in own if since_ms <= row.started_at_ms <= until_ms and writes.is_unaccounted(row)]
        return sorted(found, key=lambda row: (row.started_at_ms, row.message_id, row.part))[:limit]

    def bound_ids(self, instance_name: str, *, since_ms: int) -> set[str]:
        """See :meth:`Store.bound_ids`."""
        with self._lock:
            own = [row for row in self._attempts.values() if row.instance_name == instance_name]
        return {row.provider_message_id for row in own if row.provider_message_id and row.started_at_ms >= since_ms}

    def _put(self, attempt: SendAttempt) -> SendAttempt:
        self._attempts[attempt.message_id, attempt.part] = attempt
        return attempt

    def _same(self, attempt: SendAttempt, states: Collection[AttemptState]) -> SendAttempt | None:
        row = self._attempts.get((attempt.message_id, attempt.part))
        return row if row is not None and row.number == attempt.number and row.state in states else None
