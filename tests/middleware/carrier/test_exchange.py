"""Who makes a round, and that there is always somebody for the next one."""

import pytest

from middleware.brokers.redis.exchange import Exchange
from middleware.brokers.redis.inflight import InFlight
from middleware.brokers.redis.rounds import Answer
from middleware.brokers.redis.transitions import Settlement
from middleware.brokers.redis.values import Fetched, Lease
from middleware.clock import SystemClock
from middleware.outcomes import Done


class BreakingRounds:
    """Breaks at the first round, as a bug would; notes what it is asked to fetch."""

    def __init__(self) -> None:
        self.in_flight = InFlight(SystemClock(), lease_ms=1_000)
        self.in_flight.capacity = 1
        self.lost: set[str] = set()
        self.made: list[dict[str, int]] = []

    def make(self, tickets, shares) -> Answer:
        self.made.append(dict(shares))
        if len(self.made) == 1:
            raise RuntimeError
        return Answer()


class Nobody:
    """Takes nothing, is told of nothing."""

    def __init__(self, queue_name: str) -> None:
        self.queue_name = queue_name

    def room(self) -> int:
        return 1

    def accept(self, messages) -> None:
        raise AssertionError(messages)

    def due(self, queue_name: str, in_ms: int | None) -> None: ...

    def again(self, queue_name: str, in_ms: int) -> None: ...

    def widen(self) -> None: ...


class QuietRounds(BreakingRounds):
    """Writes whatever it is given and fetches nothing."""

    def make(self, tickets, shares) -> Answer:
        self.made.append(dict(shares))
        for ticket in tickets:
            ticket.applied = True
        self.in_flight.drop([ticket.settlement.lease for ticket in tickets])
        return Answer()


def test_the_last_place_of_the_slow_queues_is_filled_by_the_round_that_frees_it():
    rounds = QuietRounds()
    rounds.in_flight.capacity, rounds.in_flight.slow_capacity = 4, 1
    rounds.in_flight.slow_queues = frozenset({"slow", "slower"})
    exchange = Exchange(rounds, alarm=lambda: Nobody("-"), on_written=lambda _: None)
    for name in ("quick", "slow", "slower"):
        exchange.attach(Nobody(name))
    exchange.ring()
    lease = Lease("slow", "m", "o.1")
    rounds.in_flight.take([Fetched(lease, 1, b"")], asked_boot_ms=0)
    rounds.made.clear()

    exchange.settle(Settlement(lease, Done(), b""))

    assert [sum(shares.values()) for shares in rounds.made] == [1, 1]
    assert {name for shares in rounds.made for name in shares} == {"slow", "slower"}


def test_a_round_that_breaks_leaves_the_next_to_somebody():
    """It once left the exchange busy for ever when there was more to do: nothing was fetched or written any more."""
    rounds = BreakingRounds()
    exchange = Exchange(rounds, alarm=lambda: Nobody("-"), on_written=lambda _: None)
    for name in ("a", "b"):
        exchange.attach(Nobody(name))
    with pytest.raises(RuntimeError):
        exchange.ring()

    assert exchange.ring("a")
    assert [*rounds.made[0]] == ["a"]
    assert {name for shares in rounds.made[1:] for name in shares} == {"a", "b"}
