"""A carrier alone, for attacks: one broker, one actor that notes what it ran and does what the test planned, no chat.

``tests/chaos/carrier`` builds on it; broker, worker and server are real.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import dramatiq
from dramatiq import Message, Middleware, Worker
from waiting import until

from middleware import default_stack
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.brokers.redis.values import QueueStats, RawLetter
from middleware.clock import Clock
from middleware.retries import RetryPolicy

QUEUE = "work"
#: Longest wait for what must happen, in milliseconds; nothing here is a measure of speed.
SOON_MS = 20_000
#: Retries come at once: what is tested is that they come.
QUICK = RetryPolicy(base_ms=20, cap_ms=100)

Plan = Callable[[], object]


@dataclass
class Carriage:
    """One broker and what its actor ran. ``plans``: what each run of a message does beyond the note, one after another."""

    broker: CarrierBroker
    began: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    plans: dict[str, list[Plan]] = field(default_factory=dict)
    #: What every run does before its own plan, and all that happened, in order: ``("began" | "ended", name)``.
    each: Plan = lambda: None
    events: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.actor = dramatiq.actor(self._step, broker=self.broker, queue_name=QUEUE, actor_name="step")

    def _step(self, name: str) -> None:
        self.began.append(name)
        self.events.append(("began", name))
        self.each()
        plans = self.plans.get(name)
        if plans:
            plans.pop(0)()
        self.ended.append(name)
        self.events.append(("ended", name))

    def send(self, *names: str, delay: int | None = None, **options: Any) -> None:
        """Enqueue messages by name; ``options`` as :meth:`CarrierBroker.enqueue` reads them, ``delay`` in milliseconds."""
        for name in names:
            self.broker.enqueue(self.message(name, **options), delay=delay)

    def message(self, name: str, **options: Any) -> "Message[Any]":
        """A message that is not sent."""
        return self.actor.message_with_options(args=(name,), **options)

    def stats(self) -> QueueStats:
        """Depths of the queue."""
        return self.broker.transitions.stats([QUEUE])[0]

    def counter(self, name: str) -> int:
        """How often something happened."""
        return self.stats().counters.get(name, 0)

    def drained(self, *, done: int) -> None:
        """Wait until ``done`` messages were done and nothing is left."""
        until(lambda: self.counter("done") >= done and self.stats().unfinished == 0, within_ms=SOON_MS)
        assert self.counter("done") == done

    def letters(self) -> list[RawLetter]:
        """Dead letters that nobody was told of."""
        return self.broker.transitions.announce(QUEUE, limit=100, hold_ms=1)

    @contextmanager
    def working(self, threads: int = 4, *, prefetch: int | None = None) -> Iterator[Worker]:
        """A worker serves the queue; ``prefetch`` more than its threads lets messages wait in its hands."""
        worker = self.start(threads, prefetch=prefetch)
        try:
            yield worker
        finally:
            worker.stop(timeout=5_000)

    def start(self, threads: int = 4, *, prefetch: int | None = None) -> Worker:
        """The same for who stops it himself."""
        self.broker.emit_after("process_boot")
        worker = Worker(self.broker, worker_threads=threads, worker_timeout=50)
        worker.queue_prefetch = prefetch or worker.queue_prefetch
        worker.start()
        return worker

    def assert_all_threads_work(self, worker: Worker) -> None:
        """Every thread of the worker takes a message at the same time, and the care goes on."""
        done, meeting = self.counter("done"), threading.Barrier(worker.worker_threads + 1)
        for number in range(worker.worker_threads):
            self.plans[f"thread {number}"] = [lambda: meeting.wait(SOON_MS / 1000)]
            self.send(f"thread {number}")
        meeting.wait(SOON_MS / 1000)
        until(lambda: self.counter("done") == done + worker.worker_threads, within_ms=SOON_MS)
        keeper, seen_ms = self.broker.machinery.keeper, self.broker.clock.boot_ms()
        until(lambda: keeper.last_round_boot_ms > seen_ms, within_ms=SOON_MS)
        assert all(thread.is_alive() for thread in (*worker.workers, *worker.consumers.values()))


class Held:
    """A plan that says when it began and goes on when it is let go."""

    def __init__(self, then: Plan = lambda: None) -> None:
        self.began, self.go_on, self.then = threading.Event(), threading.Event(), then

    def __call__(self) -> None:
        self.began.set()
        assert self.go_on.wait(SOON_MS / 1000)
        self.then()

    def wait_for_begin(self) -> None:
        """Return when a run stands here."""
        assert self.began.wait(SOON_MS / 1000)


def fail() -> None:
    """A plan: the attempt fails and may be tried again."""
    raise RuntimeError("as planned")


@contextmanager
def carriage(
    url: str,
    *,
    namespace: str = "test:chaos",
    lease_ms: int = 15_000,
    middleware: list[Middleware] | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> Iterator[Carriage]:
    """A carriage on database 2 of ``url``, with the product's middleware unless another is given."""
    broker = CarrierBroker(
        connect=lambda: kwargs_for_db(url, 2),
        options=lambda: CarrierOptions(namespace=namespace, lease_ms=lease_ms, dead_suffix=".dead", **options),
        middleware=default_stack(retry_policy=lambda: QUICK) if middleware is None else middleware,
        clock=clock,
    )
    with closing(broker):
        yield Carriage(broker)
