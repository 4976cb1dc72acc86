"""Send attempts, and what senders allow, in the SQLite store's file. ``sqlite.py`` builds its store on it."""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from actors.domain import AttemptState, Receipt, SendAttempt, SendOptions
from actors.errors import DeliveryUnknown, NotFound
from actors.stores import sqlite_schema, writes
from actors.stores.sqlite_file import SqliteFile


@writes.translates(sqlite3.OperationalError)
class AttemptRows:
    """The tables ``send_attempt`` and ``send_options`` of one file."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def attempts(self, message_id: str) -> list[SendAttempt]:
        """See :meth:`Store.attempts`."""
        found = self._all("SELECT * FROM send_attempt WHERE message_id = ? ORDER BY part", message_id)
        return [sqlite_schema.to_attempt(row) for row in found]

    def claim(self, attempt: SendAttempt, *, before: SendAttempt | None = None) -> SendAttempt | None:
        """See :meth:`Store.claim`; one statement."""
        values = sqlite_schema.attempt_columns(attempt)
        if before is None:
            claimed = self._changed(sqlite_schema.INSERT_ATTEMPT, values)
        elif before.state in writes.CLAIMED_FROM:
            found = {"was_number": before.number, "was_looks": before.looks, "was_state": before.state}
            claimed = self._changed(
                f"{sqlite_schema.UPDATE_ATTEMPT} AND number = :was_number AND looks = :was_looks AND state = :was_state",
                {**values, **found},
            )
        else:
            claimed = False
        return attempt if claimed else None

    def settle(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> SendAttempt | None:
        """See :meth:`Store.settle`."""
        after = writes.settled(attempt, state, receipt=receipt, reason=reason)
        from_states = writes.settles_from(state)
        try:
            return self._settled(after, from_states)
        except sqlite3.IntegrityError:
            writes.note_duplicate_id(message_id=attempt.message_id, instance=attempt.instance_name)
            return self._settled(replace(after, provider_message_id=None, reason=writes.DUPLICATE_ID), from_states)

    def bind(self, message_id: str, part: int, *, provider_message_id: str) -> SendAttempt | None:
        """See :meth:`Store.bind`."""
        with self._file.writing() as connection:
            row = next((row for row in self.attempts(message_id) if row.part == part), None)
            if row is None or not writes.may_be_bound(row, provider_message_id):
                return None
            bound = replace(row, state=AttemptState.ACCEPTED, provider_message_id=provider_message_id, reason=None)
            try:
                connection.execute(sqlite_schema.UPDATE_ATTEMPT, sqlite_schema.attempt_columns(bound))
            except sqlite3.IntegrityError:
                writes.note_duplicate_id(message_id=message_id, instance=row.instance_name)
                return None
        return bound

    def looked(self, attempt: SendAttempt) -> SendAttempt:
        """See :meth:`Store.looked`."""
        with self._file.writing() as connection:
            key = (attempt.message_id, attempt.part)
            connection.execute(
                "UPDATE send_attempt SET looks = looks + 1"
                " WHERE message_id = ? AND part = ? AND number = ? AND looks = ? AND state = 'unknown'",
                (*key, attempt.number, attempt.looks),
            )
            found = connection.execute("SELECT * FROM send_attempt WHERE message_id = ? AND part = ?", key).fetchall()
        return sqlite_schema.to_attempt(one(found, f"attempt {attempt.message_id}:{attempt.part}"))

    def remember_options(self, message_ids: Sequence[str], options: SendOptions) -> None:
        """See :meth:`Store.remember_options`."""
        with self._file.writing() as connection:
            connection.executemany(
                "INSERT INTO send_options VALUES (?, ?, ?) ON CONFLICT (message_id) DO UPDATE SET"
                " use_fallback = use_fallback OR excluded.use_fallback, bulk = bulk OR excluded.bulk",
                [(id_, options.use_fallback, options.bulk) for id_ in message_ids],
            )

    def options_of(self, message_ids: Sequence[str]) -> dict[str, SendOptions]:
        """See :meth:`Store.options_of`."""
        found = self._all(
            "SELECT * FROM send_options WHERE message_id IN (SELECT value FROM json_each(?))",
            json.dumps(list(message_ids)),
        )
        return {
            row["message_id"]: SendOptions(use_fallback=bool(row["use_fallback"]), bulk=bool(row["bulk"]))
            for row in found
        }

    def attempt_of(self, instance_name: str, provider_message_id: str) -> SendAttempt | None:
        """See :meth:`Store.attempt_of`."""
        found = self._all(
            "SELECT * FROM send_attempt WHERE instance_name = ? AND provider_message_id = ?",
            *(instance_name, provider_message_id),
        )
        return sqlite_schema.to_attempt(found[0]) if found else None

    def unaccounted(self, instance_name: str, *, since_ms: int, until_ms: int, limit: int) -> list[SendAttempt]:
        """See :meth:`Store.unaccounted`."""
        found = self._all(
            "SELECT * FROM send_attempt WHERE instance_name = ? AND started_at_ms BETWEEN ? AND ?"
            " AND provider_message_id IS NULL AND (state IN ('sending', 'unknown')"
            " OR (state = 'accepted' AND reason IS NOT ?) OR (state = 'dead' AND reason = ?))"
            " ORDER BY started_at_ms, message_id, part LIMIT ?",
            *(instance_name, since_ms, until_ms, writes.DUPLICATE_ID, DeliveryUnknown.code, limit),
        )
        return [sqlite_schema.to_attempt(row) for row in found]

    def bound_ids(self, instance_name: str, *, since_ms: int) -> set[str]:
        """See :meth:`Store.bound_ids`."""
        found = self._all(
            "SELECT provider_message_id AS id FROM send_attempt"
            " WHERE instance_name = ? AND started_at_ms >= ? AND provider_message_id IS NOT NULL",
            *(instance_name, since_ms),
        )
        return {row["id"] for row in found}

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._file.open() as connection:
            return connection.execute(sql, values).fetchall()

    def _changed(self, sql: str, *values: Any) -> bool:
        named = values[0] if values and isinstance(values[0], dict) else values
        with self._file.open() as connection:
            return connection.execute(sql, named).rowcount > 0

    def _settled(self, after: SendAttempt, from_states: Collection[AttemptState]) -> SendAttempt | None:
        settled = self._changed(
            "UPDATE send_attempt SET state = ?, provider_message_id = ?, reason = ? WHERE message_id = ? AND part = ?"
            " AND number = ? AND state IN (SELECT value FROM json_each(?))",
            *(after.state, after.provider_message_id, after.reason, after.message_id, after.part, after.number),
            json.dumps(sorted(from_states)),
        )
        return after if settled else None


def one(found: list[sqlite3.Row], what: str) -> sqlite3.Row:
    """The row that was asked for by its key.

    Raises:
        NotFound: there is none.
    """
    if not found:
        raise NotFound(f"{what} does not exist (any more)")
    return found[0]
