"""What a host of the broker has done in every worker process, before its first message and beside its threads."""

from collections.abc import Callable

import dramatiq
from dramatiq import Broker, Middleware


class BeforeWork(Middleware):
    """Calls :attr:`prepares` before the worker takes its first message; what one raises ends the process."""

    def __init__(self) -> None:
        self.prepares: list[Callable[[], None]] = []

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Call them, in order."""
        for prepare in self.prepares:
            prepare()


class WorkerParts(Middleware):
    """Starts parts when the worker's threads run, and stops them with it: each of :attr:`prepares` returns how to stop."""

    def __init__(self) -> None:
        self.prepares: list[Callable[[Broker], Callable[[], None]]] = []
        self.stops: list[Callable[[], None]] = []

    def after_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Start them, in order."""
        self.stops = []
        for prepare in self.prepares:
            # One after another: whatever fails, those before it can be stopped.
            self.stops.append(prepare(broker))

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Stop them."""
        for stop in self.stops:
            stop()
