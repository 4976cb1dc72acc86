"""Look at the running demo: the queues in Redis, and in the end everything there is to know.

``demo`` asks it while it waits; what it gathers is compared in ``demo_checks``.
"""

import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from actors.cli.demo_facts import Facts
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.roster import Roster, RosterEntry
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import QueueStats, Transitions

if TYPE_CHECKING:
    from actors.cli.demo_world import World

#: The queues of the three operations.
QUEUES = ("send_message", "fetch_profile_pic", "fetch_group_info")
NAMESPACE = "chat:queue"
DB = 2
#: More letters than any demo makes.
_ALL_LETTERS = 10_000


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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


def gather(world: "World") -> Facts:
    """Everything that is known now: the host's rows, the gateway's log, the dead letters, the queues."""
    letters = json.loads(world.command("dlq", "list", "--limit", str(_ALL_LETTERS), "--json"))
    dump = json.loads(world.manage("dumpdata", "chat.message", "chat.conversation"))
    with closing(world.redis.client(DB)), Queues(world.redis) as queues:
        return Facts.of(dump=dump, deliveries=world.sandbox.deliveries(), letters=letters, queues=queues.stats())
