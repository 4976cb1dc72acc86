"""The old product's lists and streams as they lie in Redis: found, taken out of everybody's reach, read slice by slice.

``actors.migration`` sends what a slice holds and then settles it. A slice is read under ``WATCH`` and leaves in one transaction
with its count, so whoever is killed in between repeats it, and no two can settle the same one.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from actors.legacy_jobs import (
    LegacyEntry,
    entry_of_json,
    is_dead_letters,
    is_foreign,
    operation_of,
)

#: Where it is taken to; ``chat:legacy:<queue>`` and ``chat:legacy:stream:<stream>``.
LEGACY = "chat:legacy"
#: Hash: how many entries of each were taken, and what became of them.
LEDGER = f"{LEGACY}:ledger"
#: List: what could not be sent, as JSON of operation, ids and why.
ASIDE = f"{LEGACY}:aside"
#: List: the old dead letters, in the same form.
DEAD = f"{LEGACY}:dead"
#: Entries read at a time.
SLICE = 500

Kept = Mapping[str, Any]


@dataclass
class Slice:
    """Some entries, the oldest first. ``own_ids`` are ids of this project that stood among them; ``gone`` were trimmed."""

    entries: list[LegacyEntry]
    own_ids: list[bytes] = field(default_factory=list)
    gone: int = 0
    counts: "Counter[str] | None" = None
    kept: list[Kept] = field(default_factory=list)
    keep_in: str = ASIDE

    def settle(self, counts: "Counter[str]", kept: Iterable[Kept] = (), *, keep_in: str = ASIDE) -> None:
        """Let them leave, with what they came to (one count per entry); ``kept`` is what a person may want to see."""
        self.counts, self.kept, self.keep_in = counts, list(kept), keep_in


@dataclass(frozen=True, slots=True, kw_only=True)
class OldQueue(ABC):
    """A list or a stream of the old product, or what an interrupted migration has left of it.

    ``client`` (redis-py) is on database ``db``; ``key`` is the old name, ``taken`` the one nobody else reads.
    """

    client: Any
    db: int
    key: str
    taken: str

    @property
    def label(self) -> str:
        """Short name for reports: ``send_message``, ``stream:send_message``."""
        return self.taken.removeprefix(f"{LEGACY}:")

    @property
    def operation(self) -> str | None:
        """What its entries ask for; None where each says so, or for other work."""
        return operation_of(self.key)

    @property
    def is_dead_letters(self) -> bool:
        """Whether it holds what the old product gave up."""
        return is_dead_letters(self.key)

    @property
    def is_ours(self) -> bool:
        """Whether this project can do what it asks for."""
        return self.operation is not None or self.is_dead_letters

    def take(self) -> bool:
        """Give what is there its new name, and count it; False when nothing is there, or an earlier lot is not settled.

        Raises:
            redis.WatchError: it changed at that moment; nothing was done.
        """
        with self.client.pipeline() as pipe:
            pipe.watch(self.key, self.taken)
            if pipe.exists(self.taken) or not self.is_there():
                return False
            amount = self._size(pipe, self.key)
            pipe.multi()
            pipe.rename(self.key, self.taken)
            pipe.hincrby(LEDGER, f"{self.label}.taken", amount)
            pipe.execute()
        return True

    @contextmanager
    def slice(self, *, limit: int = SLICE) -> Iterator[Slice | None]:
        """The next entries of what was taken, None when there are none; they leave with the block, when they were settled.

        Raises:
            redis.WatchError: somebody else settled them meanwhile; nothing was changed.
        """
        with self.client.pipeline() as pipe:
            pipe.watch(self.taken)
            found, places = self._read(pipe, limit)
            yield found
            if found is not None and found.counts is not None:
                pipe.multi()
                self._remove(pipe, found, places)
                for what, amount in found.counts.items():
                    pipe.hincrby(LEDGER, f"{self.label}.{what}", amount)
                if found.kept:
                    pipe.rpush(found.keep_in, *(json.dumps(record, separators=(",", ":")) for record in found.kept))
                pipe.execute()

    def left(self) -> int:
        """Entries under the new name."""
        return self._size(self.client, self.taken)

    @abstractmethod
    def is_there(self) -> bool:
        """Whether something of the old product stands under the old name."""

    @abstractmethod
    def count(self) -> int:
        """Entries that are not settled, under either name."""

    @abstractmethod
    def peek(self) -> Iterator[Slice]:
        """All of these, slice by slice, without changing anything."""

    @abstractmethod
    def _size(self, client: Any, key: str) -> int: ...

    @abstractmethod
    def _read(self, pipe: Any, limit: int) -> "tuple[Slice | None, Any]": ...

    @abstractmethod
    def _remove(self, pipe: Any, found: Slice, places: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OldList(OldQueue):
    """A list: its producer pushed at the head, its consumer popped at the tail.

    ``is_shared``: this project keeps ids under the same name; those that are found among the rest go back there.
    """

    is_shared: bool = False

    def count(self) -> int:
        """See :meth:`OldQueue.count`."""
        return sum(len(found.entries) for found in self.peek())

    def peek(self) -> Iterator[Slice]:
        """See :meth:`OldQueue.peek`."""
        for key in (self.taken, self.key):
            yield from self._slices(key)

    def _slices(self, key: str) -> Iterator[Slice]:
        end = -1
        while raw := self.client.lrange(key, end - SLICE + 1, end):
            yield self._slice(raw)
            end -= len(raw)

    def is_there(self) -> bool:
        """See :meth:`OldQueue.is_there`; looks at the whole list where ids of this project may hide the rest."""
        if not self.is_shared:
            return bool(self.client.exists(self.key))
        return any(found.entries for found in self._slices(self.key))

    def _slice(self, raw: list[bytes]) -> Slice:
        oldest_first = raw[::-1]
        theirs = [entry for entry in oldest_first if not self.is_shared or is_foreign(entry)]
        own = [entry for entry in oldest_first if self.is_shared and not is_foreign(entry)]
        return Slice([entry_of_json(entry, self.operation) for entry in theirs], own)

    def _size(self, client: Any, key: str) -> int:
        return int(client.llen(key))

    def _read(self, pipe: Any, limit: int) -> tuple[Slice | None, int]:
        raw = pipe.lrange(self.taken, -limit, -1)
        return (self._slice(raw) if raw else None), len(raw)

    def _remove(self, pipe: Any, found: Slice, places: int) -> None:
        pipe.ltrim(self.taken, 0, -(places + 1))
        if found.own_ids:
            # From the tail to the head, each before the last: their order is kept.
            pipe.lpush(self.key, *found.own_ids)
