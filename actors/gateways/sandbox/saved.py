"""Sent messages as Evolution's database keeps them, for ``findMessages``, ``findStatusMessage``, edits and quotes.

``sends`` adds rows, ``history`` reads them. Rows may appear late or never, and statuses come with time.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import Any


@dataclass(slots=True)
class StoredMessage:
    """One row, visible from a time of the boot clock on (None: never); ``acks`` are its statuses and their times."""

    instance: str
    record: dict[str, Any]
    visible_at_ms: int | None
    acks: list[tuple[int, str]] = field(default_factory=list)

    def is_visible(self, now_ms: int) -> bool:
        """Whether a search finds it."""
        return self.visible_at_ms is not None and self.visible_at_ms <= now_ms

    def statuses(self, now_ms: int) -> list[str]:
        """Statuses that have come by now, oldest first."""
        return [status for at_ms, status in sorted(self.acks) if at_ms <= now_ms]

    def shown(self, now_ms: int) -> dict[str, Any]:
        """The row as a search shows it."""
        return {**self.record, "MessageUpdate": [{"status": one} for one in self.statuses(now_ms)]}


class Saved:
    """All rows. Safe to call from many threads."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = RLock()
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._by_id: dict[tuple[str, str], StoredMessage] = {}
            self._by_chat: defaultdict[tuple[str, str], list[StoredMessage]] = defaultdict(list)
            self._by_instance: defaultdict[str, list[StoredMessage]] = defaultdict(list)

    def add(self, message: StoredMessage) -> None:
        """Keep a row."""
        key = message.record["key"]
        with self._lock:
            self._by_id[message.instance, key["id"]] = message
            self._by_chat[message.instance, key["remoteJid"]].append(message)
            self._by_instance[message.instance].append(message)

    def knows(self, instance: str, key_id: str) -> bool:
        """Whether there is such a message, searchable or not."""
        with self._lock:
            return (instance, key_id) in self._by_id

    def get(self, instance: str, key_id: Any) -> StoredMessage | None:
        """The row of this id that a search would find."""
        with self._lock:
            found = self._by_id.get((instance, key_id)) if isinstance(key_id, str) else None
            return found if found is not None and found.is_visible(self._now_ms()) else None

    def newest_first(self, instance: str, *, jid: Any = None) -> list[StoredMessage]:
        """Visible rows of an instance, or of one chat of it."""
        now_ms = self._now_ms()
        with self._lock:
            rows = self._by_chat.get((instance, jid), []) if isinstance(jid, str) else self._by_instance[instance]
            found = [one for one in reversed(rows) if one.is_visible(now_ms)]
        found.sort(key=lambda one: -one.record["messageTimestamp"])
        return found
