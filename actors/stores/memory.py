"""Chat state in this process's memory, for tests and for trying things out.

``make_store("memory", …)`` builds it. Everything is gone with the process, so the promises hold within one process only.
"""

import threading
from collections.abc import Collection
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
    MessageStatus,
    Receipt,
    Route,
    SendAttempt,
)
from actors.errors import NotFound
from actors.stores import rows, writes
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow, Row

if TYPE_CHECKING:
    from actors.settings import Settings

R = TypeVar("R")


class MemoryStore:
    """One lock around dictionaries."""

    name = "memory"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._messages: dict[str, MessageRow] = {}
        self._conversations: dict[str, ConversationRow] = {}
        self._instances: list[InstanceRow] = []
        self._attachments: list[AttachmentRow] = []
        self._attempts: dict[tuple[str, int], SendAttempt] = {}

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
            if message is None:
                return None
            conversation = self._conversations[message.conversation_id]
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
            conversation = self._conversations[message.conversation_id]
        return rows.to_chat_message(message, conversation, sorted(files, key=lambda row: row.created_at_ms), quoted)

    def load_conversation(self, conversation_id: str) -> Conversation:
        """See :meth:`Store.load_conversation`."""
        return rows.to_conversation(self.conversation(conversation_id))

    def load_instance(self, name: str | None, *, tenant_id: str | None, use_fallback: bool = False) -> Instance | None:
        """See :meth:`Store.load_instance`."""
        with self._lock:
            known = list(self._instances)
        return rows.find_instance(known, name, tenant_id=tenant_id, use_fallback=use_fallback)

    def attempts(self, message_id: str) -> list[SendAttempt]:
        """See :meth:`Store.attempts`."""
        with self._lock:
            found = [attempt for (owner, _), attempt in self._attempts.items() if owner == message_id]
        return sorted(found, key=lambda attempt: attempt.part)

    def claim(
        self, message_id: str, part: int, *, instance_name: str, now_ms: int, deadline_at_ms: int
    ) -> SendAttempt | None:
        """See :meth:`Store.claim`."""
        with self._lock:
            before = self._attempts.get((message_id, part))
            if before is not None and before.state is not AttemptState.RETRYABLE:
                return None
            return self._put(
                SendAttempt(
                    message_id=message_id,
                    part=part,
                    state=AttemptState.SENDING,
                    number=before.number + 1 if before else 1,
                    instance_name=instance_name,
                    started_at_ms=now_ms,
                    deadline_at_ms=deadline_at_ms,
                )
            )

    def reclaim(self, attempt: SendAttempt, *, now_ms: int) -> SendAttempt | None:
        """See :meth:`Store.reclaim`."""
        with self._lock:
            row = self._same(attempt, {AttemptState.UNKNOWN})
            if row is None or row.looks != attempt.looks:
                return None
            number = row.number + 1
            return self._put(
                replace(row, state=AttemptState.SENDING, number=number, looks=0, started_at_ms=now_ms, reason=None)
            )

    def settle(
        self, attempt: SendAttempt, state: AttemptState, *, receipt: Receipt | None = None, reason: str | None = None
    ) -> bool:
        """See :meth:`Store.settle`."""
        with self._lock:
            row = self._same(attempt, writes.settles_from(state))
            if row is None:
                return False
            provider_id = receipt.provider_message_id if receipt and state is AttemptState.ACCEPTED else None
            if provider_id in self.bound_ids(row.instance_name, since_ms=0):
                writes.note_duplicate_id(message_id=row.message_id, instance=row.instance_name)
                provider_id, reason = None, writes.DUPLICATE_ID
            self._put(replace(row, state=state, provider_message_id=provider_id, reason=reason))
            return True

    def looked(self, attempt: SendAttempt) -> SendAttempt:
        """See :meth:`Store.looked`."""
        with self._lock:
            row = self._same(attempt, {AttemptState.UNKNOWN})
            if row is not None and row.looks == attempt.looks:
                return self._put(replace(row, looks=row.looks + 1))
            return self._attempts[attempt.message_id, attempt.part]

    def bound_ids(self, instance_name: str, *, since_ms: int) -> set[str]:
        """See :meth:`Store.bound_ids`."""
        with self._lock:
            own = [row for row in self._attempts.values() if row.instance_name == instance_name]
        return {row.provider_message_id for row in own if row.provider_message_id and row.started_at_ms >= since_ms}

    def mark_sent(self, message_id: str, *, provider_message_id: str | None) -> bool:
        """See :meth:`Store.mark_sent`."""
        with self._lock:
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

    def mark_failed(self, message_id: str, *, code: str, text: str) -> bool:
        """See :meth:`Store.mark_failed`."""
        return self._move(message_id, MessageStatus.PENDING, MessageStatus.FAILED, writes.error_text(code, text))

    def mark_pending(self, message_id: str) -> bool:
        """See :meth:`Store.mark_pending`."""
        with self._lock:
            if not self._move(message_id, MessageStatus.FAILED, MessageStatus.PENDING, ""):
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
            return True

    def merge_group(self, conversation_id: str, info: GroupInfo) -> bool:
        """See :meth:`Store.merge_group`."""
        with self._lock:
            row = self._conversations.get(conversation_id)
            if row is None or row.conversation_type != ConversationType.GROUP:
                return False
            self._conversations[conversation_id] = replace(row, **writes.group_changes(row, info))
            return True

    def close_stale_connections(self) -> None:
        """See :meth:`Store.close_stale_connections`; there are none."""

    def _put(self, attempt: SendAttempt) -> SendAttempt:
        self._attempts[attempt.message_id, attempt.part] = attempt
        return attempt

    def _same(self, attempt: SendAttempt, states: Collection[AttemptState]) -> SendAttempt | None:
        row = self._attempts.get((attempt.message_id, attempt.part))
        return row if row is not None and row.number == attempt.number and row.state in states else None

    def _move(self, message_id: str, before: MessageStatus, after: MessageStatus, error: str) -> bool:
        with self._lock:
            row = self._messages.get(message_id)
            if row is None or row.status != before:
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
