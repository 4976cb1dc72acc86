"""Look at the running demo: where it is, what lies in the queues, which worker has what in hand.

``demo_run`` asks it while it waits, ``demo_faults`` whom to kill.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import Self

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.roster import Roster, RosterEntry
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Transitions
from middleware.brokers.redis.values import QueueStats

#: The queues of the three operations.
QUEUES = ("send_message", "fetch_profile_pic", "fetch_group_info")
NAMESPACE = "chat:queue"
DB = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Where the demo is. ``open_`` are messages of all queues without an outcome, ``moving`` those that wait for nobody."""

    total: int
    saved: int
    sent: int
    failed: int
    retried: int
    put_back: int
    open_: int
    moving: int

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
        self._transitions = Transitions(Scripts(self._client, self._keys))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def stats(self) -> list[QueueStats]:
        """Depths and counts of the three queues."""
        return self._transitions.stats(QUEUES)

    def waiting(self, *, but: Container[str]) -> int:
        """Messages that wait behind a gate of any instance but these."""
        gates = [gate for name in QUEUES for gate in self._transitions.gates(name)]
        return sum(gate.waiting for gate in gates if gate.group not in but)

    def workers(self) -> list[RosterEntry]:
        """Worker processes that serve them."""
        return Roster(self._client, self._keys).alive()

    def in_hand(self) -> list[InHand]:
        """The same with what each has in hand, the busiest first; told by the fencing tokens of the leases."""
        held = Counter(lease.owner for name in QUEUES for lease in self._transitions.leases(name))
        found = [InHand(entry, held[entry.id]) for entry in self.workers()]
        return sorted(found, key=lambda one: -one.messages)
