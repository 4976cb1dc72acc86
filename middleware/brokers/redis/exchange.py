"""Write outcomes and take new messages, in one round trip for all threads of a process.

A worker thread posts the outcome of its attempt and goes on; a round writes all that was posted meanwhile and fetches for the
places that it frees. Who makes it: the thread that posts, if it has nothing else to do, else a thread of our own. So a busy
process pays a fraction of a round trip per message, and threads are woken a fraction as often.

A posted outcome is tried until Redis has it, its lease renewed meanwhile; the message stays in hand until then. Outside a
worker (``broker.do_ack``) the caller waits until it is written.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from dramatiq.errors import BrokerConnectionError

from middleware.brokers.redis.demand import Demand
from middleware.brokers.redis.ports import Alarm, Sink
from middleware.brokers.redis.rounds import Gathered, Rounds, Ticket, locked
from middleware.brokers.redis.scripts import MAX_BATCH
from middleware.brokers.redis.transitions import Settlement
from middleware.brokers.redis.values import Fetch, Fetched
from middleware.errors import PipelineError, QueueUnavailable

logger = logging.getLogger(__name__)

#: After a failure the same is tried again so much later, in milliseconds.
RETRY_MS = 500
#: So long a round under way is waited for where it is only a gain, in seconds: hundreds of usual ones.
ROUND_S = 0.05
#: Longest wait for the round that carries an outcome, in seconds: its two tries of a silent server, and the one before it.
PATIENCE_S = 60.0


class Exchange:
    """The only door through which a process fetches and finishes. Safe to share between threads."""

    def __init__(self, rounds: Rounds, *, alarm: Callable[[], Alarm], on_written: Callable[[Ticket], None]) -> None:
        """``on_written`` is told of outcomes that were posted, when they are written, stale or given up."""
        self.rounds = rounds
        self.in_flight = rounds.in_flight
        self.alarm = alarm
        self.on_written = on_written
        self._pending: list[Ticket] = []
        self._demand = Demand(rounds)
        self._is_busy = False
        self._is_signalled = False
        self._is_stopping = False
        self._lock = threading.Lock()
        #: Notified when a round is over and nothing is left to write.
        self._written = threading.Condition(self._lock)
        self._signal: Any = locked()
        self._thread: threading.Thread | None = None

    # -- who fetches ----------------------------------------------------------------------------------------------

    def attach(self, sink: Sink) -> None:
        """Fetch for ``sink`` from now on."""
        with self._lock:
            self._demand.attach(sink)

    def detach(self, sink: Sink) -> None:
        """Fetch no more for ``sink``."""
        with self._lock:
            self._demand.detach(sink)

    def keep_place(self, queue_names: Sequence[str]) -> list[str]:
        """See :meth:`middleware.brokers.redis.demand.Demand.keep_place`."""
        with self._lock:
            names = self._demand.keep_place(queue_names)
            if not names and self._is_busy:
                # The round under way may have been promised more places than it fills.
                self._written.wait_for(lambda: not self._is_busy, ROUND_S)
                names = self._demand.keep_place(queue_names)
            return names

    def deliver(self, queue_name: str, messages: Sequence[Fetched]) -> None:
        """Hand on what was fetched, by a round or beside one, to whoever takes it."""
        with self._lock:
            sink = self._demand.taker(queue_name)
        if messages and sink is not None:
            sink.accept(messages)
        elif messages:
            # It went while the fetch was under way.
            self.give_back(queue_name, messages)

    def ring(self, *queue_names: str) -> bool:
        """Fetch from queues that may have something, and write what could not be written.

        False when there is no place for more now; it is fetched when there is.
        """
        with self._lock:
            self._demand.promising.update(dict.fromkeys(queue_names))
            if self._is_busy:
                return True
            tickets, shares = begun = self._gathered()
            is_something = bool(tickets or shares)
            self._is_busy = is_something
            waits = not is_something and self._demand.waits_for_kept()
        if is_something:
            self._make_rounds(begun)
        elif waits:
            # The place that is left is kept for what comes with the wait: let that come, and the waiter rings again.
            self.alarm().poke()
        return is_something

    def settle(self, settlement: Settlement) -> bool:
        """Write an outcome now; True when it was applied, False when the lease was another's by now.

        Raises:
            PipelineError: it is not known to be written; while that is a lost connection the message stays in hand.
        """
        ticket = Ticket(settlement, gate=locked())
        with self._lock:
            self._pending.append(ticket)
            makes_round, self._is_busy = not self._is_busy, True
        if not makes_round:
            if not ticket.gate.acquire(timeout=PATIENCE_S):
                raise QueueUnavailable(f"the outcome of {settlement.lease.id} was not written within {PATIENCE_S} s")
            makes_round = ticket.makes_round
        if makes_round:
            self._make_rounds()
        if ticket.error is not None:
            raise ticket.error
        return ticket.applied

    def post(self, settlement: Settlement, *, is_idle: bool = False) -> None:
        """Have an outcome written, without waiting. ``is_idle``: this thread has nothing else to do and may make the round."""
        with self._lock:
            self._pending.append(Ticket(settlement, is_posted=True))
            makes_round = is_idle and not self._is_busy
            if makes_round:
                self._is_busy = True
            elif not self._is_busy:
                self._wake()
        if makes_round:
            self._make_rounds(most=1)

    def flush(self, *, within_s: float) -> int:
        """Wait until all that was posted is written; returns how much is left after ``within_s``."""
        self.ring()
        with self._lock:
            self._written.wait_for(lambda: not self._pending and not self._is_busy, within_s)
            return len(self._pending)

    # -- the thread -----------------------------------------------------------------------------------------------

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread that makes rounds while all others are at work; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="queue-exchange", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it is gone or after 3 s."""
        with self._lock:
            self._is_stopping = True
            self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(3)

    def _wake(self) -> None:
        if not self._is_signalled:
            self._is_signalled = True
            self._signal.release()

    def _run(self) -> None:
        while True:
            self._signal.acquire()
            with self._lock:
                self._is_signalled = False
                if self._is_stopping:
                    return
                if self._is_busy or not (self._pending or self._demand.shares(leaving=())):
                    continue
                self._is_busy = True
            try:
                self._make_rounds()
            except Exception as error:
                # This thread must outlive every surprise: without it outcomes wait for a thread that is idle.
                logger.critical("exchange.broken", extra={"code": type(error).__name__})

    def _make_rounds(self, begun: Gathered | None = None, *, most: int = 1_000_000) -> None:
        """Make rounds, the first for ``begun``; hand on to a thread that waits or, after ``most``, to our own."""
        for made in count(1):
            is_whole = False
            try:
                self._round(begun)
                begun, is_whole = None, True
            finally:
                with self._lock:
                    # After a round that broke this thread leaves by its error: who was to go on would be nobody.
                    goes_on = self._hand_on(may_go_on=is_whole and made < most)
            if not goes_on:
                break
        if self.in_flight.room() != 0:
            self.in_flight.tell_of_place()
        if self.in_flight.slow_room():
            self.alarm().widen()

    def _hand_on(self, *, may_go_on: bool) -> bool:
        """Find who makes the next round; True = the caller."""
        successor = next((ticket for ticket in self._pending if not ticket.is_posted), None)
        # What was just refused is not tried again at once: the alarm says when.
        is_more = successor is None and bool(
            any(not one.was_tried for one in self._pending) or self._demand.shares(leaving=())
        )
        self._is_busy = successor is not None or (is_more and may_go_on)
        if successor is not None:
            successor.makes_round = True
            successor.gate.release()
        elif is_more and not may_go_on:
            self._wake()
        elif not self._pending:
            self._written.notify_all()
        return is_more and may_go_on

    def _gathered(self) -> Gathered:
        """Take what a round is to write, and choose what it is to fetch."""
        tickets, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
        return tickets, self._demand.take(tickets)

    def _round(self, begun: Gathered | None) -> None:
        if begun is None:
            with self._lock:
                begun = self._gathered()
        tickets, shares = begun
        try:
            self._apply(tickets, shares)
        except BaseException as error:
            self._put_off(list(shares))
            self._broken([one for one in tickets if not one.applied and one.error is None], error)
            raise
        finally:
            if shares:
                self.in_flight.keep(-sum(shares.values()))
            for ticket in tickets:
                if not ticket.makes_round and not ticket.is_posted:
                    ticket.gate.release()

    def _broken(self, tickets: Sequence[Ticket], error: BaseException) -> None:
        for ticket in tickets:
            # Kept in hand it would be renewed for ever; let go of, it runs out, comes back and is counted.
            ticket.error = PipelineError(f"a round broke: {type(error).__name__}")
        self._settled(tickets)

    def _apply(self, tickets: Sequence[Ticket], shares: dict[str, int]) -> None:
        answer = self.rounds.make(tickets, shares)
        if tickets:
            self._settled(tickets)
        self._put_off(answer.ask_again)
        for name, fetch in answer.fetches.items():
            self._hand_over(name, fetch)

    def _hand_over(self, queue_name: str, fetch: Fetch) -> None:
        if fetch.left:
            with self._lock:
                self._demand.promising[queue_name] = None
        self.deliver(queue_name, fetch.messages)
        self.alarm().due(queue_name, fetch.next_due_in_ms)

    def _settled(self, tickets: Sequence[Ticket]) -> None:
        # While the connection is lost an outcome is tried again (ours by us, others' by Dramatiq), and until then the lease is
        # renewed, so nobody else runs it. Any other failure is not: the lease runs out, the message comes back and is counted.
        lost = [one for one in tickets if isinstance(one.error, BrokerConnectionError)]
        self.in_flight.drop([one.settlement.lease for one in tickets if one.error and one not in lost])
        posted = [one for one in lost if one.is_posted]
        if posted:
            for ticket in posted:
                ticket.was_tried, ticket.error = True, None
            with self._lock:
                self._pending[:0] = posted
            self._put_off(sorted({one.settlement.lease.queue_name for one in posted}))
        for ticket in tickets:
            if ticket.is_posted and (ticket.applied or ticket.error or not ticket.was_tried):
                self.on_written(ticket)

    def _put_off(self, queue_names: Sequence[str]) -> None:
        for name in queue_names:
            self.alarm().again(name, RETRY_MS)

    def give_back(self, queue_name: str, messages: Sequence[Fetched]) -> None:
        """Give back what nobody started; where that fails, its leases run out."""
        leases = [one.lease for one in messages]
        try:
            self.rounds.transitions.release(queue_name, leases, started=False)
        except PipelineError as error:
            logger.warning("queue.release_failed", extra={"queue": queue_name, "code": error.code})
        self.in_flight.drop(leases)
