"""Send a periodic actor once per slot, however many processes try.

Schedulers call :meth:`Ticks.fire`. On our broker a slot is marked by the very script that enqueues its message, so there is no
moment between the two in which a sender could die, and time is Redis' own. All senders of a slot use one id
(``slots.tick_options``).
"""

import logging
import threading

from dramatiq import Broker, Middleware

from middleware.brokers.redis.broker import CarrierBroker
from middleware.meters import METERS, TICKS
from middleware.slots import tick_options

logger = logging.getLogger(__name__)


class ProcessMarks:
    """Slots that this process sent, for brokers without a Redis: each further process sends the slot once more.

    Remembers the latest slot of each actor. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._latest_ms: dict[str, int] = {}
        self._lock = threading.Lock()

    def has(self, actor_name: str, slot_ms: int) -> bool:
        """Whether the slot is marked."""
        with self._lock:
            return slot_ms <= self._latest_ms.get(actor_name, -1)

    def add(self, actor_name: str, slot_ms: int) -> bool:
        """Mark it; True for the first to do so."""
        with self._lock:
            first = slot_ms > self._latest_ms.get(actor_name, -1)
            if first:
                self._latest_ms[actor_name] = slot_ms
            return first


class Ticks(Middleware):
    """One message per slot. Where the broker is not ours slots are kept in this process, which is logged."""

    def __init__(self) -> None:
        self._marks: ProcessMarks | None = None
        self._lock = threading.Lock()

    @property
    def actor_options(self) -> set[str]:
        """``periodic``: what ``periodiq`` asks whether an actor is due (``actors.schedulers.periodiq``)."""
        return {"periodic"}

    def fire(self, broker: Broker, actor_name: str, slot_ms: int, *, each: bool = False) -> bool:
        """Send the slot unless somebody did; True when this call was the first to do so. ``each``: see ``tick_options``.

        Raises:
            QueueUnavailable, QueueFull, QueueRefused: the slot may be tried again, as often as one likes.
            ActorNotFound: the broker has no such actor.
        """
        message = broker.get_actor(actor_name).message_with_options(**tick_options(actor_name, slot_ms, each=each))
        if isinstance(broker, CarrierBroker):
            first = broker.put(message)[1].state != "known"
        else:
            marks = self._marks_of(broker)
            if marks.has(actor_name, slot_ms):
                return False
            broker.enqueue(message)
            first = marks.add(actor_name, slot_ms)
        if first:
            METERS.count(TICKS, actor_name)
            logger.info("tick.sent", extra={"actor": actor_name, "slot_ms": slot_ms})
        return first

    def _marks_of(self, broker: Broker) -> ProcessMarks:
        with self._lock:
            if self._marks is None:
                logger.warning("ticks.kept_in_process", extra={"broker": type(broker).__name__})
                self._marks = ProcessMarks()
            return self._marks
