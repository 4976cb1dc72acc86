"""Hand messages of one queue to Dramatiq's worker and take back what became of them.

Dramatiq's worker runs one consumer per queue in a thread of its own and calls ``ack``, ``nack`` and ``requeue`` from worker
threads. Here an acknowledgement means: the outcome decided for the attempt is written by one script, or an error is raised
and Dramatiq tries again; a message whose hooks failed is never taken for done.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from dramatiq import Message, MessageProxy
from dramatiq.broker import Consumer
from dramatiq.errors import ActorNotFound, DecodeError

from middleware import backoff
from middleware.brokers.redis.machinery import Machinery
from middleware.brokers.redis.transitions import Settlement
from middleware.brokers.redis.values import NOWHERE, Fetched, Lease
from middleware.errors import Described, PipelineError
from middleware.outcomes import Dead, Done, Outcome, PutBack, Retry

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker

logger = logging.getLogger(__name__)

#: Wait before a message whose hooks failed is tried again, in milliseconds: long enough not to spin.
HOOK_FAILED_DELAY_MS = 5_000


class CarriedMessage(MessageProxy):
    """A message in hand: Dramatiq's proxy, its lease, and the outcome once it is decided."""

    # What hooks of the stack may leave on it. Named here, one that is not there costs a look and not an error in the proxy.
    scope_of_carrier: Any = None
    span_of_attempt: Any = (None, None)
    run_in_sentry: Any = None

    def __init__(self, message: "Message[Any]", fetched: Fetched, *, machinery: Machinery) -> None:
        super().__init__(message)
        # The worker and each hook ask for these: found here, they need not go through the proxy.
        self.queue_name = message.queue_name
        self.actor_name = message.actor_name
        self.args = message.args
        self.kwargs = message.kwargs
        self.options = message.options
        self.message_id = message.message_id
        self.lease = fetched.lease
        self.routing = fetched.routing
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
        self._inbox: SimpleQueue[MessageProxy] = SimpleQueue()
        self._taken: set[str] = set()
        self._is_closed = False
        self._lock = threading.Lock()
        self.machinery.exchange.attach(self)
        self.machinery.waiter.listen(queue_name)
        self._has_asked = False

    # -- taking ---------------------------------------------------------------------------------------------------

    def room(self) -> int:
        """See :meth:`middleware.brokers.redis.ports.Sink.room`."""
        return max(0, self.prefetch - len(self._taken))

    def accept(self, messages: Sequence[Fetched]) -> None:
        """See :meth:`middleware.brokers.redis.ports.Sink.accept`."""
        with self._lock:
            if not self._is_closed:
                self._taken.update(one.lease.id for one in messages)
                opened = [message for one in messages if (message := self._open(one)) is not None]
                hand_on = self._shortcut()
                for message in opened:
                    if message.actor_name in self.broker.actors:
                        hand_on(message)
                    else:
                        # Dramatiq refuses it in its own thread, and so settles it.
                        self._inbox.put(message)
                return
        self.machinery.exchange.give_back(self.queue_name, messages)

    def _shortcut(self) -> Callable[[MessageProxy], None]:
        """Straight to the worker's threads where one runs us: its consumer's thread would only be woken to do the same."""
        worker = self.machinery.worker
        thread = worker.consumers.get(self.queue_name) if worker is not None else None
        if thread is None or thread.consumer is not self or thread.paused or not thread.running:
            return self._inbox.put
        return thread.handle_message

    def __next__(self) -> MessageProxy | None:
        """Next message, or None after the idle timeout; never raises for Redis, so the thread never dies."""
        if not self._has_asked:
            # What lies there already rings no bell.
            self._has_asked = True
            self.machinery.exchange.ring(self.queue_name)
        try:
            return self._inbox.get(timeout=self.timeout_s)
        except Empty:
            return None

    def _open(self, fetched: Fetched) -> MessageProxy | None:
        try:
            message = self.broker.message_of(fetched, queue_name=self.queue_name)
        except DecodeError:
            # Its bytes go to the dead letters as they are; the rest of the batch is not touched.
            outcome = Dead("undecodable", {"code": "undecodable"})
            self._taken.discard(fetched.lease.id)
            self.machinery.exchange.post(Settlement(fetched.lease, outcome, fetched.body))
            return None
        return CarriedMessage(message, fetched, machinery=self.machinery)

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
        self._write(message, outcome, self.broker.do_ack)

    def nack(self, message: MessageProxy) -> None:
        """Write the outcome of a refused message: a dead letter, or a wait when its actor is not known here yet."""
        if not isinstance(message, CarriedMessage):
            return
        self._write(message, message.outcome or self._refused(message), self.broker.do_nack)

    def _write(self, message: CarriedMessage, outcome: Outcome, write: Callable[[str, str], Any]) -> None:
        lease = message.lease
        body = b"" if isinstance(outcome, Done) else self.broker.encode(message._message)
        settlement = Settlement(lease, outcome, body, message.routing is NOWHERE)
        self.machinery.in_flight.settle(lease, settlement)
        try:
            write(self.queue_name, lease.id)
        finally:
            # Dramatiq calls again after a lost connection: the place is given up once, the lease is kept until it is written.
            self._taken.discard(lease.id)

    def _refused(self, message: CarriedMessage) -> Outcome:
        error = message._exception
        if isinstance(error, ActorNotFound):
            return self._unknown_actor(message)
        reason = error.code if isinstance(error, Described) else "rejected"
        return Dead(reason, {"code": reason, "class": type(error).__name__ if error else None})

    def _unknown_actor(self, message: CarriedMessage) -> Outcome:
        """In a rolling deploy producers are newer than workers: park for a time, then give up."""
        waits, waited_ms = message.options.get("unknown_actor_waits") or (0, 0)
        # Not by anybody's clock: the sender's and this worker's may differ by more than the time.
        if waited_ms >= self.broker.options.unknown_actor_grace_ms:
            return Dead("unknown_actor", {"code": "unknown_actor", "attempts": waits})
        delay_ms = backoff.delay_ms(waits + 1, draw=0.9, base_ms=1_000, cap_ms=30_000)
        message.options["unknown_actor_waits"] = (waits + 1, waited_ms + delay_ms)
        logger.warning("message.actor_unknown", extra=_log_fields(message))
        return PutBack(delay_ms, "unknown_actor")

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back messages that never started, in their order, to the head of the queue."""
        self._give_back([message.lease for message in messages if isinstance(message, CarriedMessage)])

    def _give_back(self, leases: list[Lease]) -> None:
        if leases:
            self.broker.transitions.release(self.queue_name, leases, started=False)
            self._taken.difference_update(lease.id for lease in leases)
            self.machinery.in_flight.drop(leases)

    def close(self) -> None:
        """Give back what was fetched and not yet handed on."""
        with self._lock:
            self._is_closed = True
        self.machinery.exchange.detach(self)
        leases: list[Lease] = []
        while not self._inbox.empty():
            message = self._inbox.get_nowait()
            if isinstance(message, CarriedMessage):
                leases.append(message.lease)
        try:
            self._give_back(leases)
        except PipelineError as error:
            # Their leases run out by themselves.
            logger.warning("queue.release_failed", extra={"queue": self.queue_name, "code": error.code})


def _log_fields(message: CarriedMessage) -> dict[str, Any]:
    return {"job_id": message.message_id, "actor": message.actor_name, "queue": message.lease.queue_name}
