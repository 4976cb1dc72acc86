"""What one request asks of the limits: its place, its day's quota, the buckets it takes from. Pure.

``actors.traffic`` asks for all of it at once, before the request.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.circuit import Circuit
from actors.domain import Instance
from actors.gates import BULK_SUFFIX, group_of
from actors.pace import Kind, Pace
from middleware.limits.limits import ANYWHERE, Bucket, Place

_DAY_MS = 24 * 60 * 60 * 1000
#: Wait for a place that another kind of work of the instance has, in milliseconds; gates make that rare.
PLACE_WAIT_MS = 500
#: How often the wait of a campaign's message for a place doubles.
MAX_DOUBLINGS = 4
#: Bounds of the wait of a message that has no gate to wait at while its instance is parked, in milliseconds.
UNGATED_FIRST_MS, UNGATED_LAST_MS = 1_000, 60_000
#: A message without a gate that was put back often comes seldom: at most so many times its wait.
MAX_SPREAD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One request that wants to go out: for whom, by which message, and how long it may take.

    Attributes:
        pair: the conversation; recipients have no name in Redis.
        holder: the chat message, or the one in the queue; it holds the place.
        group: group under which the message came through its gate, None = through none.
        put_backs: how often the message was put back before.
    """

    kind: Kind
    pair: str
    to_group: bool
    holder: str
    group: str | None
    for_ms: int
    put_backs: int = 0

    def came_through_gate(self, instance: Instance) -> bool:
        """Whether a gate of ``instance`` let the message in; not so for a fallback, or a conversation that names none."""
        kind = Kind.BULK if self.group is not None and self.group.endswith(BULK_SUFFIX) else Kind.SEND
        return self.group in [group_of(name, kind) for name in instance.names]


def place_of(instance: Instance, pace: Pace, trip: Trip) -> Place:
    """One place for all kinds of sends: a gate of its own has no idea of the other's."""
    if not trip.kind.is_send or pace.concurrency is None:
        return ANYWHERE
    return Place(name=instance.name, limit=pace.concurrency, holder=trip.holder, for_ms=trip.for_ms)


def quota_of(instance: Instance, pace: Pace, trip: Trip) -> Place:
    """A message counts once in 24 hours, however often it is tried."""
    if not pace.per_day:
        return ANYWHERE
    return Place(name=f"{instance.name}:{trip.kind}", limit=pace.per_day, holder=trip.holder, for_ms=_DAY_MS)


def buckets_of(instance: Instance, pace: Pace, trip: Trip) -> Sequence[Bucket]:
    """What a gate cannot know, and what it would have kept had it been there."""
    buckets = [throttle_of(instance, trip)]
    if trip.kind.is_send:
        buckets.append(pair_of(instance, pace, trip))
    gated = trip.came_through_gate(instance)
    if pace.interval_ms and (trip.kind is Kind.BULK or not gated or len(instance.names) > 1):
        # Of a campaign nothing may slip through before its gate is set for the first time. And an instance that rows know
        # by two names has two gates, each at its whole pace.
        least_ms = pace.interval_ms * (1 - pace.jitter if gated else 1)
        buckets.append(Bucket(name=f"{instance.name}:{trip.kind}", interval_ms=least_ms, burst=pace.burst))
    return buckets


def throttle_of(instance: Instance, trip: Trip) -> Bucket:
    """Holds off sends, or one kind of question, after the gateway said "slow down"."""
    what = trip.kind if trip.kind.is_question else "sends"
    return Bucket(name=f"{instance.name}:throttle:{what}", interval_ms=0)


def pair_of(instance: Instance, pace: Pace, trip: Trip) -> Bucket:
    """The recipient's own pace; without one it only holds off."""
    interval_ms = pace.group_interval_ms or pace.pair_interval_ms if trip.to_group else pace.pair_interval_ms
    return Bucket(name=f"{instance.name}:pair:{trip.pair}", interval_ms=interval_ms, burst=pace.pair_burst)


def place_wait_ms(trip: Trip) -> int:
    """Wait for a place that another message has: a campaign's asks ever more seldom, a request may last two minutes."""
    return PLACE_WAIT_MS * (2 ** min(trip.put_backs, MAX_DOUBLINGS) if trip.kind is Kind.BULK else 1)


def ungated_wait_ms(circuit: Circuit, *, now_ms: int, draw: float) -> int:
    """Wait of a message that has no gate to wait at: the longer its instance is down already, the longer."""
    down_ms = max(0, now_ms - circuit.changed_ms)
    return int(min(UNGATED_LAST_MS, max(UNGATED_FIRST_MS, down_ms / 4)) * (0.8 + 0.4 * draw))


def spread_ms(wait_ms: int, trip: Trip, *, draw: float) -> int:
    """Wait of one of many that would all come back at the same moment, for one of them to pass."""
    return int(wait_ms * (1 + draw * min(MAX_SPREAD, 2 ** min(trip.put_backs, 10))))
