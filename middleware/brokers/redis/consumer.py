"""Take messages of one queue and apply what became of them.

Dramatiq's worker runs one consumer per queue in a thread of its own and calls ``ack``, ``nack`` and ``requeue`` from worker
threads. Here an acknowledgement means: the outcome decided for the attempt is written by one script, or an error is raised
and Dramatiq tries again; a message whose hooks failed is never taken for done.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dramatiq import Message, MessageProxy
from dramatiq.broker import Consumer
from dramatiq.errors import ActorNotFound, DecodeError

from middleware import backoff
from middleware.brokers.redis.inflight import Settlement
from middleware.brokers.redis.machinery import Machinery
from middleware.brokers.redis.transitions import Fetched, Lease
from middleware.errors import Described, PipelineError
from middleware.outcomes import Dead, Done, Outcome, PutBack, Retry

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker

logger = logging.getLogger(__name__)

#: Wait before a message whose hooks failed is tried again, in milliseconds: long enough not to spin.
HOOK_FAILED_DELAY_MS = 5_000
#: Pause of a consumer after Redis did not answer, in seconds.
PAUSE_S = 0.5


class CarriedMessage(MessageProxy):
    """A message in hand: Dramatiq's proxy, its lease, and the outcome once it is decided."""

    def __init__(self, message: "Message[Any]", fetched: Fetched, *, machinery: Machinery) -> None:
        super().__init__(message)
        self.lease = fetched.lease
        self.machinery = machinery
        self.deliveries = fetched.deliveries
        self.outcome: Outcome | None = None


class CarrierConsumer(Consumer):
    """See :class:`dramatiq.Consumer`; one per queue and process."""

    def __init__(self, broker: "CarrierBroker", queue_name: str, prefetch: int, timeout_ms: int) -> None:
        self.broker = broker
        self.machinery = broker.machinery
        self.queue_name = queue_name
        self.prefetch = prefetch
        self.timeout_s = timeout_ms / 1000
        self._batch: deque[Fetched] = deque()
        self._bell = threading.Event()
        self._bell.set()
        self._taken: set[str] = set()
        self._closed = False
        self._reply_lost = False
        self.machinery.waiter.hang(queue_name, self._bell)

    # -- taking ---------------------------------------------------------------------------------------------------

    def __next__(self) -> MessageProxy | None:
        """Next message, or None after the idle timeout; never raises for Redis, so the thread never dies."""
        if not self._batch and self._bell.wait(self.timeout_s):
            self._bell.clear()
            self._refill()
        while self._batch:
            message = self._open(self._batch.popleft())
            if message is not None:
                return message
        return None

    def _refill(self) -> None:
        room = self.machinery.in_flight.reserve(max(0, self.prefetch - len(self._taken)), bell=self._bell)
        if room == 0:
            return
        leases: list[Lease] = []
        asked_boot_ms = self.broker.clock.boot_ms()
        try:
            if self._reply_lost:
                # What a lost reply handed out was never started. Left to the reaper it would count as a crash each time, and
                # two minutes of a slow network would bury the whole queue as crash loops.
                in_hand = self.machinery.in_flight.leases().get(self.queue_name, [])
                self.broker.transitions.disown(self.queue_name, owner=self.broker.broker_id, in_hand=in_hand)
                self._reply_lost = False
            fetch = self.broker.do_fetch(self.queue_name, room)
            leases = [fetched.lease for fetched in fetch.messages]
            self._batch.extend(fetch.messages)
            self._taken.update(lease.id for lease in leases)
            if fetch.left:
                self._bell.set()
            self.machinery.waiter.due(self.queue_name, fetch.next_due_in_ms)
        except PipelineError as error:
            self._reply_lost = True
            logger.warning("queue.fetch_failed", extra={"queue": self.queue_name, "code": error.code})
            self.broker.clock.wait(PAUSE_S, until=self.machinery.stopping)
            self._bell.set()
        finally:
            self.machinery.in_flight.fill(leases, reserved=room, asked_boot_ms=asked_boot_ms)

    def _open(self, fetched: Fetched) -> MessageProxy | None:
        try:
            message = self.broker.decode(fetched.body)
        except DecodeError:
            # Its bytes go to the dead letters as they are; the rest of the batch is not touched.
            outcome = Dead("undecodable", {"code": "undecodable"})
            self.machinery.in_flight.settle(fetched.lease, Settlement(outcome, fetched.body))
            self._taken.discard(fetched.lease.id)
            self._bury(fetched)
            return None
        if message.options.get("redis_message_id") != fetched.lease.id:
            message = message.copy(options={"redis_message_id": fetched.lease.id})
        # eta is a fact of the queue here; Dramatiq's worker would wait for it a second time.
        message.options.pop("eta", None)
        return CarriedMessage(message, fetched, machinery=self.machinery)

    def _bury(self, fetched: Fetched) -> None:
        try:
            self.broker.do_nack(self.queue_name, fetched.lease.id)
        except PipelineError as error:
            # Its lease runs out and it comes again; this thread must not end for it.
            self.machinery.in_flight.drop(fetched.lease)
            logger.warning("queue.bury_failed", extra={"redis_message_id": fetched.lease.id, "code": error.code})

    # -- giving back ----------------------------------------------------------------------------------------------

    @property
    def outstanding_message_count(self) -> int:
        """Messages taken and not yet given back; stock's name."""
        return len(self._taken)

    def ack(self, message: MessageProxy) -> None:
        """Write the outcome of an attempt that was not refused."""
        if not isinstance(message, CarriedMessage):
            return
        outcome = message.outcome
        if outcome is None:
            outcome = Done()
            if message._exception is not None and self.broker.decides_outcomes:
                # A hook broke before it could decide. Dramatiq only logs that; acknowledging now would lose the message.
                logger.error("message.hook_failed", extra=_log_fields(message))
                outcome = Retry(HOOK_FAILED_DELAY_MS, "hook_failed")
        self._settle(message, outcome)
        self._write(message, self.broker.do_ack)

    def nack(self, message: MessageProxy) -> None:
        """Write the outcome of a refused message: a dead letter, or a wait when its actor is not known here yet."""
        if not isinstance(message, CarriedMessage):
            return
        self._settle(message, message.outcome or self._refused(message))
        self._write(message, self.broker.do_nack)

    def _settle(self, message: CarriedMessage, outcome: Outcome) -> None:
        body = self.broker.encode(message._message)
        self.machinery.in_flight.settle(message.lease, Settlement(outcome, body))

    def _write(self, message: CarriedMessage, write: Callable[[str, str], Any]) -> None:
        # Dramatiq calls again after a lost connection: the place is given up once, the lease is kept until it is written.
        try:
            write(self.queue_name, message.lease.id)
        finally:
            self._taken.discard(message.lease.id)

    def _refused(self, message: CarriedMessage) -> Outcome:
        error = message._exception
        if isinstance(error, ActorNotFound):
            return self._unknown_actor(message)
        reason = error.code if isinstance(error, Described) else "rejected"
        return Dead(reason, {"code": reason, "class": type(error).__name__ if error else None})

    def _unknown_actor(self, message: CarriedMessage) -> Outcome:
        """In a rolling deploy producers are newer than workers: park for a time, then give up."""
        waits = int(message.options.get("unknown_actor_waits", 0))
        if message.message_timestamp + self.broker.options.unknown_actor_grace_ms <= self.broker.clock.now_ms():
            return Dead("unknown_actor", {"code": "unknown_actor", "attempts": waits})
        message.options["unknown_actor_waits"] = waits + 1
        logger.warning("message.actor_unknown", extra=_log_fields(message))
        return PutBack(backoff.delay_ms(waits + 1, draw=0.9, base_ms=1_000, cap_ms=30_000), "unknown_actor")

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back messages that never started, in their order, to the head of the queue."""
        self._give_back([message.lease for message in messages if isinstance(message, CarriedMessage)])

    def _give_back(self, leases: list[Lease]) -> None:
        if leases:
            self.broker.transitions.release(self.queue_name, leases, started=False)
            for lease in leases:
                self._taken.discard(lease.id)
                self.machinery.in_flight.drop(lease)

    def close(self) -> None:
        """Give back what was fetched and not yet handed on."""
        leases = [fetched.lease for fetched in self._batch]
        self._batch.clear()
        try:
            self._give_back(leases)
        except PipelineError as error:
            # Their leases run out by themselves.
            logger.warning("queue.release_failed", extra={"queue": self.queue_name, "code": error.code})


def _log_fields(message: CarriedMessage) -> dict[str, Any]:
    return {"job_id": message.message_id, "actor": message.actor_name, "queue": message.lease.queue_name}
