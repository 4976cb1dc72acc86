"""Chat state in this process's memory, for tests and for trying things out.

``make_store("memory", …)`` builds it. Everything is gone with the process, so the promises hold within one process only.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from actors.domain import (
    SENT_STATUSES,
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
from actors.errors import NotFound
from actors.stores import announcements, rows, writes
from actors.stores.memory_attempts import AttemptTable
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow, Row

if TYPE_CHECKING:
    from actors.settings import Settings

R = TypeVar("R")


class MemoryStore(AttemptTable):
    """One lock around dictionaries."""

    name = "memory"
    databases = ()

    def __init__(self) -> None:
        super().__init__()
        self._messages: dict[str, MessageRow] = {}
        self._conversations: dict[str, ConversationRow] = {}
        self._instances: list[InstanceRow] = []
        self._attachments: list[AttachmentRow] = []

    def add(self, *seeds: Row) -> None:
        """Put rows in, replacing a message or conversation of the same id."""
        with self._lock:
            for seed in seeds:
                match seed:
                    case MessageRow():
                        self._messages[seed.id] = seed
                    case ConversationRow():
                        self._conversations[seed.id] = seed
                    case InstanceRow():
                        self._instances.append(seed)
                    case AttachmentRow():
                        self._attachments.append(seed)

    def message(self, message_id: str) -> MessageRow:
        """The row as it is now."""
        with self._lock:
            return _existing(self._messages, message_id, "message")

    def conversation(self, conversation_id: str) -> ConversationRow:
        """The row as it is now."""
        with self._lock:
            return _existing(self._conversations, conversation_id, "conversation")

    def route(self, message_id: str) -> Route | None:
        """See :meth:`Store.route`."""
        with self._lock:
            message = self._messages.get(message_id)
            conversation = self._conversations.get(message.conversation_id) if message is not None else None
            if message is None or conversation is None:
                return None
            instance_name = rows.preferred_instance(message.metadata, conversation.instance_name)
        return Route(conversation_id=conversation.id, instance_name=instance_name, tenant_id=conversation.tenant_id)

    def conversation_route(self, conversation_id: str) -> Route | None:
        """See :meth:`Store.conversation_route`."""
        with self._lock:
            row = self._conversations.get(conversation_id)
        if row is None:
            return None
        return Route(conversation_id=row.id, instance_name=row.instance_name or None, tenant_id=row.tenant_id)

    def load_message(self, message_id: str) -> ChatMessage:
        """See :meth:`Store.load_message`."""
        with self._lock:
            message = _existing(self._messages, message_id, "message")
            files = [row for row in self._attachments if row.message_id == message_id]
            quoted = self._messages.get(rows.reply_target(message.metadata) or "")
            if quoted is not None and quoted.conversation_id != message.conversation_id:
                quoted = None
            conversation = _existing(self._conversations, message.conversation_id, "conversation")
        return rows.to_chat_message(message, conversation, sorted(files, key=lambda row: row.created_at_ms), quoted)

    def load_conversation(self, conversation_id: str) -> Conversation:
        """See :meth:`Store.load_conversation`."""
        return rows.to_conversation(self.conversation(conversation_id))

    def conversation_routes(self, conversation_ids: Sequence[str]) -> dict[str, Route]:
        """See :meth:`Store.conversation_routes`."""
        return {id_: route for id_ in conversation_ids if (route := self.conversation_route(id_))}

    def known_messages(self, message_ids: Sequence[str]) -> dict[str, KnownMessage]:
        """See :meth:`Store.known_messages`."""
        routes = {id_: route for id_ in message_ids if (route := self.route(id_))}
        return {id_: rows.to_known(self.message(id_), route) for id_, route in routes.items()}

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """See :meth:`Store.load_instance`."""
        with self._lock:
            known = list(self._instances)
        return rows.find_instance(known, name, tenant_id=tenant_id, use_fallback=use_fallback)

    def instances(self, *, limit: int, after: str | None = None) -> tuple[list[Instance], str | None]:
        """See :meth:`Store.instances`."""
        with self._lock:
            places = range(int(after or 0), len(self._instances))
            active = [place for place in places if self._instances[place].is_active][:limit]
            found = [rows.to_instance(self._instances[place]) for place in active]
        return found, str(active[-1] + 1) if len(found) == limit else None

    def record_sent(
        self, attempt: SendAttempt, receipt: Receipt, *, first: SendAttempt | None = None
    ) -> SendAttempt | None:
        """See :meth:`Store.record_sent`."""
        with self._lock:
            accepted = self.settle(attempt, AttemptState.ACCEPTED, receipt=receipt)
            if accepted is None:
                return None
            provider_id = writes.row_id(accepted, first)
            moved = self._sent(attempt.message_id, provider_id)
        if moved:
            self._announce_sent(attempt.message_id, provider_id, accepted.instance_name)
        return accepted

    def record_failed(self, attempt: SendAttempt, *, provider_message_id: str, code: str, text: str) -> bool:
        """See :meth:`Store.record_failed`."""
        with self._lock:
            before = (MessageStatus.PENDING, MessageStatus.SENT)
            moved = self._move(attempt.message_id, before, MessageStatus.FAILED, writes.error_text(code, text))
            row = self._messages.get(attempt.message_id)
            known = self._attempts.get((attempt.message_id, attempt.part))
            if row is not None and row.status == MessageStatus.FAILED and known is not None:
                self._put(replace(known, state=AttemptState.DEAD, provider_message_id=provider_message_id, reason=code))
        if moved:
            announcements.failed(self, attempt.message_id, code=code)
        return moved

    def mark_sent(self, message_id: str, *, provider_message_id: str | None) -> bool:
        """See :meth:`Store.mark_sent`."""
        with self._lock:
            moved = self._sent(message_id, provider_message_id)
        if moved:
            self._announce_sent(message_id, provider_message_id)
        return moved

    def mark_failed(self, message_id: str, *, code: str, text: str) -> bool:
        """See :meth:`Store.mark_failed`."""
        before = (MessageStatus.PENDING,)
        moved = self._move(message_id, before, MessageStatus.FAILED, writes.error_text(code, text))
        if moved:
            announcements.failed(self, message_id, code=code)
        return moved

    def advance(self, message_id: str, status: MessageStatus) -> bool:
        """See :meth:`Store.advance`."""
        with self._lock:
            row = self._messages.get(message_id)
            if row is None or row.status not in writes.advances_from(status):
                return False
            self._messages[message_id] = replace(row, status=status, evolution_status=status)
            return True

    def mark_pending(self, message_id: str) -> bool:
        """See :meth:`Store.mark_pending`."""
        with self._lock:
            if not self._move(message_id, (MessageStatus.FAILED,), MessageStatus.PENDING, ""):
                return False
            for attempt in self.attempts(message_id):
                if attempt.state is AttemptState.DEAD:
                    self._put(replace(attempt, state=AttemptState.RETRYABLE))
            return True

    def pending_messages(self, *, before_ms: int, limit: int, after_id: str | None = None) -> list[str]:
        """See :meth:`Store.pending_messages`."""
        with self._lock:
            start = self._messages.get(after_id) if after_id is not None else None
            if after_id is not None and start is None:
                return []
            found = sorted(_place(row) for row in self._messages.values() if _is_waiting(row, before_ms=before_ms))
        later = [place for place in found if start is None or place > _place(start)]
        return [message_id for _, message_id in later[:limit]]

    def older_pending(self, message_id: str) -> str | None:
        """See :meth:`Store.older_pending`."""
        with self._lock:
            row = self._messages.get(message_id)
            if row is None:
                return None
            thread = [other for other in self._messages.values() if other.conversation_id == row.conversation_id]
            older = sorted(_place(other) for other in thread if _is_waiting(other, before_ms=row.created_at_ms))
            return older[0][1] if older else None

    def save_picture(self, conversation_id: str, url: str) -> bool:
        """See :meth:`Store.save_picture`."""
        with self._lock:
            row = self._conversations.get(conversation_id)
            if row is None or not writes.is_storable(url):
                return False
            self._conversations[conversation_id] = replace(row, profile_pic_url=url)
        if row.profile_pic_url != url:
            announcements.picture(self, conversation_id)
        return True

    def merge_group(self, conversation_id: str, info: GroupInfo) -> bool:
        """See :meth:`Store.merge_group`."""
        with self._lock:
            row = self._conversations.get(conversation_id)
            if row is None or row.conversation_type != ConversationType.GROUP:
                return False
            changes = writes.group_changes(row, info)
            self._conversations[conversation_id] = replace(row, **changes)
        if changes:
            announcements.group(self, conversation_id)
        return True

    def close_thread_connections(self) -> None:
        """See :meth:`Store.close_thread_connections`; there are none."""

    def close_stale_connections(self) -> None:
        """See :meth:`Store.close_stale_connections`; there are none."""

    def _announce_sent(self, message_id: str, provider_id: str | None, instance_name: str | None = None) -> None:
        announcements.sent(self, message_id, provider_message_id=provider_id, instance_name=instance_name)

    def _sent(self, message_id: str, provider_message_id: str | None) -> bool:
        row = self._messages.get(message_id)
        if row is None:
            return False
        provider_id = self._free_id(row, provider_message_id)
        if row.status in SENT_STATUSES:
            self._messages[message_id] = replace(row, message_id=row.message_id or provider_id)
            return False
        sent = MessageStatus.SENT
        provider_id = provider_id or row.message_id
        changed = replace(row, status=sent, evolution_status=sent, message_id=provider_id, error_message="")
        self._messages[message_id] = changed
        return True

    def _move(self, message_id: str, before: Collection[MessageStatus], after: MessageStatus, error: str) -> bool:
        with self._lock:
            row = self._messages.get(message_id)
            if row is None or row.status not in before:
                return False
            self._messages[message_id] = replace(row, status=after, error_message=error)
            return True

    def _free_id(self, row: MessageRow, provider_id: str | None) -> str | None:
        others = (other for other in self._messages.values() if other.conversation_id == row.conversation_id)
        if provider_id and any(other.message_id == provider_id and other.id != row.id for other in others):
            writes.note_taken_id(message_id=row.id)
            return None
        return provider_id


def _existing(table: dict[str, R], row_id: str, what: str) -> R:
    if row_id not in table:
        raise NotFound(f"{what} {row_id!r} does not exist (any more)")
    return table[row_id]


def _place(row: MessageRow) -> tuple[int, str]:
    return row.created_at_ms, row.id


def _is_waiting(row: MessageRow, *, before_ms: int) -> bool:
    pending = row.status == MessageStatus.PENDING and row.direction == rows.OUTGOING and not row.is_internal
    return pending and row.created_at_ms < before_ms


def make_store(settings: "Settings") -> MemoryStore:
    """Build the backend; nothing is read from ``settings``."""
    del settings
    return MemoryStore()
