"""The clock of a worker is ten minutes off: when a message is due and whose it is says Redis' clock alone."""

import pytest
from carriage import QUEUE, SOON_MS, Held, fail
from waiting import stays, until

from middleware.clock import SystemClock
from middleware.errors import Snooze

pytestmark = pytest.mark.redis

MINUTE_MS = 60_000


class Shifted(SystemClock):
    """A machine whose wall clock is wrong; its boot clock cannot be."""

    def __init__(self, by_ms: int) -> None:
        self.by_ms = by_ms

    def now_ms(self) -> int:
        return super().now_ms() + self.by_ms


@pytest.fixture(params=[10 * MINUTE_MS, -10 * MINUTE_MS], ids=["ahead", "behind"])
def off(request, make_carriage):
    """A carriage whose clock is wrong; another one's is right."""
    return make_carriage(clock=Shifted(request.param), lease_ms=600)


def redis_ms(carried) -> float:
    seconds, microseconds = carried.broker.client.time()
    return seconds * 1000 + microseconds / 1000


def test_a_delay_of_either_is_kept_by_either(off, make_carriage):
    right = make_carriage(lease_ms=600)
    began_ms = {}
    for carried in (off, right):
        carried.plans = {name: [lambda name=name: began_ms.update({name: redis_ms(right)})] for name in ("x", "y")}
    sent_ms = redis_ms(right)
    off.send("x", delay=300)
    right.send("y", delay=300)
    off.send("far", delay=5 * MINUTE_MS)
    right.send("far too", delay=5 * MINUTE_MS)

    with off.working():
        until(lambda: off.counter("done") == 2, within_ms=SOON_MS)

    assert off.stats().delayed == 2
    assert sorted(off.began) == ["x", "y"]
    assert all(at_ms >= sent_ms + 300 for at_ms in began_ms.values())


def test_a_retry_and_a_snooze_wait_as_long_as_they_should(off):
    ran_ms = []

    def snooze() -> None:
        ran_ms.append(redis_ms(off))
        raise Snooze(delay_ms=300)

    off.plans = {"a": [fail], "b": [snooze, lambda: ran_ms.append(redis_ms(off))]}
    off.send("a", "b", lane="l")
    with off.working():
        off.drained(done=2)

    assert off.began == ["a", "a", "b", "b"]
    assert ran_ms[1] - ran_ms[0] >= 300


def test_a_lease_lasts_while_its_message_runs_and_no_longer(off, make_carriage):
    right, slow = make_carriage(lease_ms=600), Held()
    off.plans["a"] = [slow]
    off.send("a")
    with off.working(), right.working():
        slow.wait_for_begin()
        stays(lambda: right.began == [] and right.stats().in_flight == 1, for_ms=1_500)
        slow.go_on.set()
        right.drained(done=1)

    assert (off.began, right.began, right.counter("reclaimed")) == (["a"], [], 0)


def test_who_is_gone_is_robbed_when_it_is_time_by_a_worker_whose_clock_is_wrong(off):
    ran_ms = []
    off.plans["a"] = [lambda: ran_ms.append(redis_ms(off))]
    off.send("a")
    fetched_ms = redis_ms(off)
    off.broker.transitions.fetch(QUEUE, limit=1, lease_ms=500, owner="gone")
    with off.working():
        off.drained(done=1)

    assert (off.began, off.counter("reclaimed")) == (["a"], 1)
    assert ran_ms[0] - fetched_ms >= 500
