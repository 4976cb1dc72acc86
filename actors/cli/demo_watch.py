"""Look at the running demo: where it is, what lies in the queues, which worker has what in hand.

``demo_run`` asks it while it waits, ``demo_faults`` whom to kill.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.roster import Roster, RosterEntry
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import QueueStats, Transitions

#: The queues of the three operations.
QUEUES = ("send_message", "fetch_profile_pic", "fetch_group_info")
NAMESPACE = "chat:queue"
DB = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Where the demo is. ``open_`` are messages of all queues without an outcome."""

    total: int
    saved: int
    sent: int
    failed: int
    retried: int
    put_back: int
    open_: int

    @property
    def ended(self) -> int:
        """Chat messages that ended."""
        return self.sent + self.failed


@dataclass(frozen=True, slots=True)
class InHand:
    """A worker process and how many messages it has in hand right now."""

    entry: RosterEntry
    messages: int


class Queues:
    """What lies in Redis; a context manager. Reads only."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self._client = server.client(DB)
        self._keys = Keys(NAMESPACE)
        self._transitions = Transitions(Scripts(self._client, self._keys), remember_ms=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def stats(self) -> list[QueueStats]:
        """Depths and counts of the three queues."""
        return self._transitions.stats(QUEUES)

    def workers(self) -> list[RosterEntry]:
        """Worker processes that serve them."""
        return Roster(self._client, self._keys).alive()

    def in_hand(self) -> list[InHand]:
        """The same with what each has in hand, the busiest first; told by the fencing tokens of the leases."""
        tokens: list[Any] = [token for name in QUEUES for token in self._client.hvals(self._keys.of(name, "tokens"))]
        held = Counter(token.decode().rpartition(".")[0] for token in tokens)
        found = [InHand(entry, held[entry.id]) for entry in self.workers()]
        return sorted(found, key=lambda one: -one.messages)
