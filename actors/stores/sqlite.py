"""Chat state in one SQLite file, for hosts without Django.

``make_store("sqlite", …)`` builds it from ``CHAT_SQLITE_PATH``; :meth:`SqliteStore.add` puts chats in. Safe from many
threads and processes of one machine (WAL, on a local disk); the schema is made on first use.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from actors.domain import (
    AttemptState,
    ChatMessage,
    Conversation,
    ConversationType,
    GroupInfo,
    Instance,
    KnownMessage,
    MessageStatus,
    Receipt,
    Route,
    SendAttempt,
)
from actors.errors import SettingsError
from actors.stores import announcements, rows, sqlite_schema, writes
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow, Row
from actors.stores.sqlite_attempts import AttemptRows, one
from actors.stores.sqlite_file import SqliteFile

if TYPE_CHECKING:
    from actors.settings import Settings


@writes.translates(sqlite3.OperationalError)
class SqliteStore(AttemptRows):
    """Chat state in one file."""

    name = "sqlite"
    databases = ()

    def __init__(self, path: Path) -> None:
        super().__init__(SqliteFile(path))

    def add(self, *seeds: Row) -> None:
        """Put rows in, replacing a message or conversation of the same id; all of them or none."""
        with self._file.writing() as connection:
            for seed in seeds:
                connection.execute(sqlite_schema.INSERTS[type(seed)], sqlite_schema.to_columns(seed))

    def message(self, message_id: str) -> MessageRow:
        """The row as it is now."""
        found = self._all("SELECT * FROM message WHERE id = ?", message_id)
        return sqlite_schema.to_row(MessageRow, one(found, f"message {message_id!r}"))

    def conversation(self, conversation_id: str) -> ConversationRow:
        """The row as it is now."""
        found = self._all("SELECT * FROM conversation WHERE id = ?", conversation_id)
        return sqlite_schema.to_row(ConversationRow, one(found, f"conversation {conversation_id!r}"))

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

    def conversation_routes(self, conversation_ids: Sequence[str]) -> dict[str, Route]:
        """See :meth:`Store.conversation_routes`."""
        return {id_: route for id_ in conversation_ids if (route := self.conversation_route(id_))}

    def known_messages(self, message_ids: Sequence[str]) -> dict[str, KnownMessage]:
        """See :meth:`Store.known_messages`."""
        asked = json.dumps(list(message_ids))
        found = self._all("SELECT * FROM message WHERE id IN (SELECT value FROM json_each(?))", asked)
        known = [(sqlite_schema.to_row(MessageRow, row), self.route(row["id"])) for row in found]
        return {row.id: rows.to_known(row, route) for row, route in known if route}

    def instances(self, *, limit: int, after: str | None = None) -> tuple[list[Instance], str | None]:
        """See :meth:`Store.instances`."""
        found = self._all(
            "SELECT rowid AS place, * FROM instance WHERE is_active AND rowid > ? ORDER BY rowid LIMIT ?",
            *(int(after or 0), limit),
        )
        known = [rows.to_instance(sqlite_schema.to_row(InstanceRow, row)) for row in found]
        return known, str(found[-1]["place"]) if len(found) == limit else None

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """See :meth:`Store.load_instance`."""
        found = self._all("SELECT * FROM instance WHERE is_active AND (tenant_id IS ? OR tenant_id IS NULL)", tenant_id)
        known = [sqlite_schema.to_row(InstanceRow, row) for row in found]
        return rows.find_instance(known, name, tenant_id=tenant_id, use_fallback=use_fallback)

    def record_sent(
        self, attempt: SendAttempt, receipt: Receipt, *, first: SendAttempt | None = None
    ) -> SendAttempt | None:
        """See :meth:`Store.record_sent`."""
        with self._file.writing():
            accepted = self.settle(attempt, AttemptState.ACCEPTED, receipt=receipt)
            if accepted is None:
                return None
            provider_id = writes.row_id(accepted, first)
            moved = self._recorded(attempt.message_id, provider_id)
        if moved:
            announcements.sent(
                self, attempt.message_id, provider_message_id=provider_id, instance_name=accepted.instance_name
            )
        return accepted

    def record_failed(self, attempt: SendAttempt, *, provider_message_id: str, code: str, text: str) -> bool:
        """See :meth:`Store.record_failed`."""
        with self._file.writing() as connection:
            moved = connection.execute(
                "UPDATE message SET status = 'failed', error_message = ? WHERE id = ? AND status IN ('pending', 'sent')",
                (writes.error_text(code, text), attempt.message_id),
            ).rowcount
            connection.execute(
                "UPDATE send_attempt SET state = 'dead', provider_message_id = ?, reason = ? WHERE message_id = ?"
                " AND part = ? AND EXISTS (SELECT * FROM message WHERE id = ? AND status = 'failed')",
                (provider_message_id, code, attempt.message_id, attempt.part, attempt.message_id),
            )
        if moved:
            announcements.failed(self, attempt.message_id, code=code)
        return bool(moved)

    def mark_sent(self, message_id: str, *, provider_message_id: str | None) -> bool:
        """See :meth:`Store.mark_sent`."""
        moved = self._recorded(message_id, provider_message_id)
        if moved:
            announcements.sent(self, message_id, provider_message_id=provider_message_id)
        return moved

    def mark_failed(self, message_id: str, *, code: str, text: str) -> bool:
        """See :meth:`Store.mark_failed`."""
        moved = self._changed(
            "UPDATE message SET status = 'failed', error_message = ? WHERE id = ? AND status = 'pending'",
            *(writes.error_text(code, text), message_id),
        )
        if moved:
            announcements.failed(self, message_id, code=code)
        return moved

    def advance(self, message_id: str, status: MessageStatus) -> bool:
        """See :meth:`Store.advance`."""
        return self._changed(
            "UPDATE message SET status = ?, evolution_status = ? WHERE id = ?"
            " AND status IN (SELECT value FROM json_each(?))",
            *(status, status, message_id, json.dumps(sorted(writes.advances_from(status)))),
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
        if not writes.is_storable(url):
            return False
        if self._changed(
            "UPDATE conversation SET profile_pic_url = ? WHERE id = ? AND profile_pic_url IS NOT ?",
            *(url, conversation_id, url),
        ):
            announcements.picture(self, conversation_id)
            return True
        return self.conversation_route(conversation_id) is not None

    def merge_group(self, conversation_id: str, info: GroupInfo) -> bool:
        """See :meth:`Store.merge_group`."""
        with self._file.writing() as connection:
            found = connection.execute("SELECT * FROM conversation WHERE id = ?", (conversation_id,)).fetchall()
            if not found or found[0]["conversation_type"] != ConversationType.GROUP:
                return False
            before = sqlite_schema.to_row(ConversationRow, found[0])
            changes = writes.group_changes(before, info)
            if changes:
                after = replace(before, **changes)
                connection.execute(sqlite_schema.INSERTS[ConversationRow], sqlite_schema.to_columns(after))
        if changes:
            announcements.group(self, conversation_id)
        return True

    def close_thread_connections(self) -> None:
        """See :meth:`Store.close_thread_connections`; the one connection is no thread's."""

    def close_stale_connections(self) -> None:
        """See :meth:`Store.close_stale_connections`; the one connection does not go stale."""

    def close(self) -> None:
        """Give the file back; the next call opens it again."""
        self._file.close()

    def _recorded(self, message_id: str, provider_id: str | None) -> bool:
        try:
            return self._sent(message_id, provider_id)
        except sqlite3.IntegrityError:
            writes.note_taken_id(message_id=message_id)
            return self._sent(message_id, None)

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
