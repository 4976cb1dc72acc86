"""A queue in the memory of a test: remembers what was sent, hands it out in the carrier's order.

``sends.py`` puts it in the place of the real one. Kept of the carrier's rules are those that a host can see: a unique key
returns the job that has it, one message of a lane at a time and in order, waits. A wait is skipped, not waited for.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dramatiq import Message, MessageProxy, Middleware
from dramatiq.broker import Consumer

from actors.testing.clock import SkippingClock
from middleware.brokers.stub import StubBroker
from middleware.letters import DeadLetter
from middleware.outcomes import Dead, Done, Outcome, PutBack, Retry

#: A message that comes back more often than this waits for something that will not happen in a test.
MAX_RUNS = 100


@dataclass(frozen=True, slots=True)
class Sent:
    """One send, as the queue took it. ``kwargs`` are ids and options only; ``job_id`` is Dramatiq's message id."""

    actor: str
    kwargs: dict[str, Any]
    delay_ms: int | None = None
    job_id: str = field(default="", compare=False)

    @property
    def id(self) -> str | None:
        """The chat message's id, or that of the conversation."""
        found = self.kwargs.get("message_id") or self.kwargs.get("conversation_id")
        return None if found is None else str(found)


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: what was run, and ``outcome`` (``done``, ``retry``, ``snooze``, ``dead``) with its reason."""

    sent: Sent
    outcome: str
    reason: str | None = None
    delay_ms: int = 0


@dataclass(slots=True)
class Waiting:
    """A message that has not ended; ``due_ms`` on the clock of the test."""

    message: "Message[Any]"
    due_ms: int
    runs: int = 0
    last: str = "never run"

    @property
    def lane(self) -> str | None:
        """What it keeps its order in."""
        return self.message.options.get("lane")


class MemoryQueue(StubBroker):
    """Waits in memory, or in Dramatiq's stub broker for worker threads while ``is_worked``. Safe to call from many threads."""

    def __init__(
        self, middleware: list[Middleware], *, clock: SkippingClock, on_death: Callable[[DeadLetter], None]
    ) -> None:
        super().__init__(middleware)
        self.sent: list[Sent] = []
        self.waiting: list[Waiting] = []
        self.dead: list[DeadLetter] = []
        self.is_worked = False
        self._lock = threading.RLock()
        self._clock = clock
        self._on_death = on_death
        self._known: dict[str, Waiting] = {}
        self._unique: dict[str, Message[Any]] = {}

    # -- what a sender sees ------------------------------------------------------------------------------------------

    def enqueue(self, message: "Message[Any]", *, delay: int | None = None) -> "Message[Any]":
        """Take a message; of one whose unique key is taken, the job that has it."""
        with self._lock:
            key = message.options.get("unique_key")
            if key in self._unique:
                return self._unique[key]
            if message.message_id not in self._known:
                if key is not None:
                    self._unique[key] = message
                self.sent.append(Sent(message.actor_name, dict(message.kwargs), delay, message.message_id))
            self._wait(Waiting(message, self._clock.now_ms() + (delay or 0)))
        return message

    def send_many(self, messages: "Iterable[Message[Any]]", *, delay: int | None = None) -> "list[Message[Any]]":
        """The same for many, in their order."""
        return [self.enqueue(message, delay=delay) for message in messages]

    def clear(self) -> None:
        """Forget everything: what was sent, what waits, what was given up, which unique keys are taken."""
        with self._lock:
            for kept in (self.sent, self.waiting, self.dead):
                kept.clear()
            self._unique.clear()

    def _wait(self, entry: Waiting, *, at: int | None = None) -> None:
        self._known.setdefault(entry.message.message_id, entry)
        if self.is_worked:
            self._clock.skip(entry.due_ms - self._clock.now_ms())
            super().enqueue(entry.message)
        else:
            self.waiting.insert(len(self.waiting) if at is None else at, entry)

    # -- what a run sees ---------------------------------------------------------------------------------------------

    def take(self) -> Waiting | None:
        """The next one that may run: the first of its lane, the earliest of those."""
        with self._lock:
            lanes: set[str] = set()
            first: list[Waiting] = []
            for entry in self.waiting:
                if entry.lane not in lanes:
                    first.append(entry)
                if entry.lane is not None:
                    lanes.add(entry.lane)
            if not first:
                return None
            entry = min(first, key=lambda one: one.due_ms)
            self.waiting.remove(entry)
            return entry

    def settle(self, entry: Waiting, outcome: Outcome) -> Ran:
        """Apply what a run came to."""
        message = entry.message
        sent = Sent(message.actor_name, dict(message.kwargs), job_id=message.message_id)
        with self._lock:
            entry.runs += 1
            if isinstance(outcome, Retry | PutBack):
                entry.due_ms, entry.last = self._clock.now_ms() + outcome.delay_ms, f"{outcome.name}: {outcome.reason}"
                # In front of its lane; what yields goes behind it.
                yields = isinstance(outcome, PutBack) and outcome.yields
                self._wait(entry, at=None if yields else 0)
                return Ran(sent, outcome.name, outcome.reason, outcome.delay_ms)
            self._free(message)
        if isinstance(outcome, Dead):
            self._bury(message, outcome)
            return Ran(sent, outcome.name, outcome.reason)
        return Ran(sent, Done().name)

    def _free(self, message: "Message[Any]") -> None:
        key = message.options.get("unique_key")
        if key is not None and not message.options.get("unique_for"):
            self._unique.pop(key, None)

    def _bury(self, message: "Message[Any]", outcome: Dead) -> None:
        evidence = outcome.evidence
        letter = DeadLetter(
            id=message.message_id,
            queue=message.queue_name,
            reason=outcome.reason,
            died_at_ms=self._clock.now_ms(),
            deliveries=1,
            actor=message.actor_name,
            job_id=message.message_id,
            kwargs=dict(message.kwargs),
            options=dict(message.options),
            error=evidence.get("error"),
            error_class=evidence.get("class"),
            attempts=int(evidence.get("attempts", 0)),
            lane=message.options.get("lane"),
            group=message.options.get("group"),
        )
        with self._lock:
            self.dead.append(letter)
        self._on_death(letter)

    # -- what Dramatiq's worker threads see --------------------------------------------------------------------------

    def hand_out(self) -> None:
        """From now on messages wait for worker threads."""
        with self._lock:
            self.is_worked = True
            waiting, self.waiting = self.waiting, []
            for entry in waiting:
                super().enqueue(entry.message)

    def take_back(self) -> None:
        """From now on they wait here again."""
        with self._lock:
            self.is_worked = False

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        """Consumer of a worker."""
        return _Consumer(self, super(StubBroker, self).consume(queue_name, prefetch=prefetch, timeout=timeout))

    def settle_of(self, message: MessageProxy) -> None:
        """Apply what a run in a worker's thread came to; one that comes back too often is left."""
        entry = self._known[message.message_id]
        entry.message = message._message
        outcome: Outcome = getattr(message, "outcome", None) or Done()
        if entry.runs >= MAX_RUNS and not isinstance(outcome, Dead | Done):
            with self._lock:
                self.waiting.append(entry)
            return
        self.settle(entry, outcome)


class _Consumer(Consumer):
    def __init__(self, queue: MemoryQueue, inner: Consumer) -> None:
        self.queue = queue
        self.inner = inner

    def __next__(self) -> MessageProxy | None:
        return next(self.inner)

    def ack(self, message: MessageProxy) -> None:
        # The next run first: whoever waits for an empty queue must not see one in between.
        self.queue.settle_of(message)
        self.inner.ack(message)

    def nack(self, message: MessageProxy) -> None:
        self.queue.settle_of(message)
        self.inner.ack(message)

    def requeue(self, messages: Any) -> None:
        self.inner.requeue(messages)

    def close(self) -> None:
        self.inner.close()
