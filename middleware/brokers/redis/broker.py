"""The Redis carrier as a Dramatiq broker.

A ``RedisBroker`` by type, so that tools recognise it and a stock producer may share its keys, but none of its machinery: no
polling, no per-process heartbeat, no client clock, no ``KEYS``. ``actors.wiring`` builds it with our middleware; bare, it
passes Dramatiq's own tests.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dramatiq
import redis
from dramatiq import Message, Middleware
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.encoder import Encoder, JSONEncoder
from dramatiq.errors import DecodeError, QueueJoinTimeout
from dramatiq.middleware import Retries as StockRetries

from middleware.brokers.redis import connections
from middleware.brokers.redis.consumer import CarriedMessage, CarrierConsumer
from middleware.brokers.redis.inflight import InFlight
from middleware.brokers.redis.keeper import CarePolicy, Keeper
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Fetch, Lease, Tended, Transitions
from middleware.brokers.redis.waiter import Waiter
from middleware.clock import Clock, SystemClock
from middleware.errors import PipelineError
from middleware.outcomes import Dead, Outcome, PutBack, Retry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierOptions:
    """What may be set; times in milliseconds."""

    namespace: str = "dramatiq"
    #: Suffix of the dead letters' keys; stock's, unless our own commands look after them (``Keys``).
    dead_suffix: str = ".XQ"
    #: Database that the live connection must be on; None = not checked (bare class).
    pinned_db: int | None = None
    lease_ms: int = 15_000
    #: Starts without an outcome after which a message is a dead letter ``crash_loop``.
    max_deliveries: int = 5
    #: How long after its enqueue a message may wait for a worker that knows its actor; 0 = not at all.
    unknown_actor_grace_ms: int = 0
    #: How long a repeated enqueue or finish is recognised.
    remember_ms: int = 120_000
    dead_max_age_ms: int = 90 * 24 * 60 * 60 * 1000
    dead_max: int = 100_000


class CarrierBroker(RedisBroker):
    """Carries messages with leases, lanes, delays and dead letters kept by Redis. Safe to share between threads.

    Give ``url`` or ``connect``. Nothing is connected before the first command, and ``connect`` is not called before that,
    so a broker can exist in a process that has no Redis.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        connect: Callable[[], dict[str, Any]] | None = None,
        middleware: list[Middleware] | None = None,
        options: CarrierOptions | None = None,
        namespace: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        # Deliberately not RedisBroker.__init__: it builds a client and registers the stock scripts at once.
        Broker.__init__(self, middleware=middleware)
        self.options = options or CarrierOptions(namespace=namespace or "dramatiq")
        self.namespace = self.options.namespace
        self.keys = Keys(self.namespace, self.options.dead_suffix)
        self.broker_id = str(uuid4())
        self.dead_message_ttl = self.options.dead_max_age_ms
        # Stock's dice are gone: care is the keeper's, on a clock. Set, a size is counted after a full round of care.
        self.maintenance_chance = 0
        self.queues: set[str] = set()
        self.clock = clock or SystemClock()
        self.encoder: Encoder | None = None if options is None else JSONEncoder()
        self.stopping = threading.Event()
        self.on_unannounced: list[Callable[[str], None]] = []
        self._connect = connect or (lambda: connections.kwargs_of(url or ""))
        self._lock = threading.RLock()
        self._transitions: Transitions | None = None
        self._waiter: Waiter | None = None
        self._keeper: Keeper | None = None
        self._client: redis.Redis | None = None
        self.in_flight = InFlight(self.clock, lease_ms=self.options.lease_ms)
        self.add_middleware(_Lifecycle())

    # -- parts, made when first needed ----------------------------------------------------------------------------

    @property
    def client(self) -> "redis.Redis":
        """Client for commands; made at first use.

        Raises:
            whatever ``connect`` raises: settings that are missing or wrong.
        """
        with self._lock:
            if self._client is None:
                self._client = connections.make_client(self._connect(), role="queue")
            return self._client

    @client.setter
    def client(self, client: "redis.Redis") -> None:
        self._client = client

    @property
    def transitions(self) -> Transitions:
        """The scripts of this broker's keys."""
        with self._lock:
            if self._transitions is None:
                scripts = Scripts(self.client, self.keys)
                self._transitions = Transitions(scripts, remember_ms=self.options.remember_ms)
            return self._transitions

    @property
    def waiter(self) -> Waiter:
        """The blocking wait of this process."""
        with self._lock:
            if self._waiter is None:
                self._waiter = Waiter(
                    lambda: connections.make_blocking_client(self._connect()),
                    self.keys,
                    broker_id=self.broker_id,
                    clock=self.clock,
                )
            return self._waiter

    @property
    def keeper(self) -> Keeper:
        """The care thread of this process, not started by asking for it."""
        with self._lock:
            if self._keeper is None:
                policy = CarePolicy(
                    self.options.lease_ms,
                    self.options.max_deliveries,
                    self.options.dead_max_age_ms,
                    self.options.dead_max,
                )
                self._keeper = Keeper(
                    self.transitions,
                    self.in_flight,
                    policy=policy,
                    clock=self.clock,
                    queue_names=self.get_declared_queues,
                    on_tended=self._tended,
                )
            return self._keeper

    def _tended(self, tended: Tended) -> None:
        self.waiter.due(tended.queue_name, tended.next_due_in_ms)
        if tended.unannounced:
            self.tell_unannounced(tended.queue_name)

    def tell_unannounced(self, queue_name: str) -> None:
        """Tell who announces dead letters that there are some."""
        for listener in self.on_unannounced:
            listener(queue_name)

    @property
    def decides_outcomes(self) -> bool:
        """Whether some middleware decides what a failure means; without one a failed message counts as done, as in stock."""
        return any(isinstance(one, StockRetries) or getattr(one, "decides_outcomes", False) for one in self.middleware)

    # -- Dramatiq's broker ----------------------------------------------------------------------------------------

    @property
    def consumer_class(self) -> type[CarrierConsumer]:
        """Stock's extension point."""
        return CarrierConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> CarrierConsumer:
        """Consumer of a queue; ``timeout`` in milliseconds is how often it looks whether it shall stop."""
        self.keeper.start()
        return self.consumer_class(self, queue_name, prefetch, timeout)

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue; no delay queue comes with it, so Dramatiq starts no second consumer."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def get_declared_delay_queues(self) -> set[str]:
        """None: delays are kept and promoted by Redis."""
        return set()

    def enqueue(self, message: "Message[Any]", *, delay: int | None = None) -> "Message[Any]":
        """Enqueue a message; ``delay`` in milliseconds, without an upper bound.

        Options read: ``lane``, ``group``, ``unique_key``, and ``enqueue_id`` to make a repeated enqueue harmless. With a
        unique key that a live message has, that message is returned and nothing is enqueued.

        Raises:
            QueueUnavailable, QueueFull, QueueRefused: nothing is known to be enqueued; see ``middleware.errors``.
        """
        if isinstance(message, CarriedMessage):
            return self._again(message, delay_ms=delay or 0)
        id_ = str(message.options.get("enqueue_id") or uuid4())
        message = message.copy(options={"redis_message_id": id_})
        self.emit_before("enqueue", message, delay)
        stored = self.do_enqueue(message.queue_name, id_, self.encode(message), delay or 0, message.options)
        if stored is not None:
            return stored
        self.emit_after("enqueue", message, delay)
        return message

    def _again(self, message: CarriedMessage, *, delay_ms: int) -> "Message[Any]":
        # Stock Retries enqueues a copy and lets the original be acknowledged: two steps, between which a crash doubles it
        # and an outage loses it. Here the wish becomes the outcome, which one script applies.
        self.emit_before("enqueue", message, delay_ms)
        message.outcome = Retry(delay_ms, "retry")
        self.emit_after("enqueue", message, delay_ms)
        return message  # type: ignore[return-value]  # Dramatiq treats its proxy as a message

    def send_many(self, messages: Iterable["Message[Any]"]) -> list["Message[Any]"]:
        """Enqueue several messages in order; the hooks run for each."""
        return [self.enqueue(message) for message in messages]

    # -- the steps, one script each -------------------------------------------------------------------------------

    def do_enqueue(
        self, queue_name: str, id_: str, body: bytes, delay_ms: int = 0, options: dict[str, Any] | None = None
    ) -> "Message[Any] | None":
        """Enqueue encoded bytes; returns the live message when the unique key was taken."""
        enqueued = self.transitions.enqueue(queue_name, id_, body, delay_ms=delay_ms, options=options)
        if enqueued.state == "duplicate" and enqueued.body is not None:
            return self.decode(enqueued.body)
        return None

    def do_fetch(self, queue_name: str, limit: int) -> Fetch:
        """Take up to ``limit`` messages that may run now."""
        return self.transitions.fetch(queue_name, limit=limit, lease_ms=self.options.lease_ms, owner=self.broker_id)

    def do_ack(self, queue_name: str, id_: str) -> bool:
        """Write what was decided for a message in hand; False when there is nothing to write or it was stale.

        Repeatable: after a lost connection Dramatiq calls it again.
        """
        found = self.in_flight.settlement(id_)
        if found is None:
            return False
        lease, settlement = found
        applied = self.transitions.finish(lease, settlement.outcome, body=settlement.body)
        self.in_flight.drop(lease)
        self._after_finish(lease, settlement.outcome, applied=applied)
        return applied

    def do_nack(self, queue_name: str, id_: str) -> bool:
        """Write what was decided for a refused message in hand: see :meth:`do_ack`."""
        return self.do_ack(queue_name, id_)

    def _after_finish(self, lease: Lease, outcome: Outcome, *, applied: bool) -> None:
        if not applied:
            logger.warning("message.finish_was_stale", extra={"redis_message_id": lease.id, "queue": lease.queue_name})
        elif isinstance(outcome, Dead):
            self.tell_unannounced(lease.queue_name)
        elif isinstance(outcome, Retry | PutBack):
            self.waiter.due(lease.queue_name, outcome.delay_ms)

    def do_qsize(self, queue_name: str) -> int:
        """Messages that are not finished: ready, delayed, waiting and in flight."""
        if self.maintenance_chance:
            self._tend_all(queue_name)
        stats = self.transitions.stats([queue_name])[0]
        return stats.ready + stats.delayed + stats.in_flight + stats.waiting_in_lane

    def _tend_all(self, queue_name: str) -> None:
        options = self.options
        while any(
            tended.dropped
            for tended in self.transitions.tend(
                [queue_name],
                max_deliveries=options.max_deliveries,
                dead_max_age_ms=self.dead_message_ttl,
                dead_max=options.dead_max,
            )
        ):
            pass

    def flush(self, queue_name: str) -> None:
        """Drop all live messages of a queue; dead letters stay."""
        self.transitions.purge(queue_name)

    def flush_all(self) -> None:
        """Drop all live messages of all declared queues."""
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, interval: int = 100, timeout: int | None = None) -> None:
        """Wait until a queue has no unfinished message; for tests. Times in milliseconds.

        Raises:
            QueueJoinTimeout: messages are left after ``timeout``.
        """
        deadline_ms = None if timeout is None else self.clock.boot_ms() + timeout
        while self.do_qsize(queue_name):
            if deadline_ms is not None and self.clock.boot_ms() >= deadline_ms:
                raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]
            self.clock.wait(interval / 1000, until=self.stopping)

    # -- bytes ----------------------------------------------------------------------------------------------------

    def encode(self, message: "Message[Any]") -> bytes:
        """Bytes of a message; the encoder belongs to the broker, a bare one uses Dramatiq's global encoder."""
        return (self.encoder or dramatiq.get_encoder()).encode(message.asdict())

    def decode(self, body: bytes) -> "Message[Any]":
        """Message of bytes.

        Raises:
            DecodeError: they are not one.
        """
        try:
            fields = (self.encoder or dramatiq.get_encoder()).decode(body)
            return Message(**{**fields, "args": tuple(fields["args"])})
        except Exception as error:
            raise DecodeError("not a message", body, error) from error  # type: ignore[no-untyped-call]

    # -- worker life ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the threads and give back connections. Repeatable; a later command connects again."""
        self.stopping.set()
        with self._lock:
            waiter, keeper, client = self._waiter, self._keeper, self._client
            self._waiter = self._keeper = self._client = self._transitions = None
        if keeper is not None:
            keeper.stop()
        if waiter is not None:
            waiter.stop()
        if client is not None:
            client.close()
        self.stopping.clear()

    def release_all(self) -> int:
        """Give back every lease in hand: the last act of a worker whose time to drain is over. Fenced and counted."""
        released = 0
        for queue_name, leases in self.in_flight.leases().items():
            try:
                released += self.transitions.release(queue_name, leases, started=True)
            except PipelineError as error:
                logger.warning("queue.release_failed", extra={"queue": queue_name, "code": error.code})
            for lease in leases:
                self.in_flight.drop(lease)
        return released


class _Lifecycle(Middleware):
    """Ties the carrier's threads to the life of Dramatiq's worker."""

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, CarrierBroker)  # noqa: S101 - it added us itself
        if broker.options.pinned_db is not None:
            connections.assert_pinned(broker.client, db=broker.options.pinned_db)
        broker.in_flight.capacity = worker.worker_threads
        broker.keeper.start()

    def after_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, CarrierBroker)  # noqa: S101 - it added us itself
        # Threads that did not end in time still run: whoever takes their message next has a newer token.
        released = broker.release_all()
        if released:
            logger.warning("worker.released_running", extra={"released": released})
        broker.in_flight.capacity = None
