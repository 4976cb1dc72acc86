"""Find dead letters among very many: by index where there is one, else by a search that can be taken up again.

Read by ``letters``. Redis keeps letters in an index by fingerprint, reason, group and lane, each in the order of their deaths
(``lua/parts/dead.lua``), and by age; anything else is looked for letter by letter, a bounded number per call.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.scripts import translated

#: Letters looked at per round trip.
PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterQuery:
    """Which letters of a queue. What is None does not matter; ``died_*_ms`` are times on Redis' clock, both included."""

    fingerprint: str | None = None
    reason: str | None = None
    group: str | None = None
    lane: str | None = None
    died_from_ms: int | None = None
    died_until_ms: int | None = None

    def index(self) -> tuple[str, str] | None:
        """Kind and value of the index that narrows most; None = by age."""
        kinds = {"l": self.lane, "f": self.fingerprint, "g": self.group, "r": self.reason}
        return next(((kind, value) for kind, value in kinds.items() if value is not None), None)

    def is_place(self, after: str) -> bool:
        """Whether a search for these can go on there; what somebody made up would be an error of Redis."""
        # By age it begins with a time, by index with a sequence.
        head = after.partition(" ")[0] if self.index() is None else after.partition("\0")[0]
        return head.isdigit() if self.index() is None else re.fullmatch("[0-9a-f]{10,}", head) is not None

    def matches(self, record: dict[str, Any]) -> bool:
        """Whether a letter's record is one of these."""
        about, died_at_ms = record.get("about") or {}, int(record.get("died_at_ms", 0))
        wanted = {"fingerprint": self.fingerprint, "reason": self.reason}
        where = {"group": self.group, "lane": self.lane}
        return (
            all(value is None or record.get(name) == value for name, value in wanted.items())
            and all(value is None or about.get(name) == value for name, value in where.items())
            and (self.died_from_ms is None or died_at_ms >= self.died_from_ms)
            and (self.died_until_ms is None or died_at_ms <= self.died_until_ms)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroup:
    """Letters of a queue that died of the same. ``newest_id`` and ``oldest_id`` are the last and the first to die."""

    queue: str
    fingerprint: str
    count: int
    newest_id: str
    oldest_id: str


class LetterIndex:
    """The ids of dead letters of one prefix, in order. Safe to share between threads."""

    def __init__(self, client: "redis.Redis", keys: Keys) -> None:
        self.client = client
        self.keys = keys

    def ids(
        self, queue_name: str, query: LetterQuery, *, oldest_first: bool = False, after: str | None = None
    ) -> Iterator[tuple[str, list[str]]]:
        """Ids in the order of their deaths, as far as one index tells, page by page.

        Yields:
            where the page ends, and its ids. Give the former as ``after`` to go on behind it, also in another process and
            when letters came or went meanwhile.
        """
        by = query.index()
        pages = self._by_age(queue_name, query, oldest_first=oldest_first, after=after)
        if by is not None:
            pages = self._by_index(queue_name, f"{by[0]}\0{by[1]}\0", oldest_first=oldest_first, after=after)
        yield from pages

    def _by_index(
        self,
        queue_name: str,
        head: str,
        *,
        oldest_first: bool,
        after: str | None,
    ) -> Iterator[tuple[str, list[str]]]:
        index = self.keys.of(queue_name, "dead_index")
        while True:
            low, high = f"[{head}", f"({head[:-1]}\1"
            if after is not None:
                low, high = (f"({head}{after}", high) if oldest_first else (low, f"({head}{after}")
            with translated(f"searching dead letters of {queue_name}"):
                found: Any = (
                    self.client.zrangebylex(index, low, high, start=0, num=PAGE)
                    if oldest_first
                    else self.client.zrevrangebylex(index, high, low, start=0, num=PAGE)
                )
            if not found:
                return
            # What follows the head: 'sequence NUL id'.
            tails = [member.decode("utf-8", "surrogatepass")[len(head) :] for member in found]
            after = tails[-1]
            yield after, [tail.partition("\0")[2] for tail in tails]

    def _by_age(
        self, queue_name: str, query: LetterQuery, *, oldest_first: bool, after: str | None
    ) -> Iterator[tuple[str, list[str]]]:
        dead = self.keys.of(queue_name, "dead")
        low = "-inf" if query.died_from_ms is None else str(query.died_from_ms)
        high = "+inf" if query.died_until_ms is None else str(query.died_until_ms)
        seen: set[str] = set()
        if after is not None:
            at_ms, _, names = after.partition(" ")
            low, high = (at_ms, high) if oldest_first else (low, at_ms)
            seen = set(names.split())
        while True:
            with translated(f"searching dead letters of {queue_name}"):
                # Those of the last millisecond may be met again: they are asked for beyond the page and left out.
                bounds: tuple[Any, Any] = (low, high) if oldest_first else (high, low)
                ask = self.client.zrangebyscore if oldest_first else self.client.zrevrangebyscore
                found: Any = ask(dead, *bounds, start=0, num=PAGE + len(seen), withscores=True)
            fresh = [(id_.decode(), int(at_ms)) for id_, at_ms in found if id_.decode() not in seen]
            if not fresh:
                return
            last_ms = fresh[-1][1]
            low, high = (str(last_ms), high) if oldest_first else (low, str(last_ms))
            seen = {id_.decode() for id_, at_ms in found if int(at_ms) == last_ms}
            yield f"{last_ms} {' '.join(sorted(seen))}", [id_ for id_, _ in fresh]

    def groups(self, queue_name: str, *, limit: int = 100) -> list[LetterGroup]:
        """The ``limit`` most frequent fingerprints of a queue; grows with the number of them, not with that of the letters."""
        with translated(f"counting dead letters of {queue_name}"):
            raw: Any = self.client.hgetall(self.keys.of(queue_name, "fingerprints"))
        counts = {fingerprint.decode("utf-8", "surrogatepass"): int(number) for fingerprint, number in raw.items()}
        often = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
        found = [self._group(queue_name, fingerprint, number) for fingerprint, number in often]
        return [group for group in found if group is not None]

    def _group(self, queue_name: str, fingerprint: str, count: int) -> LetterGroup | None:
        query = LetterQuery(fingerprint=fingerprint)
        ends = [self._first(self.ids(queue_name, query, oldest_first=oldest)) for oldest in (False, True)]
        if not all(ends):
            return None
        newest, oldest_id = (str(end) for end in ends)
        return LetterGroup(
            queue=queue_name, fingerprint=fingerprint, count=count, newest_id=newest, oldest_id=oldest_id
        )

    @staticmethod
    def _first(pages: Iterator[tuple[str, list[str]]]) -> str | None:
        return next((ids[0] for _, ids in pages), None)
