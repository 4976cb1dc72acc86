"""One process that watches its instances, with a clock and a gateway of the test's own.

Tests import the fixture ``world`` and name it in ``__all__``.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from traffic_world import SetClock

import actors
from actors import services, wiring
from actors.circuit import Cause, Circuit, Failure, State, failed
from actors.domain import Instance
from actors.errors import InstanceUnavailable
from actors.instances import WATCH_QUEUE, step
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow

CLOSE = InstanceUnavailable("close", delay_ms=1, code="connection_closed")
I1 = Instance(name="wire-1", aliases=("i1",), tenant_id="t")


class Gateway:
    """Answers a look with what the test says."""

    name = "evolution"

    def __init__(self) -> None:
        self.answer: Exception | None = CLOSE
        self.looks: list[str] = []

    def check(self, instance: Instance | None = None) -> str:
        assert instance is not None
        self.looks.append(instance.name)
        if self.answer is not None:
            raise self.answer
        return "open"

    def close(self) -> None:
        """Has nothing to give back."""


class World:
    """One process with its rows, queue and limits."""

    def __init__(self, settings: Settings) -> None:
        self.clock, self.gateway, self.store = SetClock(), Gateway(), MemoryStore()
        row = InstanceRow(
            instance_name="i1", evolution_instance_name="wire-1", tenant_id="t", api_key="key-1", api_url="http://x"
        )
        self.store.add(
            row,
            InstanceRow(instance_name="i2", tenant_id="t", api_key="k", api_url="http://x"),
            ConversationRow(id="c1", contact_phone="+5511988887777", tenant_id="t", instance_name="i1"),
        )
        self.work = Services(
            settings=settings, store=self.store, clock=self.clock, gateways={"evolution": self.gateway}
        )
        services.install(self.work)

    @property
    def traffic(self):
        return wiring.traffic()

    def circuit(self, name: str = "wire-1") -> Circuit:
        return self.traffic.circuit(name)

    def instance(self) -> Instance:
        found = self.store.load_instance("i1", tenant_id="t")
        assert found is not None
        return found

    def open(self, cause: Cause = Cause.SESSION_DOWN, *, code: str = "connection_closed") -> Circuit:
        instance = self.instance()
        failure = Failure(
            cause=cause, code=code, credentials=self.traffic.credentials_of(instance), tenant_id="t", is_told=True
        )
        failure = failure if cause is Cause.REFUSED else replace(failure, is_told=False)
        return self.traffic.change(instance, lambda now: failed(now, failure, now_ms=self.clock.at_ms))

    def put(self, state: State, **fields) -> Circuit:
        new = Circuit(**{"state": state, "since_ms": 1, "changed_ms": self.clock.at_ms, "tenant_id": "t", **fields})
        return self.traffic.change(I1, lambda _: new)

    def step(self) -> Circuit:
        return step(self.work, self.traffic, self.instance(), self.circuit())

    def watches(self) -> int:
        stats = actors.broker.transitions.stats([WATCH_QUEUE])[0]
        return stats.ready + stats.delayed

    def gate(self, group: str = "i1", queue: str = "send_message"):
        return {one.group: one for one in actors.broker.transitions.gates(queue)}.get(group)

    def send(self, id_: str) -> None:
        self.store.add(MessageRow(id=id_, conversation_id="c1", content="oi", created_at_ms=1))
        actors.send_message.send(id_)


@pytest.fixture
def world(redis_server, queue_client: redis.Redis) -> Iterator[World]:
    yield World(Settings(redis_url=Hidden(redis_server.url(0)), store="memory", scheduler="none", gateway="evolution"))
    actors.broker.close()
    services.install(None)


def told(caplog: pytest.LogCaptureFixture) -> int:
    """How often somebody was told of an instance."""
    return caplog.messages.count("instance.alerted")
