"""Chat state in one SQLite file, for hosts without Django.

``make_store("sqlite", …)`` builds it from ``CHAT_SQLITE_PATH``; :meth:`SqliteStore.add` puts chats in. Safe from many
threads and processes of one machine (WAL, on a local disk); the schema is made on first use.
"""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.domain import (
    AttemptState,
    ChatMessage,
    Conversation,
    ConversationType,
    GroupInfo,
    Instance,
    Receipt,
    Route,
    SendAttempt,
)
from actors.errors import NotFound, SettingsError
from actors.stores import rows, sqlite_schema, writes
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow, Row
from actors.stores.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from actors.settings import Settings


@writes.translates(sqlite3.OperationalError)
class SqliteStore:
    """Chat state in one file."""

    name = "sqlite"

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)

    def add(self, *seeds: Row) -> None:
        """Put rows in, replacing a message or conversation of the same id; all of them or none."""
        with self._file.writing() as connection:
            for seed in seeds:
                connection.execute(sqlite_schema.INSERTS[type(seed)], sqlite_schema.to_columns(seed))

    def message(self, message_id: str) -> MessageRow:
        """The row as it is now."""
        found = self._all("SELECT * FROM message WHERE id = ?", message_id)
        return sqlite_schema.to_row(MessageRow, _one(found, f"message {message_id!r}"))

    def conversation(self, conversation_id: str) -> ConversationRow:
        """The row as it is now."""
        found = self._all("SELECT * FROM conversation WHERE id = ?", conversation_id)
        return sqlite_schema.to_row(ConversationRow, _one(found, f"conversation {conversation_id!r}"))

    def route(self, message_id: str) -> Route | None:
        """See :meth:`Store.route`."""
        found = self._all(
            "SELECT c.id, c.instance_name, c.tenant_id, m.metadata"
            " FROM message m JOIN conversation c ON c.id = m.conversation_id WHERE m.id = ?",
            message_id,
        )
        if not found:
            return None
        instance_name = rows.preferred_instance(json.loads(found[0]["metadata"]), found[0]["instance_name"])
        return Route(conversation_id=found[0]["id"], instance_name=instance_name, tenant_id=found[0]["tenant_id"])

    def conversation_route(self, conversation_id: str) -> Route | None:
        """See :meth:`Store.conversation_route`."""
        found = self._all("SELECT id, instance_name, tenant_id FROM conversation WHERE id = ?", conversation_id)
        for row in found:
            return Route(
                conversation_id=row["id"], instance_name=row["instance_name"] or None, tenant_id=row["tenant_id"]
            )
        return None

    def load_message(self, message_id: str) -> ChatMessage:
        """See :meth:`Store.load_message`."""
        message = self.message(message_id)
        files = self._all("SELECT * FROM attachment WHERE message_id = ? ORDER BY created_at_ms, rowid", message_id)
        quoted = self._all(
            "SELECT * FROM message WHERE id = ? AND conversation_id = ?",
            rows.reply_target(message.metadata),
            message.conversation_id,
        )
        return rows.to_chat_message(
            message,
            self.conversation(message.conversation_id),
            [sqlite_schema.to_row(AttachmentRow, row) for row in files],
            sqlite_schema.to_row(MessageRow, quoted[0]) if quoted else None,
        )

    def load_conversation(self, conversation_id: str) -> Conversation:
        """See :meth:`Store.load_conversation`."""
        return rows.to_conversation(self.conversation(conversation_id))

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """See :meth:`Store.load_instance`."""
        found = self._all("SELECT * FROM instance WHERE is_active AND (tenant_id IS ? OR tenant_id IS NULL)", tenant_id)
        known = [sqlite_schema.to_row(InstanceRow, row) for row in found]
        return rows.find_instance(known, name, tenant_id=tenant_id, use_fallback=use_fallback)

    def attempts(self, message_id: str) -> list[SendAttempt]:
        """See :meth:`Store.attempts`."""
        found = self._all("SELECT * FROM send_attempt WHERE message_id = ? ORDER BY part", message_id)
        return [sqlite_schema.to_attempt(row) for row in found]

    def claim(
        self, message_id: str, part: int, *, instance_name: str, now_ms: int, deadline_at_ms: int
    ) -> SendAttempt | None:
        """See :meth:`Store.claim`; one statement."""
        found = self._all(
            "INSERT INTO send_attempt (message_id, part, state, number, instance_name, started_at_ms, deadline_at_ms)"
            " VALUES (?, ?, 'sending', 1, ?, ?, ?) ON CONFLICT (message_id, part) DO UPDATE SET state = 'sending',"
            " number = number + 1, instance_name = excluded.instance_name, started_at_ms = excluded.started_at_ms,"
            " deadline_at_ms = excluded.deadline_at_ms, looks = 0, provider_message_id = NULL, reason = NULL"
            " WHERE state = 'retryable' RETURNING *",
            *(message_id, part, instance_name, now_ms, deadline_at_ms),
        )
        return sqlite_schema.to_attempt(found[0]) if found else None

    def reclaim(self, attempt: SendAttempt, *, now_ms: int) -> SendAttempt | None:
        """See :meth:`Store.reclaim`."""
        found = self._all(
            "UPDATE send_attempt SET state = 'sending', number = number + 1, looks = 0, started_at_ms = ?, reason = NULL"
            " WHERE message_id = ? AND part = ? AND number = ? AND looks = ? AND state = 'unknown' RETURNING *",
            *(now_ms, attempt.message_id, attempt.part, attempt.number, attempt.looks),
        )
        return sqlite_schema.to_attempt(found[0]) if found else None

    def settle(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> bool:
        """See :meth:`Store.settle`."""
        before = writes.settles_from(state)
        provider_id = receipt.provider_message_id if receipt and state is AttemptState.ACCEPTED else None
        try:
            return self._settled(attempt, before, state, provider_id, reason)
        except sqlite3.IntegrityError:
            writes.note_duplicate_id(message_id=attempt.message_id, instance=attempt.instance_name)
            return self._settled(attempt, before, state, None, writes.DUPLICATE_ID)

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
        return sqlite_schema.to_attempt(_one(found, f"attempt {attempt.message_id}:{attempt.part}"))

    def bound_ids(self, instance_name: str, *, since_ms: int) -> set[str]:
        """See :meth:`Store.bound_ids`."""
        found = self._all(
            "SELECT provider_message_id AS id FROM send_attempt"
            " WHERE instance_name = ? AND started_at_ms >= ? AND provider_message_id IS NOT NULL",
            *(instance_name, since_ms),
        )
        return {row["id"] for row in found}

    def mark_sent(self, message_id: str, *, provider_message_id: str | None) -> bool:
        """See :meth:`Store.mark_sent`."""
        try:
            return self._sent(message_id, provider_message_id)
        except sqlite3.IntegrityError:
            writes.note_taken_id(message_id=message_id)
            return self._sent(message_id, None)

    def mark_failed(self, message_id: str, *, code: str, text: str) -> bool:
        """See :meth:`Store.mark_failed`."""
        return self._changed(
            "UPDATE message SET status = 'failed', error_message = ? WHERE id = ? AND status = 'pending'",
            *(writes.error_text(code, text), message_id),
        )

    def mark_pending(self, message_id: str) -> bool:
        """See :meth:`Store.mark_pending`."""
        with self._file.writing() as connection:
            moved = connection.execute(
                "UPDATE message SET status = 'pending', error_message = '' WHERE id = ? AND status = 'failed'",
                (message_id,),
            ).rowcount
            if moved:
                connection.execute(
                    "UPDATE send_attempt SET state = 'retryable' WHERE message_id = ? AND state = 'dead'", (message_id,)
                )
        return bool(moved)

    def pending_messages(self, *, before_ms: int, limit: int, after_id: str | None = None) -> list[str]:
        """See :meth:`Store.pending_messages`."""
        found = self._all(
            "SELECT id FROM message WHERE status = 'pending' AND direction = 'outgoing' AND NOT is_internal"
            " AND created_at_ms < ? AND (? IS NULL OR"
            " (created_at_ms, id) > (SELECT created_at_ms, id FROM message WHERE id = ?))"
            " ORDER BY created_at_ms, id LIMIT ?",
            *(before_ms, after_id, after_id, limit),
        )
        return [row["id"] for row in found]

    def older_pending(self, message_id: str) -> str | None:
        """See :meth:`Store.older_pending`."""
        found = self._all(
            "SELECT older.id FROM message JOIN message AS older USING (conversation_id) WHERE message.id = ?"
            " AND older.status = 'pending' AND older.direction = 'outgoing' AND NOT older.is_internal"
            " AND older.created_at_ms < message.created_at_ms ORDER BY older.created_at_ms, older.id LIMIT 1",
            message_id,
        )
        return found[0]["id"] if found else None

    def save_picture(self, conversation_id: str, url: str) -> bool:
        """See :meth:`Store.save_picture`."""
        return writes.is_storable(url) and self._changed(
            "UPDATE conversation SET profile_pic_url = ? WHERE id = ?", url, conversation_id
        )

    def merge_group(self, conversation_id: str, info: GroupInfo) -> bool:
        """See :meth:`Store.merge_group`."""
        with self._file.writing() as connection:
            found = connection.execute("SELECT * FROM conversation WHERE id = ?", (conversation_id,)).fetchall()
            if not found or found[0]["conversation_type"] != ConversationType.GROUP:
                return False
            before = sqlite_schema.to_row(ConversationRow, found[0])
            after = replace(before, **writes.group_changes(before, info))
            connection.execute(sqlite_schema.INSERTS[ConversationRow], sqlite_schema.to_columns(after))
        return True

    def close_stale_connections(self) -> None:
        """See :meth:`Store.close_stale_connections`; the one connection does not go stale."""

    def close(self) -> None:
        """Give the file back; the next call opens it again."""
        self._file.close()

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._file.open() as connection:
            return connection.execute(sql, values).fetchall()

    def _changed(self, sql: str, *values: Any) -> bool:
        with self._file.open() as connection:
            return connection.execute(sql, values).rowcount > 0

    def _settled(
        self,
        attempt: SendAttempt,
        before: Collection[AttemptState],
        state: AttemptState,
        provider_id: str | None,
        reason: str | None,
    ) -> bool:
        return self._changed(
            "UPDATE send_attempt SET state = ?, provider_message_id = ?, reason = ? WHERE message_id = ? AND part = ?"
            " AND number = ? AND state IN (SELECT value FROM json_each(?))",
            *(state, provider_id, reason, attempt.message_id, attempt.part, attempt.number),
            json.dumps(sorted(before)),
        )

    def _sent(self, message_id: str, provider_id: str | None) -> bool:
        moved = self._changed(
            "UPDATE message SET status = 'sent', evolution_status = 'sent', message_id = coalesce(?, message_id),"
            " error_message = '' WHERE id = ? AND status IN ('pending', 'failed')",
            *(provider_id, message_id),
        )
        if not moved and provider_id is not None:
            self._changed(
                "UPDATE message SET message_id = ? WHERE id = ? AND message_id IS NULL"
                " AND status IN ('sent', 'delivered', 'seen')",
                *(provider_id, message_id),
            )
        return moved


def _one(found: list[sqlite3.Row], what: str) -> sqlite3.Row:
    if not found:
        raise NotFound(f"{what} does not exist (any more)")
    return found[0]


def make_store(settings: "Settings") -> SqliteStore:
    """Build the backend from ``CHAT_SQLITE_PATH``.

    Raises:
        SettingsError: no path, or its folder does not exist.
    """
    if not settings.sqlite_path:
        raise SettingsError(["CHAT_SQLITE_PATH is not set: the store sqlite needs the path of its file"])
    path = Path(settings.sqlite_path).absolute()
    if not path.parent.is_dir():
        raise SettingsError([f"CHAT_SQLITE_PATH: the folder {str(path.parent)!r} does not exist"])
    return SqliteStore(path)
