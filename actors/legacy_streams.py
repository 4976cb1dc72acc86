"""The old product's streams: what their groups have not acknowledged, and what nobody was given yet.

Found by ``actors.legacy_search``; see ``actors.legacy_queues`` for how slices leave. Acknowledged entries were never deleted by
the old product: they are counted as ``finished`` when the stream goes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from actors.legacy_jobs import entry_of_fields
from actors.legacy_queues import SLICE, OldQueue, Slice


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a slice stands: ids by the group that owes them, ids in the stream."""

    owed: dict[bytes, list[bytes]] = field(default_factory=dict)
    ids: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldStream(OldQueue):
    """A stream with, usually, one consumer group."""

    def count(self) -> int:
        """See :meth:`OldQueue.count`; acknowledged entries do not count."""
        return sum(len(found.entries) + found.gone for found in self.peek())

    def peek(self) -> Iterator[Slice]:
        """See :meth:`OldQueue.peek`."""
        for key in (self.taken, self.key):
            for owed, ids in self._unfinished(key):
                yield self._slice(key, owed, ids)[0]

    def seconds_since_consumer(self) -> float | None:
        """How long ago a consumer of a group last asked; None when none ever did."""
        idle = [
            one["idle"] / 1000
            for group in self._groups(self.key)
            for one in self.client.xinfo_consumers(self.key, group["name"])
        ]
        return min(idle, default=None)

    def _groups(self, key: str) -> list[dict[str, Any]]:
        if not self.client.exists(key):
            return []
        found: list[dict[str, Any]] = self.client.xinfo_groups(key)
        return found

    def _unfinished(self, key: str) -> Iterator[tuple[bytes | None, list[bytes]]]:
        """Ids, by the group that was given them; then those that nobody was given."""
        groups = self._groups(key)
        for group in groups:
            start = b"-"
            while owed := self.client.xpending_range(key, group["name"], start, b"+", SLICE):
                ids = [one["message_id"] for one in owed]
                yield group["name"], ids
                start = b"(" + ids[-1]
        start = b"(" + max((group["last-delivered-id"] for group in groups), key=_order) if groups else b"-"
        while unread := self.client.xrange(key, start, b"+", SLICE):
            yield None, [id_ for id_, _ in unread]
            start = b"(" + unread[-1][0]

    def _slice(self, key: str, group: bytes | None, ids: list[bytes]) -> tuple[Slice, _Places]:
        with self.client.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.xrange(key, id_, id_)
            found = [(id_, rows[0][1] if rows else None) for id_, rows in zip(ids, pipe.execute(), strict=True)]
        there = [(id_, fields) for id_, fields in found if fields]
        entries = [entry_of_fields(fields, self.operation) for _, fields in there]
        places = _Places({} if group is None else {group: ids}, [id_ for id_, _ in there])
        return Slice(entries, gone=len(ids) - len(there)), places

    def is_there(self) -> bool:
        """See :meth:`OldQueue.is_there`."""
        return bool(self.client.exists(self.key))

    def _size(self, client: Any, key: str) -> int:
        return int(client.xlen(key))

    def _read(self, pipe: Any, limit: int) -> tuple[Slice | None, _Places]:
        group, ids = next(self._unfinished(self.taken), (None, []))
        if ids:
            return self._slice(self.taken, group, ids[:limit])
        if not pipe.exists(self.taken):
            return None, _Places()
        # Only what was acknowledged is left: the stream goes with its groups.
        last = Slice([])
        last.settle(Counter(finished=int(pipe.xlen(self.taken))))
        return last, _Places()

    def _remove(self, pipe: Any, found: Slice, places: _Places) -> None:
        if not places.ids and not places.owed:
            pipe.delete(self.taken)
            return
        for group, ids in places.owed.items():
            pipe.xack(self.taken, group, *ids)
        if places.ids:
            pipe.xdel(self.taken, *places.ids)


def _order(id_: bytes) -> tuple[int, int]:
    at_ms, _, sequence = id_.partition(b"-")
    return int(at_ms), int(sequence)
