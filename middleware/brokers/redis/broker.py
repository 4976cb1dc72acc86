"""The Redis carrier as a Dramatiq broker.

A ``RedisBroker`` by type, so that tools recognise it and a stock producer may share its keys, but none of its machinery: no
polling, no per-process heartbeat, no client clock, no ``KEYS``. ``actors.wiring`` builds it with our middleware; bare, it
passes Dramatiq's own tests.
"""

import logging
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any
from uuid import uuid4

import dramatiq
import redis
from dramatiq import Message, Middleware
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.encoder import Encoder, JSONEncoder
from dramatiq.errors import BrokerConnectionError, DecodeError, QueueJoinTimeout
from dramatiq.middleware import Retries as StockRetries

from middleware.brokers.redis import connections
from middleware.brokers.redis.consumer import CarriedMessage, CarrierConsumer
from middleware.brokers.redis.machinery import CarrierOptions, Machinery
from middleware.brokers.redis.transitions import Fetch, Lease, Transitions
from middleware.brokers.redis.wire import message_of
from middleware.clock import Clock, SystemClock
from middleware.errors import PipelineError
from middleware.outcomes import Dead, Outcome, PutBack, Retry

logger = logging.getLogger(__name__)


class CarrierBroker(RedisBroker):
    """Carries messages with leases, lanes, delays and dead letters kept by Redis. Safe to share between threads.

    Give ``url`` or ``connect``. Nothing is connected before the first command, and neither ``connect`` nor ``options`` is
    called before that, so a broker can exist in a process that has no Redis and no settings.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        connect: Callable[[], dict[str, Any]] | None = None,
        middleware: list[Middleware] | None = None,
        options: Callable[[], CarrierOptions] | None = None,
        namespace: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        # Deliberately not RedisBroker.__init__: it builds a client and registers the stock scripts at once.
        Broker.__init__(self, middleware=middleware)
        self.broker_id = str(uuid4())
        self.queues: set[str] = set()
        self.clock = clock or SystemClock()
        # Ours belongs to this broker; a bare one follows Dramatiq's global encoder, as its tests expect.
        self.encoder: Encoder | None = None if options is None else JSONEncoder()
        # Stock's dice are gone: care is the keeper's, on a clock. Set, a size is counted after a full round of care.
        self.maintenance_chance = 0
        #: Stock's name for the age limit of dead letters, in milliseconds; None = the options'.
        self.dead_message_ttl: int | None = None
        self._make_options = options or (lambda: CarrierOptions(namespace=namespace or "dramatiq"))
        self._connect = connect or (lambda: connections.kwargs_of(url or ""))
        self.add_middleware(_Lifecycle())

    @cached_property
    def options(self) -> CarrierOptions:
        """What was set; read when first needed."""
        return self._make_options()

    @cached_property
    def machinery(self) -> Machinery:
        """Clients, scripts and threads of this process."""
        return Machinery(
            self.options,
            connect=self._connect,
            clock=self.clock,
            owner=self.broker_id,
            queue_names=self.get_declared_queues,
        )

    @property
    def namespace(self) -> str:
        """Prefix of every key; stock's name."""
        return self.options.namespace

    @property
    def client(self) -> "redis.Redis":
        """Client for commands; made at first use, and only then are settings needed."""
        return self.machinery.client

    @client.setter
    def client(self, client: "redis.Redis") -> None:
        raise AttributeError("give CarrierBroker a url or connect=; its client is made when first needed")

    @property
    def transitions(self) -> Transitions:
        """Every state change of the queues."""
        return self.machinery.transitions

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
        self.machinery.keeper.start()
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
        if delay_ms == 0:
            self.machinery.ring(queue_name)
        return None

    def do_fetch(self, queue_name: str, limit: int) -> Fetch:
        """Take up to ``limit`` messages that may run now."""
        return self.transitions.fetch(queue_name, limit=limit, lease_ms=self.options.lease_ms, owner=self.broker_id)

    def do_ack(self, queue_name: str, id_: str) -> bool:
        """Write what was decided for a message in hand; False when there is nothing to write or it was stale.

        Repeatable: after a lost connection Dramatiq calls it again.
        """
        found = self.machinery.in_flight.settlement(id_)
        if found is None:
            return False
        lease, settlement = found
        try:
            applied = self.transitions.finish(lease, settlement.outcome, body=settlement.body)
        except BrokerConnectionError:
            # Dramatiq calls again; until then the lease is renewed, so nobody else runs it.
            raise
        except PipelineError:
            # It will not call again: let the lease run out, the message comes back and is counted.
            self.machinery.in_flight.drop(lease)
            raise
        self.machinery.in_flight.drop(lease)
        self._after_finish(lease, settlement.outcome, applied=applied)
        return applied

    def do_nack(self, queue_name: str, id_: str) -> bool:
        """Write what was decided for a refused message in hand: see :meth:`do_ack`."""
        return self.do_ack(queue_name, id_)

    def _after_finish(self, lease: Lease, outcome: Outcome, *, applied: bool) -> None:
        if not applied:
            logger.warning("message.finish_was_stale", extra={"redis_message_id": lease.id, "queue": lease.queue_name})
        elif isinstance(outcome, Dead):
            self.machinery.tell_unannounced(lease.queue_name)
        elif isinstance(outcome, Retry | PutBack):
            self.machinery.waiter.due(lease.queue_name, outcome.delay_ms)

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
                dead_max_age_ms=options.dead_max_age_ms if self.dead_message_ttl is None else self.dead_message_ttl,
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
            self.clock.wait(interval / 1000, until=self.machinery.stopping)

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
            return message_of((self.encoder or dramatiq.get_encoder()).decode(body))
        except Exception as error:
            raise DecodeError("not a message", body, error) from error  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """End the threads and give back connections. Repeatable; a later command connects again."""
        machinery = self.__dict__.pop("machinery", None)
        self.__dict__.pop("options", None)
        if machinery is not None:
            machinery.close()


class _Lifecycle(Middleware):
    """Ties the carrier's threads to the life of Dramatiq's worker."""

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, CarrierBroker)  # noqa: S101 - it added us itself
        if broker.options.pinned_db is not None:
            connections.refuse_unpinned(broker.client, db=broker.options.pinned_db)
        # One message per thread, unless somebody asked for a prefetch other than Dramatiq's default.
        asked = worker.queue_prefetch != min(worker.worker_threads * 2, 65535)
        broker.machinery.in_flight.capacity = worker.queue_prefetch if asked else worker.worker_threads
        broker.machinery.sign_in(threads=worker.worker_threads, queue_names=worker.consumer_whitelist or broker.queues)
        broker.machinery.keeper.start()

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, CarrierBroker)  # noqa: S101 - it added us itself
        # Consumers outlive the draining threads: what they fetched now would lie here until the last of those is done.
        broker.machinery.in_flight.capacity = 0

    def after_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, CarrierBroker)  # noqa: S101 - it added us itself
        broker.machinery.release_all()
        broker.machinery.sign_out()
