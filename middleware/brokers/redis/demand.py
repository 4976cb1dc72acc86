"""What a process would fetch: from which queues, how much, and who takes it.

``exchange`` keeps it under its own lock.
"""

from collections.abc import Sequence

from middleware.brokers.redis.inflight import InFlight
from middleware.brokers.redis.ports import Sink
from middleware.brokers.redis.rounds import Rounds, Ticket
from middleware.brokers.redis.shares import divided


class Demand:
    """Sinks, and the queues that may have something for them. Not safe to share."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._in_flight: InFlight = rounds.in_flight
        #: Queues that may have something to fetch, the one asked longest ago first.
        self.promising: dict[str, None] = {}
        self.sinks: dict[str, Sink] = {}

    def attach(self, sink: Sink) -> None:
        """Fetch for ``sink`` from now on."""
        self.sinks[sink.queue_name] = sink
        self.promising[sink.queue_name] = None

    def detach(self, sink: Sink) -> None:
        """Fetch no more for ``sink``."""
        if self.sinks.get(sink.queue_name) is sink:
            del self.sinks[sink.queue_name]

    def waits_for_kept(self) -> bool:
        """Whether something would be fetched but for the place that is kept."""
        in_flight = self._in_flight
        return bool(in_flight.kept and in_flight.room() == 0) and any(
            name in self.sinks and in_flight.takes(name) for name in self.promising
        )

    def taker(self, queue_name: str) -> Sink | None:
        """Who takes a message of the queue; None when nobody does any more."""
        # A process that ends takes no more: its consumers outlive the threads that could run it.
        return self.sinks.get(queue_name) if self._in_flight.capacity != 0 else None

    def shares(self, *, leaving: Sequence[Ticket]) -> dict[str, int]:
        """How much to fetch from which queue, when the places of ``leaving`` are about to be free."""
        wanted = [name for name in self.promising if name in self.sinks]
        # A connection that was cut may have carried out the first calls only: one queue at a time then, so that none is last.
        if self._rounds.lost:
            wanted = [name for name in wanted if name in self._rounds.lost][:1] or wanted
        if not wanted:
            return {}
        slow = self._in_flight.slow_queues
        slow_leaving = sum(one.settlement.lease.queue_name in slow for one in leaving) if slow else 0
        return divided(
            {name: self.sinks[name].room() for name in wanted},
            room=self._in_flight.room(leaving=len(leaving)),
            slow_queues=slow,
            slow_room=self._in_flight.slow_room(leaving=slow_leaving),
        )

    def take(self, tickets: Sequence[Ticket]) -> dict[str, int]:
        """Choose what a round fetches that writes ``tickets``; places are kept for it until :meth:`InFlight.keep` frees them."""
        in_flight = self._in_flight
        slow = in_flight.slow_queues
        if slow and in_flight.slow_room() == 0 and any(one.settlement.lease.queue_name in slow for one in tickets):
            # While the slow ones had all their places nobody waited for their bells.
            self.promising.update(dict.fromkeys(slow & self.sinks.keys()))
        shares = self.shares(leaving=tickets)
        for queue_name in shares:
            # Asked again only when the reply says so; whoever rings meanwhile puts it back.
            del self.promising[queue_name]
        if shares:
            in_flight.keep(sum(shares.values()))
        return shares

    def keep_place(self, queue_names: Sequence[str]) -> list[str]:
        """Keep a place for one message of these queues; returns those of which it may be, none when no place is kept.

        Two must be free, so that whoever rings finds one. Slow queues have places of their own, which are not kept.
        """
        in_flight = self._in_flight
        room = in_flight.room()
        if room is None or room < 2:
            return []
        # A consumer with a bound of its own below that of the process is asked before each fetch.
        names = [
            name
            for name in queue_names
            if name in self.sinks and name not in in_flight.slow_queues and self.sinks[name].room() >= room
        ]
        if names:
            in_flight.keep(1)
        return names
