"""The queue, the workers and the schedulers of one test of the scheduler contract."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

import dramatiq
from dramatiq import Worker
from dramatiq.middleware import CurrentMessage
from waiting import until

from actors.schedule import CatchUp, Entry
from middleware.actor import current_options, routed
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.retries import Retries, RetryPolicy
from middleware.slots import MINUTE_MS, Cron
from middleware.ticks import Ticks

NOON_MS = int(datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()) * 1000
HOUR_MS = 60 * MINUTE_MS
ACTOR = "sample"

#: One scheduler process; called, it does what it does when its clock shows so many milliseconds.
Process = Callable[[int], object]


class Rig(Protocol):
    """A backend, as far as the contract must ask and drive it."""

    def fire_times(self, cron: Cron, start_ms: int, count: int) -> list[int]:
        """When it looks again, from ``start_ms`` on, as long as nothing goes wrong."""
        ...

    def process(self, broker: CarrierBroker, entry: Entry) -> Process:
        """A process of its own."""
        ...


class World:
    """A queue, the workers and the processes that share it."""

    def __init__(self, server: EmbeddedRedis, rig: Rig) -> None:
        self.server = server
        self.rig = rig
        #: Slots in the order in which they ran.
        self.ran: list[int] = []
        #: So many runs from now on fail.
        self.failing = 0
        self.brokers: list[CarrierBroker] = []
        self.make_broker()

    def make_broker(self) -> CarrierBroker:
        """Of a process of its own."""
        broker = CarrierBroker(
            connect=lambda: kwargs_for_db(self.server.url(0), 2),
            options=lambda: CarrierOptions(namespace="test:contract"),
            middleware=[CurrentMessage(), Ticks(), Retries(policy=lambda: RetryPolicy(base_ms=1, cap_ms=2))],
        )
        dramatiq.actor(self._run, broker=broker, actor_name=ACTOR, actor_class=routed())
        self.brokers.append(broker)
        return broker

    def process(self, entry: Entry) -> Process:
        return self.rig.process(self.make_broker(), entry)

    def _run(self) -> None:
        self.ran.append(current_options()["tick"])
        if self.failing:
            self.failing -= 1
            raise ValueError

    @contextmanager
    def working(self, threads: int = 1) -> Iterator[None]:
        worker = Worker(self.brokers[0], worker_threads=threads, worker_timeout=50)
        worker.start()
        try:
            yield
        finally:
            worker.stop(timeout=5_000)

    def settled(self) -> list[int]:
        """What ran until nothing was left."""
        until(lambda: self.brokers[0].do_qsize("default") == 0, within_ms=10_000)
        return self.ran

    def counter(self, name: str) -> int:
        return self.brokers[0].transitions.stats(["default"])[0].counters.get(name, 0)

    def close(self) -> None:
        for broker in self.brokers:
            broker.close()


def entry(cron: str, catch_up: CatchUp = CatchUp.LAST, **fields: int) -> Entry:
    return Entry(actor=ACTOR, cron=Cron(cron), catch_up=catch_up, **fields)


def every_hour(first: int, last: int) -> list[int]:
    """Slots of ``0 * * * *``, in hours after noon."""
    return [NOON_MS + hour * HOUR_MS for hour in range(first, last + 1)]
