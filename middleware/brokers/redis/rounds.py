"""One round trip: write outcomes, fetch for the places that become free, and make sense of what went wrong.

``exchange`` decides who makes a round and when; here is what is said to Redis in one, and what its answers mean.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import redis

from middleware.brokers.redis.inflight import InFlight
from middleware.brokers.redis.scripts import Call, translated
from middleware.brokers.redis.transitions import Settlement, Transitions, fetch_of
from middleware.brokers.redis.values import Fetch
from middleware.clock import Clock
from middleware.errors import PipelineError

logger = logging.getLogger(__name__)


def locked() -> Any:
    """A lock that is held: whoever acquires it waits until somebody releases it."""
    lock = Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class Ticket:
    """An outcome on its way.

    Attributes:
        settlement: what is to be written.
        is_posted: nobody waits for it; it is tried until it is written.
        gate: opens when it is written, when that failed, or when the thread that waits shall make a round.
        makes_round: that thread shall.
        was_tried: it may have been written by an earlier call whose reply was lost.
        applied: it was written; False = the lease was another's by now.
        error: why it is not known to be written.
    """

    settlement: Settlement
    is_posted: bool = False
    gate: Any = None
    makes_round: bool = False
    was_tried: bool = False
    applied: bool = False
    error: PipelineError | None = None


#: Outcomes to write, and queue → most messages to fetch.
Gathered = tuple[list[Ticket], dict[str, int]]


@dataclass(slots=True)
class Answer:
    """What a round fetched, by queue, and which queues must be asked again because their answer was lost or a refusal."""

    fetches: dict[str, Fetch] = field(default_factory=dict)
    ask_again: list[str] = field(default_factory=list)


class Rounds:
    """Makes round trips for one owner, one at a time."""

    def __init__(self, transitions: Transitions, in_flight: InFlight, *, clock: Clock, owner: str) -> None:
        self.transitions = transitions
        self.in_flight = in_flight
        self.clock = clock
        self.owner = owner
        #: Queues one of whose fetches lost its reply: what it handed out must be put back first.
        self.lost: set[str] = set()

    def make(self, tickets: Sequence[Ticket], shares: Mapping[str, int]) -> Answer:
        """Write the tickets' outcomes and fetch ``shares`` (queue → most messages); what is fetched is in hand afterwards.

        Every ticket has ``applied`` or ``error`` set. Raises nothing of Redis'.
        """
        by_queue: dict[str, list[Ticket]] = {}
        for ticket in tickets:
            by_queue.setdefault(ticket.settlement.lease.queue_name, []).append(ticket)
        calls = [self._finish_call(name, group) for name, group in by_queue.items()]
        asked_boot_ms = self.clock.boot_ms()
        try:
            replies = self.transitions.scripts.replies([*calls, *self._fetch_calls(shares)])
        except (redis.ConnectionError, redis.TimeoutError) as error:
            logger.warning("queue.round_failed", extra={"queue": ",".join(shares), "code": type(error).__name__})
            self.lost |= shares.keys()
            self._write_again(by_queue)
            return Answer(ask_again=list(shares))
        for group, reply in zip(by_queue.values(), replies, strict=False):
            self._read_finish(group, reply)
        if tickets:
            self.in_flight.drop([ticket.settlement.lease for ticket in tickets if ticket.error is None], tells=False)
        return self._read_fetches(shares, replies[len(calls) :], asked_boot_ms=asked_boot_ms)

    # -- outcomes -------------------------------------------------------------------------------------------------

    def _finish_call(self, queue_name: str, tickets: Sequence[Ticket], *, repeated: bool = False) -> Call:
        repeated = repeated or any(ticket.was_tried for ticket in tickets)
        return self.transitions.finish_call(queue_name, [one.settlement for one in tickets], repeated=repeated)

    def _read_finish(self, tickets: Sequence[Ticket], reply: Any) -> None:
        if isinstance(reply, redis.ResponseError):
            # Some may be written, and one of them may be what the script stumbled over: each alone, so that it stands alone.
            for ticket in tickets:
                self._write_alone(ticket)
            return
        for ticket, applied in zip(tickets, reply, strict=True):
            # Stale after a try whose reply was lost says that the try was applied, or that it is another's: all is done.
            ticket.applied = bool(applied) or ticket.was_tried

    def _write_alone(self, ticket: Ticket) -> None:
        lease = ticket.settlement.lease
        try:
            with translated(f"recording the outcome of {lease.id}"):
                (reply,) = self.transitions.scripts.replies(
                    [self._finish_call(lease.queue_name, [ticket], repeated=True)]
                )
                if isinstance(reply, redis.ResponseError):
                    raise reply
            ticket.applied = True
        except PipelineError as error:
            ticket.error = error

    def _write_again(self, by_queue: Mapping[str, Sequence[Ticket]]) -> None:
        """Once more, at once and without the fetches: most often only a connection was cut."""
        if not by_queue:
            return
        tickets = [ticket for group in by_queue.values() for ticket in group]
        for ticket in tickets:
            ticket.was_tried = True
        try:
            with translated(f"recording {len(tickets)} outcomes"):
                replies = self.transitions.scripts.replies([self._finish_call(*queue) for queue in by_queue.items()])
        except PipelineError as error:
            for ticket in tickets:
                ticket.error = error
            return
        for group, reply in zip(by_queue.values(), replies, strict=True):
            self._read_finish(group, reply)
        self.in_flight.drop([ticket.settlement.lease for ticket in tickets if ticket.error is None], tells=False)

    # -- new messages ---------------------------------------------------------------------------------------------

    def _fetch_calls(self, shares: Mapping[str, int]) -> list[Call]:
        calls = []
        for name, share in shares.items():
            if name in self.lost:
                # What a lost reply handed out was never started. Left to the reaper it would count as a crash each time, and
                # two minutes of a slow network would bury the whole queue as crash loops.
                in_hand = self.in_flight.leases().get(name, [])
                calls.append(self.transitions.disown_call(name, owner=self.owner, in_hand=in_hand))
            lease_ms = self.in_flight.lease_ms
            calls.append(self.transitions.fetch_call(name, limit=share, lease_ms=lease_ms, owner=self.owner))
        return calls

    def _read_fetches(self, shares: Mapping[str, int], replies: Sequence[Any], *, asked_boot_ms: int) -> Answer:
        answer, rest = Answer(), iter(replies)
        for name in shares:
            disowned = next(rest) if name in self.lost else None
            reply = next(rest)
            refusal = next((one for one in (disowned, reply) if isinstance(one, redis.ResponseError)), None)
            if refusal is not None:
                try:
                    with translated(f"fetching from {name}"):
                        raise refusal
                except PipelineError as error:
                    logger.warning("queue.fetch_failed", extra={"queue": name, "code": error.code})
                answer.ask_again.append(name)
                continue
            self.lost.discard(name)
            answer.fetches[name] = fetch_of(name, reply)
            self.in_flight.take(answer.fetches[name].messages, asked_boot_ms=asked_boot_ms)
        return answer
