"""A carrier broker of a test's own, and a worker of Dramatiq's that serves it.

``make_broker`` is a fixture of the carrier's tests.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
from dramatiq import Worker

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.machinery import CarrierOptions

OPTIONS = CarrierOptions(namespace="test:broker", dead_suffix=".dead", pinned_db=2, lease_ms=600)
#: Takes middleware, and by name ``options`` and ``url``.
MakeBroker = Callable[..., CarrierBroker]


@contextmanager
def working(broker: CarrierBroker, *, threads: int = 2, boots: bool = False) -> Iterator[Worker]:
    """Worker threads run; ``boots``: after what a worker process does at its start."""
    if boots:
        broker.emit_after("process_boot")
    worker = Worker(broker, worker_threads=threads, worker_timeout=50)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(timeout=5_000)
        # Dramatiq leaves it there: a queue that is declared later would be consumed by a worker that has stopped.
        broker.middleware[:] = [one for one in broker.middleware if getattr(one, "worker", None) is not worker]


def declare(broker: CarrierBroker, fn: Callable[..., Any], **options: Any) -> dramatiq.Actor[..., Any]:
    """An actor of the queue ``work``."""
    return dramatiq.actor(broker=broker, queue_name="work", **options)(fn)


def depth(broker: CarrierBroker, state: str) -> int:
    """How many messages of ``work`` are in this state."""
    return getattr(broker.transitions.stats(["work"])[0], state)


def counter(broker: CarrierBroker, name: str) -> int:
    """How often this happened in ``work``."""
    return broker.transitions.stats(["work"])[0].counters.get(name, 0)
