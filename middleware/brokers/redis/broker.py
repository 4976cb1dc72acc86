"""The Redis carrier as a Dramatiq broker.

A ``RedisBroker`` by type, so that tools recognise it and a stock producer may share its keys, but none of its machinery: no
polling, no per-process heartbeat, no client clock, no ``KEYS``. ``actors.wiring`` builds it with our middleware; bare, it
passes Dramatiq's own tests.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any
from uuid import uuid4

import dramatiq
import redis
from dramatiq import Message, Middleware
from dramatiq.broker import Broker
from dramatiq.encoder import Encoder
from dramatiq.errors import DecodeError, QueueJoinTimeout
from dramatiq.middleware import Retries as StockRetries

from middleware.brokers.redis import connections
from middleware.brokers.redis.consumer import CarriedMessage, CarrierConsumer
from middleware.brokers.redis.hooks import HookedBroker, Hooks
from middleware.brokers.redis.lifecycle import Lifecycle
from middleware.brokers.redis.machinery import CarrierOptions, Machinery
from middleware.brokers.redis.rounds import Ticket
from middleware.brokers.redis.transitions import Transitions
from middleware.brokers.redis.values import NOWHERE, Enqueued, Fetch, Fetched, NewMessage, Routing, Tended
from middleware.brokers.redis.wire import WireEncoder, fields_of, message_of, new_id, with_id
from middleware.clock import Clock, SystemClock
from middleware.outcomes import Retry


class CarrierBroker(HookedBroker):
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
        # Broker.__init__ adds middleware, and so emits.
        self.hooks = Hooks()
        # Deliberately not RedisBroker.__init__: it builds a client and registers the stock scripts at once.
        Broker.__init__(self, middleware=middleware)
        self.broker_id = str(uuid4())
        self.queues: set[str] = set()
        self.clock = clock or SystemClock()
        # Ours belongs to this broker; a bare one follows Dramatiq's global encoder, as its tests expect.
        self.encoder: Encoder | None = None if options is None else WireEncoder()
        # Stock's dice are gone: care is the keeper's, on a clock. Set, a size is counted after a full round of care.
        self.maintenance_chance = 0
        #: Stock's name for the age limit of dead letters, in milliseconds; None = the options'.
        self.dead_message_ttl: int | None = None
        self._make_options = options or (lambda: CarrierOptions(namespace=namespace or "dramatiq"))
        self._connect = connect or (lambda: connections.kwargs_of(url or ""))
        self.add_middleware(Lifecycle(lambda: self.machinery))

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

        Options read: ``lane``, ``group``, ``dead_holds_lane``; ``unique_key``, ``unique_for`` (ms, also when it is over),
        ``unique_until`` (``start`` or ``finish``); ``tick``; and ``enqueue_id`` to make a repeated enqueue harmless. With a
        unique key that is taken the message that has it is returned and nothing is enqueued.

        Raises:
            QueueUnavailable, QueueFull, QueueRefused: nothing is known to be enqueued; see ``middleware.errors``.
        """
        if isinstance(message, CarriedMessage):
            return self._again(message, delay_ms=delay or 0)
        return self.put(message, delay=delay)[0]

    def put(self, message: "Message[Any]", *, delay: int | None = None) -> "tuple[Message[Any], Enqueued]":
        """The same, and what became of it."""
        message = self._with_id(message)
        self.emit_before("enqueue", message, delay)
        new = self._new(message, delay_ms=delay or 0)
        enqueued = self.transitions.enqueue_many(message.queue_name, [new])[0]
        return self._after_enqueue(message, delay, enqueued), enqueued

    def _with_id(self, message: "Message[Any]") -> "Message[Any]":
        return with_id(message, str(message.options.get("enqueue_id") or new_id()))

    def _new(self, message: "Message[Any]", *, delay_ms: int) -> NewMessage:
        options = message.options
        tick = options.get("tick")
        return NewMessage(
            id=options["redis_message_id"],
            body=self.encode(message),
            delay_ms=max(0, delay_ms),
            routing=Routing.of(options["redis_message_id"], options),
            unique_for_ms=int(options.get("unique_for") or 0),
            tick="" if tick is None else f"{message.actor_name}@{tick}",
        )

    def _after_enqueue(self, message: "Message[Any]", delay: int | None, enqueued: Enqueued) -> "Message[Any]":
        if enqueued.state == "duplicate":
            id_ = {"redis_message_id": enqueued.id}
            return (self.decode(enqueued.body) if enqueued.body else message).copy(options=id_)
        self.emit_after("enqueue", message, delay)
        return message

    def _again(self, message: CarriedMessage, *, delay_ms: int) -> "Message[Any]":
        # Stock Retries enqueues a copy and lets the original be acknowledged: two steps, between which a crash doubles it
        # and an outage loses it. Here the wish becomes the outcome, which one script applies.
        self.emit_before("enqueue", message, delay_ms)
        message.outcome = Retry(delay_ms, "retry")
        self.emit_after("enqueue", message, delay_ms)
        return message  # type: ignore[return-value]  # Dramatiq treats its proxy as a message

    def send_many(self, messages: Iterable["Message[Any]"], *, delay: int | None = None) -> list["Message[Any]"]:
        """Enqueue messages, those of a queue in their order, many per round trip; the hooks run for each.

        ``delay`` in milliseconds, for all of them.

        Raises:
            QueueUnavailable, QueueFull, QueueRefused: some may be enqueued. Messages with an ``enqueue_id`` or a unique key may
                be sent again without harm.
        """
        prepared = [self._with_id(message) for message in messages]
        for message in prepared:
            self.emit_before("enqueue", message, delay)
        by_queue: dict[str, list[int]] = {}
        for place, message in enumerate(prepared):
            by_queue.setdefault(message.queue_name, []).append(place)
        for queue_name, places in by_queue.items():
            new = [self._new(prepared[place], delay_ms=delay or 0) for place in places]
            for place, enqueued in zip(places, self.transitions.enqueue_many(queue_name, new), strict=True):
                prepared[place] = self._after_enqueue(prepared[place], delay, enqueued)
        return prepared

    def do_enqueue(
        self, queue_name: str, id_: str, body: bytes, delay_ms: int = 0, options: dict[str, Any] | None = None
    ) -> Enqueued:
        """Enqueue encoded bytes."""
        return self.transitions.enqueue(queue_name, id_, body, delay_ms=delay_ms, options=options)

    def do_fetch(self, queue_name: str, limit: int) -> Fetch:
        """Take up to ``limit`` messages that may run now."""
        return self.transitions.fetch(queue_name, limit=limit, lease_ms=self.options.lease_ms, owner=self.broker_id)

    def do_ack(self, queue_name: str, id_: str) -> bool:
        """Write what was decided for a message in hand; False when there is nothing to write or it was stale.

        Under a worker it is handed over to be written, and tried until it is; elsewhere the caller waits, and may call again
        after a lost connection.
        """
        machinery, worker = self.machinery, self.machinery.worker
        settlement = machinery.in_flight.settlement(id_, hands_over=worker is not None)
        if settlement is None:
            return False
        if worker is not None:
            machinery.exchange.post(settlement, is_idle=worker.work_queue.empty())
            return True
        applied = machinery.exchange.settle(settlement)
        machinery.written(Ticket(settlement, applied=applied))
        return applied

    def do_nack(self, queue_name: str, id_: str) -> bool:
        """Write what was decided for a refused message in hand: see :meth:`do_ack`."""
        return self.do_ack(queue_name, id_)

    def do_qsize(self, queue_name: str) -> int:
        """Messages that are not finished: ready, delayed, waiting and in flight."""
        if self.maintenance_chance:
            while any(tended.dropped for tended in self._tend(queue_name)):
                pass
        return self.transitions.stats([queue_name])[0].unfinished

    def _tend(self, queue_name: str) -> list[Tended]:
        ttl_ms, kept = self.dead_message_ttl, self.options.memory
        kept = kept if ttl_ms is None else replace(kept, dead_max_age_ms=ttl_ms)
        careful = Transitions(self.transitions.scripts, memory=kept)
        return careful.tend([queue_name], max_deliveries=self.options.max_deliveries)

    def flush(self, queue_name: str) -> None:
        """Drop all live messages of a queue; dead letters stay."""
        self.transitions.purge(queue_name)

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

    def encode(self, message: "Message[Any]") -> bytes:
        """Bytes of a message; the encoder belongs to the broker, a bare one uses Dramatiq's global encoder."""
        return (self.encoder or dramatiq.get_encoder()).encode(fields_of(message))

    def decode(self, body: bytes) -> "Message[Any]":
        """Message of bytes.

        Raises:
            DecodeError: they are not one.
        """
        try:
            return message_of((self.encoder or dramatiq.get_encoder()).decode(body))
        except Exception as error:
            raise DecodeError("not a message", body, error) from error  # type: ignore[no-untyped-call]

    def message_of(self, fetched: Fetched, *, queue_name: str) -> "Message[Any]":
        """Message that was handed out, with what Redis keeps beside its bytes.

        Raises:
            DecodeError: they are not one.
        """
        message = self.decode(fetched.body)
        options = message.options
        options["redis_message_id"] = fetched.lease.id
        if fetched.routing is not NOWHERE:
            options.update(fetched.routing.options())
        # eta is a fact of the queue here; Dramatiq's worker would wait for it a second time.
        options.pop("eta", None)
        # A stock producer's delayed message names its delay queue.
        return message if message.queue_name == queue_name else message.copy(queue_name=queue_name)

    def close(self) -> None:
        """End the threads and give back connections. Repeatable; a later command connects again."""
        machinery = self.__dict__.pop("machinery", None)
        self.__dict__.pop("options", None)
        if machinery is not None:
            machinery.close()
