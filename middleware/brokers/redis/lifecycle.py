"""Tie the carrier's threads to the life of Dramatiq's worker.

The broker adds it to its own middleware.
"""

from collections.abc import Callable
from queue import PriorityQueue

import dramatiq
from dramatiq import Middleware
from dramatiq.broker import Broker

from middleware.brokers.redis import connections
from middleware.brokers.redis.machinery import Machinery
from middleware.brokers.redis.work_queue import WorkQueue


class Lifecycle(Middleware):
    """Starts, narrows and stops what ``machinery`` gives."""

    def __init__(self, machinery: Callable[[], Machinery]) -> None:
        self.machinery = machinery

    @property
    def actor_options(self) -> set[str]:
        """Options that an actor of ours gives its messages (``middleware.actor``)."""
        return {"unique_until", "dead_holds_lane"}

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Refuse a wrong database; else begin to serve.

        Raises:
            Refusal: the connection is not on the pinned database.
        """
        machinery = self.machinery()
        if machinery.options.pinned_db is not None:
            connections.refuse_unpinned(machinery.client, db=machinery.options.pinned_db)
        # One message per thread, unless somebody asked for a prefetch other than Dramatiq's default.
        asked = worker.queue_prefetch != min(worker.worker_threads * 2, 65535)
        capacity = worker.queue_prefetch if asked else worker.worker_threads
        machinery.in_flight.capacity = capacity
        if machinery.options.slow_queues:
            machinery.in_flight.slow_queues = machinery.options.slow_queues
            machinery.in_flight.slow_capacity = max(1, int(capacity * machinery.options.slow_share))
        if type(worker.work_queue) is PriorityQueue:
            worker.work_queue = WorkQueue()  # type: ignore[assignment]  # it has what the worker uses of one
        machinery.worker = worker
        machinery.exchange.start()
        # Made here, so that a consumer's thread is at work as soon as it starts.
        machinery.waiter  # noqa: B018
        machinery.sign_in(
            threads=worker.worker_threads, queue_names=worker.consumer_whitelist or machinery.queue_names()
        )
        machinery.keeper.start()

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Take no more: consumers outlive the draining threads, and what they fetched now would lie here until then."""
        self.machinery().in_flight.capacity = 0

    def after_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Write what is under way, give back the rest."""
        machinery = self.machinery()
        machinery.worker = None
        machinery.release_all()
        machinery.sign_out()
