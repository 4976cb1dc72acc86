"""Traffic over real limits and real gates, with a clock, a watch and an alert that only note what they were asked.

The fixture ``desk`` over it stands in ``tests/actors/conftest.py``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis

from actors.circuit import Cause, Circuit, Failure, State, Times, failed
from actors.domain import Instance
from actors.errors import AuthConfig, InstanceUnavailable, Paced
from actors.gates import Gates
from actors.pace import Kind, Pace, Paces
from actors.traffic import Traffic
from actors.trips import Trip
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.transitions import Transitions
from middleware.brokers.redis.values import Gate
from middleware.limits.limits import Limits

NAMESPACE = "test:traffic"
INSTANCE = Instance(name="i1", aliases=("line one",), tenant_id="t")
FREE = Pace()
#: What a request meets whose instance is in trouble.
DOWN = InstanceUnavailable("down", delay_ms=5_000, code="connection_closed", request_written=True)
REFUSED = AuthConfig("no", code="unauthorized", request_written=True)


class SetClock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.at_ms = 1_000_000

    def now_ms(self) -> int:
        return self.at_ms

    def boot_ms(self) -> int:
        return self.at_ms

    def wait(self, seconds: float, *, until: threading.Event) -> bool:
        return until.is_set()


@dataclass
class Desk:
    """One process' traffic and what it asked for."""

    traffic: Traffic
    transitions: Transitions
    client: "redis.Redis"
    clock: SetClock = field(default_factory=SetClock)
    paces: dict[Kind, Pace] = field(default_factory=lambda: dict.fromkeys(Kind, FREE))
    credentials: str = "key-1"
    watched: list[tuple[str, Circuit, int]] = field(default_factory=list)
    alerted: list[tuple[str, Circuit]] = field(default_factory=list)

    def go(self, trip: Trip, error: BaseException | None = None, *, instance: Instance = INSTANCE) -> None:
        """One request, which comes to ``error``."""
        with self.traffic.turn(instance, trip):
            if error is not None:
                raise error

    def open(self, cause: Cause = Cause.SESSION_DOWN, *, code: str = "connection_closed") -> Circuit:
        """The instance is down."""
        failure = Failure(cause=cause, code=code, credentials=self.credentials, tenant_id="t")
        return self.traffic.change(INSTANCE, lambda now: failed(now, failure, now_ms=self.clock.now_ms()))

    def put(self, state: State, **fields: Any) -> Circuit:
        """The instance stands so, whatever came before."""
        new = Circuit(state=state, **{"since_ms": 1, "changed_ms": self.clock.now_ms(), "tenant_id": "t", **fields})
        return self.traffic.change(INSTANCE, lambda _: new)

    def circuit(self, name: str = "i1") -> Circuit:
        return self.traffic.circuit(name)

    def gate(self, group: str = "i1", queue: str = "send_message") -> Gate | None:
        return {one.group: one for one in self.transitions.gates(queue)}.get(group)

    def send(self, id_: str, *, group: str | None = "i1", queue: str = "send_message") -> None:
        """A message in the queue."""
        self.transitions.enqueue(queue, id_, b"{}", options={"group": group} if group else {})

    def places(self) -> list[bytes]:
        return list(self.traffic.limits.client.zrange(f"{NAMESPACE}:place:i1", 0, -1))


def trip(holder: str = "m1", kind: Kind = Kind.SEND, **fields: Any) -> Trip:
    """A message of conversation c1 that came through the gate of i1."""
    group = {Kind.BULK: "i1/bulk"}.get(kind, "i1")
    known = Trip(kind=kind, pair="c1", to_group=False, holder=holder, group=group, for_ms=60_000)
    return replace(known, **fields)


def later(desk: Desk, asked: Trip, **options: Any) -> Paced:
    """It gets no turn; what it is told."""
    with pytest.raises(Paced) as told:
        desk.go(asked, **options)
    return told.value


def met(desk: Desk, error: BaseException, asked: Trip | None = None) -> Any:
    """It gets its turn and comes to ``error``; that error, as the turn left it."""
    with pytest.raises(type(error)) as told:
        desk.go(asked or trip(), error)
    return told.value


@contextmanager
def made_desk(server: EmbeddedRedis, *, limits: "redis.Redis | None" = None) -> Iterator[Desk]:
    """A desk on the server; ``limits``: another place for the limits."""
    broker = CarrierBroker(url=server.url(2), options=lambda: CarrierOptions(namespace=NAMESPACE, dead_suffix=".dead"))
    times, clock = Times(), SetClock()

    def paces_of(_: Instance) -> Paces:
        return dict(desk.paces)

    client, own_limits = server.client(2), server.client(3)
    traffic = Traffic(
        limits=Limits(limits or own_limits, namespace=NAMESPACE),
        gates=Gates(lambda: broker.transitions, times),
        times=times,
        clock=clock,
        paces_of=paces_of,
        credentials_of=lambda _: desk.credentials,
        watch=lambda *asked: desk.watched.append(asked),
        alert=lambda *told: desk.alerted.append(told),
        draw=lambda: 0.5,
    )
    desk = Desk(traffic, broker.transitions, client, clock)
    try:
        yield desk
    finally:
        broker.close()
        client.close()
        own_limits.close()
