"""Send a periodic actor once per slot, however many processes try.

Schedulers call :meth:`Ticks.fire`; the middleware itself stands in the stack and marks a slot again when its message runs.

A slot is sent in three steps: ask whether it is marked, enqueue under the id that all senders of the slot share
(``slots.tick_options``), mark it. In that order a crash loses nothing: what is not marked is sent again, and

- while its message is queued, runs, or has just ended, the broker knows the shared id and takes no second one;
- when its message starts, the worker marks the slot before the actor runs. So a slot whose message has ended is marked,
  also when the sender died between its second and third step.

What remains: a sender that stands still between asking and enqueueing, for longer than the broker remembers a finished id
(two minutes), sends the slot once more.
"""

import logging
import threading
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import redis
from dramatiq import Broker, MessageProxy, Middleware

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.scripts import translated
from middleware.errors import PipelineError
from middleware.slots import tick_options

logger = logging.getLogger(__name__)

#: How long a slot stays marked, in milliseconds: longer than any scheduler catches up, clocks that differ included.
KEEP_MS = 48 * 60 * 60 * 1000


class Marks(Protocol):
    """Which slots were sent. Safe to share between threads."""

    def has(self, actor_name: str, slot_ms: int) -> bool:
        """Whether the slot is marked."""
        ...

    def add(self, actor_name: str, slot_ms: int) -> bool:
        """Mark it; True for the first to do so."""
        ...


class RedisMarks:
    """Marks beside the queues: one for all processes. Raises ``middleware.errors.PipelineError`` like any command."""

    def __init__(self, client: "redis.Redis", key: str, *, keep_ms: int = KEEP_MS) -> None:
        self.client = client
        self.key = key
        self.keep_ms = keep_ms
        self._mark = client.register_script(_script())

    def has(self, actor_name: str, slot_ms: int) -> bool:
        """See :meth:`Marks.has`."""
        with translated(f"reading the slot {slot_ms} of {actor_name}"):
            return self.client.zscore(self.key, _member(actor_name, slot_ms)) is not None

    def add(self, actor_name: str, slot_ms: int) -> bool:
        """See :meth:`Marks.add`."""
        with translated(f"marking the slot {slot_ms} of {actor_name}"):
            return bool(self._mark(keys=[self.key], args=[_member(actor_name, slot_ms), self.keep_ms]))


class ProcessMarks:
    """Marks of this process only, for brokers without a Redis: each further worker process sends the slot once more.

    Remembers the latest slot of each actor.
    """

    def __init__(self) -> None:
        self._latest_ms: dict[str, int] = {}
        self._lock = threading.Lock()

    def has(self, actor_name: str, slot_ms: int) -> bool:
        """See :meth:`Marks.has`."""
        with self._lock:
            return slot_ms <= self._latest_ms.get(actor_name, -1)

    def add(self, actor_name: str, slot_ms: int) -> bool:
        """See :meth:`Marks.add`."""
        with self._lock:
            first = slot_ms > self._latest_ms.get(actor_name, -1)
            if first:
                self._latest_ms[actor_name] = slot_ms
            return first


@cache
def _script() -> str:
    return (files("middleware.brokers.redis") / "lua" / "tick.lua").read_text(encoding="utf-8")


def _member(actor_name: str, slot_ms: int) -> str:
    return f"{actor_name}@{slot_ms}"


class Ticks(Middleware):
    """One message per slot. ``marks`` None: in Redis where the broker is ours, else in this process, which is logged."""

    def __init__(self, marks: Marks | None = None) -> None:
        self._marks = marks
        self._lock = threading.Lock()

    @property
    def actor_options(self) -> set[str]:
        """``periodic``: what ``periodiq`` asks whether an actor is due (``actors.schedulers.periodiq``)."""
        return {"periodic"}

    def fire(self, broker: Broker, actor_name: str, slot_ms: int) -> bool:
        """Send the slot unless somebody did; True when this call was the first to mark it.

        Raises:
            QueueUnavailable, QueueFull, QueueRefused: the slot may be tried again, as often as one likes.
            ActorNotFound: the broker has no such actor.
        """
        marks = self._marks_of(broker)
        if marks.has(actor_name, slot_ms):
            return False
        broker.get_actor(actor_name).send_with_options(**tick_options(actor_name, slot_ms))
        first = marks.add(actor_name, slot_ms)
        if first:
            logger.info("tick.sent", extra={"actor": actor_name, "slot_ms": slot_ms})
        return first

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Mark the slot of a message that starts; see the head of this file for why."""
        slot_ms: Any = message.options.get("tick")
        if slot_ms is None:
            return
        try:
            self._marks_of(broker).add(message.actor_name, int(slot_ms))
        except PipelineError as error:
            # The actor runs all the same: losing a slot is worse than one more.
            logger.warning("tick.mark_failed", extra={"actor": message.actor_name, "code": error.code})

    def _marks_of(self, broker: Broker) -> Marks:
        with self._lock:
            if self._marks is not None:
                return self._marks
            if isinstance(broker, CarrierBroker):
                # Not kept: a broker that was closed comes back with another client.
                return RedisMarks(broker.client, broker.machinery.keys.ticks)
            logger.warning("ticks.kept_in_process", extra={"broker": type(broker).__name__})
            self._marks = ProcessMarks()
            return self._marks
