"""The fetch that is sent with a wait.

``BLPOP`` and ``fetch_first.lua`` go out in one write, and Redis goes on to the script when the block ends: so the message comes
with the token that announces it, and an idle process runs it a round trip sooner. A place is kept for it meanwhile.

What is fetched so has an owner of its own in its token. When its reply is lost it is put back by that name, which touches
nothing that another reply is just bringing; and the other way round.
"""

import logging
from collections.abc import Sequence
from typing import Any

import redis

from middleware.brokers.redis.connections import BLOCK_S
from middleware.brokers.redis.exchange import Exchange
from middleware.brokers.redis.scripts import Call
from middleware.brokers.redis.transitions import first_of
from middleware.brokers.redis.values import WAITING, Fetch
from middleware.errors import PipelineError

logger = logging.getLogger(__name__)

#: So much of a lease is left at least when it arrives, in seconds; of a short one five sixths.
LEFT_S = 10.0


def longest_wait_s(lease_ms: int) -> float:
    """Longest wait with which a fetch may be sent.

    A lease counts from when it was asked for, here up to a whole wait before the server gave it: what is left must do until
    the keeper renews it.
    """
    lease_s = lease_ms / 1000
    return min(BLOCK_S, max(lease_s / 6, lease_s - LEFT_S))


class StandingFetch:
    """One fetch that is asked for and not answered yet, or none. For one thread, the waiter's."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._in_flight = exchange.in_flight
        self._transitions = exchange.rounds.transitions
        self._clock = exchange.rounds.clock
        self.owner = exchange.rounds.owner + WAITING
        self._call: Call | None = None
        self._asked_boot_ms = 0
        #: Queues of a call whose reply was lost: what it handed out must be put back before the next is asked.
        self._lost: set[str] = set()

    def ask(self, queue_names: Sequence[str]) -> bytes:
        """The command to send behind a wait for these queues; empty when nothing may be fetched in advance."""
        if not self._put_back_lost():
            return b""
        names = self._exchange.keep_place(queue_names)
        if not names:
            return b""
        lease_ms = self._in_flight.lease_ms
        self._call = self._transitions.fetch_first_call(names, lease_ms=lease_ms, owner=self.owner)
        self._asked_boot_ms = self._clock.boot_ms()
        return self._transitions.scripts.as_sent(self._call)

    def take(self, reply: Any) -> tuple[str, Fetch] | None:
        """What came, now in hand, and its queue; None for nothing.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the reply was a refusal, and asking once more failed.
        """
        call = self._call
        if call is None:
            return None
        if isinstance(reply, redis.ResponseError):
            # Most often a server that was restarted and lost its scripts.
            reply = self._transitions.scripts.mended(call, reply)
        self._call = None
        came = None
        if isinstance(reply, redis.ResponseError):
            logger.warning(
                "queue.fetch_failed", extra={"queue": ",".join(call.queue_names), "code": type(reply).__name__}
            )
        else:
            came = first_of(call.queue_names, reply)
        self._in_flight.take(came[1].messages if came else (), asked_boot_ms=self._asked_boot_ms, kept=1)
        return came

    def lose(self) -> None:
        """The reply does not come any more: what it may have handed out is put back before the next is asked."""
        call, self._call = self._call, None
        if call is not None:
            self._lost.update(call.queue_names)
            self._in_flight.keep(-1)

    def _put_back_lost(self) -> bool:
        in_hand = self._in_flight.leases() if self._lost else {}
        for name in sorted(self._lost):
            ours = [lease for lease in in_hand.get(name, ()) if lease.fetcher == self.owner]
            try:
                self._transitions.disown(name, owner=self.owner, in_hand=ours)
            except PipelineError as error:
                logger.warning("queue.disown_failed", extra={"queue": name, "code": error.code})
                return False
            self._lost.discard(name)
        return True
