"""What the scripts take and give, as values: leases, messages handed out, depths of a queue, gates, dead letters.

``transitions`` makes them of Redis' replies; nothing here talks to Redis. Those that are made for every message are tuples: a
frozen dataclass takes three times as long to make.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_ROUTED = frozenset({"lane", "group", "unique_key"})
_SENT_AT = re.compile(rb'"(?:message_timestamp|redriven_at_ms)": ?(\d+)')


#: Ends the name of the owner in the tokens of what a worker fetched with its wait (``fetch_first.lua``).
WAITING = "+"


class Lease(NamedTuple):
    """The right to run a message until it expires; ``token`` fences whoever had it before."""

    queue_name: str
    id: str
    token: str

    @property
    def owner(self) -> str:
        """Worker process that has it."""
        return self.fetcher.removesuffix(WAITING)

    @property
    def fetcher(self) -> str:
        """The owner that the fetch named: of a process, what it sends with its wait has another than all else."""
        return self.token.rpartition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Where a message belongs; fixed when it is enqueued.

    Attributes:
        lane: messages with the same one run one at a time, in the order of their enqueues.
        group: messages with the same one pass its gate.
        unique_key: while a message has it, another enqueue finds that one.
        flags: ``c`` the key cools down after it, ``d`` a dead letter of it holds its lane, ``s`` the key is free at its start.
    """

    lane: str = ""
    group: str = ""
    unique_key: str = ""
    flags: str = ""

    @classmethod
    def of(cls, id_: str, options: Mapping[str, Any]) -> "Routing":
        """Routing that a message's options ask for.

        Raises:
            ValueError: a name holds NUL, which would tear the waiting lists.
        """
        if _ROUTED.isdisjoint(options):
            return NOWHERE
        names = [str(options.get(name) or "") for name in ("lane", "group", "unique_key")]
        lane, group, unique_key = names
        if "\0" in lane or "\0" in group or "\0" in unique_key:
            raise ValueError(f"message {id_}: lane, group and unique_key must not hold NUL")
        flags = "c" if unique_key and options.get("unique_for") else ""
        flags += "d" if lane and options.get("dead_holds_lane") else ""
        flags += "s" if unique_key and options.get("unique_until") == "start" else ""
        return cls(lane=lane, group=group, unique_key=unique_key, flags=flags)

    @classmethod
    def read(cls, text: bytes) -> "Routing":
        """Routing as Redis keeps it."""
        if not text:
            return NOWHERE
        lane, group, unique_key, flags = text.decode("utf-8", "surrogatepass").split("\0")
        return cls(lane=lane, group=group, unique_key=unique_key, flags=flags)

    def text(self) -> str:
        """As Redis keeps it; empty for a message that belongs nowhere."""
        is_nowhere = self is NOWHERE or self == NOWHERE
        return "" if is_nowhere else "\0".join((self.lane, self.group, self.unique_key, self.flags))

    def options(self) -> dict[str, str]:
        """The names that are there, as a message's options carry them."""
        named = {"lane": self.lane, "group": self.group, "unique_key": self.unique_key}
        return {name: value for name, value in named.items() if value}


NOWHERE = Routing()


class Fetched(NamedTuple):
    """One message handed out. ``deliveries`` counts starts without an outcome, this one included."""

    lease: Lease
    deliveries: int
    body: bytes
    routing: Routing = NOWHERE


@dataclass(frozen=True, slots=True)
class Fetch:
    """A fetch's answer: messages, how many more may run now, and when time brings the next one (None: none waits for it)."""

    messages: list[Fetched]
    left: int
    next_due_in_ms: int | None


@dataclass(frozen=True, slots=True)
class Tended:
    """What one round of care did for a queue."""

    queue_name: str
    reclaimed: int
    buried: int
    unannounced: int
    next_due_in_ms: int | None
    dropped: int
    ready: int


class Enqueued(NamedTuple):
    """What became of an enqueue.

    ``state`` is ``new``, ``known`` (this id or tick was sent before) or ``duplicate``: ``id`` has the unique key, ``body`` is
    that message, or None when it is over and its key cools down.
    """

    state: str
    id: str
    body: bytes | None = None


class NewMessage(NamedTuple):
    """A message to be enqueued. ``tick``: slot of a periodic send, sent once whoever sends it; times in milliseconds."""

    id: str
    body: bytes
    delay_ms: int = 0
    routing: Routing = NOWHERE
    unique_for_ms: int = 0
    tick: str = ""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Depth of every state of one queue."""

    queue_name: str
    ready: int
    delayed: int
    in_flight: int
    waiting_in_lane: int
    waiting_in_group: int
    dead: int
    oldest_ready_age_s: float | None
    oldest_dead_age_s: float | None
    lanes_held: int
    next_due_in_ms: int | None
    paused_for_s: float | None
    counters: dict[str, int]

    @property
    def unfinished(self) -> int:
        """Messages that have not ended, in whatever state."""
        return self.ready + self.delayed + self.in_flight + self.waiting_in_lane + self.waiting_in_group

    def as_json(self) -> dict[str, Any]:
        """The public shape (``stats --json``)."""
        return {
            "ready": self.ready,
            "delayed": self.delayed,
            "in_flight": self.in_flight,
            "waiting_in_lane": self.waiting_in_lane,
            "waiting_in_group": self.waiting_in_group,
            "dead": self.dead,
            "oldest_ready_age_s": self.oldest_ready_age_s,
            "oldest_dead_age_s": self.oldest_dead_age_s,
            "next_due_in_s": None if self.next_due_in_ms is None else self.next_due_in_ms / 1000,
            "paused_for_s": self.paused_for_s,
        }


@dataclass(frozen=True, slots=True)
class RawLetter:
    """A dead letter as Redis holds it: ``record`` is the decoded JSON, ``body`` the message's last bytes."""

    queue_name: str
    id: str
    record: dict[str, Any]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GateChange:
    """What shall hold for a group from now on; None leaves it as it was.

    Attributes:
        limit: so many ready or running at a time; 0 parks the group, 1 lets one try, -1 is any number.
        next_in_ms: nobody passes before then.
        interval_ms: one in so long on average, 0 = at any pace.
        burst: so many at once before the interval counts.
        paused: an operator holds it, or lets it go; beside the limit, which is the policy's.
        jitter: the interval is uneven by so much of itself, 0 to 1.
    """

    limit: int | None = None
    next_in_ms: int | None = None
    interval_ms: float | None = None
    burst: int | None = None
    paused: bool | None = None
    jitter: float | None = None

    def args(self) -> tuple[Any, ...]:
        """Arguments of ``gate.lua``."""
        paused = None if self.paused is None else int(self.paused)
        asked = (self.limit, self.next_in_ms, self.interval_ms, self.burst, paused, self.jitter)
        return tuple("" if value is None else value for value in asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a group's gate says, and how it stands. ``limit`` None: any number at a time; ``interval_ms`` 0: at any pace."""

    group: str
    limit: int | None
    next_in_ms: int
    interval_ms: float
    burst: int
    paused_at_ms: int | None
    admitted: int
    running: int
    waiting: int

    @property
    def state(self) -> str:
        """``paused`` by an operator, ``parked`` (nobody may pass), ``waiting`` for its time, or ``open``."""
        if self.paused_at_ms is not None:
            return "paused"
        if self.limit == 0:
            return "parked"
        return "waiting" if self.next_in_ms else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHolder:
    """Which message a lane waits for, since when, and how many wait; ``is_dead``: a dead letter that holds it."""

    id: str
    since_ms: int
    is_dead: bool
    waiting: int


def due(value: int) -> int | None:
    """Milliseconds as the scripts give them, -1 for never."""
    return None if value < 0 else value


def age_s(body: bytes, *, now_ms: int) -> float | None:
    """How long ago a message was sent (or redriven), by its sender's clock; None when its bytes do not say."""
    sent_at = [int(found) for found in _SENT_AT.findall(body)]
    return max(0.0, (now_ms - max(sent_at)) / 1000) if sent_at else None
