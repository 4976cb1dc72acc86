"""The parts behind one broker in one process: clients, scripts, the waiting thread, the care thread, what is in hand.

``broker`` builds one and asks it for parts; each is made when first needed, so that a broker can exist without a Redis.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import dramatiq
import redis

from middleware.brokers.redis import connections
from middleware.brokers.redis.exchange import Exchange
from middleware.brokers.redis.inflight import InFlight
from middleware.brokers.redis.keeper import CarePolicy, Keeper
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.roster import ALIVE_MS, Roster, ServingWorker, SignOfLife
from middleware.brokers.redis.rounds import Rounds, Ticket
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.standing import StandingFetch, longest_wait_s
from middleware.brokers.redis.transitions import Memory, Transitions
from middleware.brokers.redis.values import Tended
from middleware.brokers.redis.waiter import Waiter
from middleware.clock import Clock
from middleware.errors import PipelineError
from middleware.outcomes import Dead, PutBack, Retry
from middleware.rss import rss_bytes

logger = logging.getLogger(__name__)


#: Longest wait for outcomes under way when a worker ends, in seconds.
FLUSH_S = 5.0


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
    #: Queues whose messages may take long; together they hold this share of the threads at most, and one at least.
    slow_queues: frozenset[str] = frozenset()
    slow_share: float = 0.25
    #: How long what is kept.
    memory: Memory = field(default_factory=Memory)


class Machinery:
    """Parts of one broker. Safe to share between threads.

    ``on_unannounced`` listeners are told the name of a queue with dead letters that nobody has been told of.
    """

    def __init__(
        self,
        options: CarrierOptions,
        *,
        connect: Callable[[], dict[str, Any]],
        clock: Clock,
        owner: str,
        queue_names: Callable[[], set[str]],
    ) -> None:
        self.options = options
        self.keys = Keys(options.namespace, options.dead_suffix)
        self.clock = clock
        self.owner = owner
        self.in_flight = InFlight(clock, lease_ms=options.lease_ms)
        self.stopping = threading.Event()
        self.on_unannounced: list[Callable[[str], None]] = []
        #: Dramatiq's worker, while one serves this broker.
        self.worker: dramatiq.Worker | None = None
        self._serving: ServingWorker | None = None
        self._connect = connect
        self.queue_names = queue_names
        self._lock = threading.RLock()
        self._client: redis.Redis | None = None
        self._transitions: Transitions | None = None
        self._exchange: Exchange | None = None
        self._waiter: Waiter | None = None
        self._keeper: Keeper | None = None

    @property
    def client(self) -> "redis.Redis":
        """Client for commands.

        Raises:
            whatever ``connect`` raises: settings that are missing or wrong.
        """
        with self._lock:
            if self._client is None:
                self._client = connections.make_client(self._connect(), role="queue")
            return self._client

    # The next three are asked for with every message: a look without the lock first.

    @property
    def transitions(self) -> Transitions:
        """The scripts over this broker's keys."""
        if (found := self._transitions) is not None:
            return found
        with self._lock:
            if self._transitions is None:
                scripts = Scripts(self.client, self.keys)
                self._transitions = Transitions(scripts, memory=self.options.memory)
            return self._transitions

    @property
    def exchange(self) -> Exchange:
        """The door through which this process fetches and finishes."""
        if (found := self._exchange) is not None:
            return found
        with self._lock:
            if self._exchange is None:
                rounds = Rounds(self.transitions, self.in_flight, clock=self.clock, owner=self.owner)
                self._exchange = Exchange(rounds, alarm=lambda: self.waiter, on_written=self.written)
            return self._exchange

    @property
    def waiter(self) -> Waiter:
        """The blocking wait of this process; its thread starts with the first consumer."""
        if (found := self._waiter) is not None:
            return found
        with self._lock:
            if self._waiter is None:
                self._waiter = Waiter(
                    lambda: connections.make_blocking_client(self._connect()),
                    self.keys,
                    door=self.exchange,
                    places=self.in_flight,
                    standing=StandingFetch(self.exchange),
                    broker_id=self.owner,
                    clock=self.clock,
                    block_s=longest_wait_s(self.options.lease_ms),
                )
            return self._waiter

    @property
    def keeper(self) -> Keeper:
        """The care thread of this process, not started by asking for it."""
        with self._lock:
            if self._keeper is None:
                options = self.options
                self._keeper = Keeper(
                    self.transitions,
                    self.in_flight,
                    policy=CarePolicy(options.lease_ms, options.max_deliveries),
                    clock=self.clock,
                    queue_names=self.queue_names,
                    on_tended=self._tended,
                )
                self._keeper.sign = self._sign
            return self._keeper

    @property
    def roster(self) -> Roster:
        """Which worker processes serve the queues."""
        return Roster(self.client, self.keys)

    def sign_in(self, *, threads: int, queue_names: Iterable[str]) -> None:
        """Have this process show among the workers, from the keeper's next round on."""
        self._serving = ServingWorker.of_this_process(
            threads=threads, queues=tuple(sorted(queue_names)), started_at_ms=self.clock.now_ms()
        )

    def sign_out(self) -> None:
        """Strike this process off; without Redis it leaves the roster by itself."""
        self._serving = None
        try:
            self.roster.strike(self.owner)
        except PipelineError as error:
            logger.warning("worker.sign_out_failed", extra={"code": error.code})

    def _sign(self) -> SignOfLife | None:
        serving = self._serving
        if serving is None:
            return None
        return SignOfLife(self.owner, ALIVE_MS, serving.facts(in_flight=len(self.in_flight), rss_bytes=rss_bytes()))

    def ring(self, queue_name: str) -> None:
        """Fetch from a queue that may have something, if this process serves queues."""
        exchange = self._exchange
        if exchange is not None:
            exchange.ring(queue_name)

    def written(self, ticket: Ticket) -> None:
        """Say and do what follows from an outcome that was written, was stale, or could not be written."""
        lease, outcome = ticket.settlement.lease, ticket.settlement.outcome
        fields = {"redis_message_id": lease.id, "queue": lease.queue_name}
        if ticket.error is not None:
            logger.error("message.finish_failed", extra={**fields, "code": ticket.error.code})
        elif not ticket.applied:
            logger.warning("message.finish_was_stale", extra=fields)
        elif isinstance(outcome, Dead):
            self.tell_unannounced(lease.queue_name)
        elif isinstance(outcome, Retry | PutBack):
            self._due(lease.queue_name, outcome.delay_ms)

    def _due(self, queue_name: str, in_ms: int | None) -> None:
        waiter = self._waiter
        if waiter is not None:
            waiter.due(queue_name, in_ms)

    def _tended(self, tended: Tended) -> None:
        self._due(tended.queue_name, tended.next_due_in_ms)
        if tended.ready:
            self.ring(tended.queue_name)
        if tended.unannounced:
            self.tell_unannounced(tended.queue_name)

    def tell_unannounced(self, queue_name: str) -> None:
        """Tell who announces dead letters that there are some."""
        for listener in self.on_unannounced:
            listener(queue_name)

    def release_all(self) -> int:
        """Give back every lease in hand: the last act of a worker whose time to drain is over. Fenced and counted."""
        if self.exchange.flush(within_s=FLUSH_S):
            logger.warning("worker.outcomes_unwritten")
        released = 0
        for queue_name, leases in self.in_flight.leases(unsettled=True).items():
            try:
                released += self.transitions.release(queue_name, leases, started=True)
            except PipelineError as error:
                logger.warning("queue.release_failed", extra={"queue": queue_name, "code": error.code})
            self.in_flight.drop(leases)
        if released:
            logger.warning("worker.released_running", extra={"released": released})
        return released

    def close(self) -> None:
        """End the threads and give back connections. Repeatable; a later command connects again."""
        self.stopping.set()
        with self._lock:
            waiter, keeper, client, transitions = self._waiter, self._keeper, self._client, self._transitions
            exchange = self._exchange
            self._waiter = self._keeper = self._client = self._transitions = self._exchange = None
        if keeper is not None:
            keeper.stop()
        if waiter is not None:
            waiter.stop()
        if exchange is not None:
            exchange.stop()
        if transitions is not None:
            transitions.scripts.pipe.close()
        if client is not None:
            client.close()
        self.stopping.clear()
