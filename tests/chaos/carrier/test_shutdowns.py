"""A worker stops: what it had in hand runs elsewhere at once, in its order, and what ends too late changes nothing."""

import pytest
from carriage import QUEUE, SOON_MS, Held
from waiting import until

pytestmark = pytest.mark.redis


def test_what_a_stop_cuts_off_runs_elsewhere_at_once_and_its_late_end_changes_nothing(make_carriage):
    """The lease would last 15 s: nobody waits for it."""
    leaving, staying, slow = make_carriage(), make_carriage(), Held()
    leaving.plans["a"] = [slow]
    leaving.send("a", "b", lane="l")
    worker = leaving.start(threads=2)
    slow.wait_for_begin()
    began_ms = leaving.broker.clock.boot_ms()
    with staying.working():
        worker.stop(timeout=100)
        until(lambda: staying.began, within_ms=SOON_MS)
        took_ms = leaving.broker.clock.boot_ms() - began_ms
        slow.go_on.set()
        until(lambda: not any(thread.is_alive() for thread in worker.workers), within_ms=SOON_MS)
        staying.drained(done=2)

    # Well before the lease would have ended, however slow the machine.
    assert took_ms < 10_000
    # It began twice, once here and once there: the bound of what a stop may double.
    assert (leaving.began, staying.began) == (["a"], ["a", "b"])
    assert (staying.counter("released"), staying.counter("reclaimed")) == (1, 0)


def test_what_a_stop_cuts_off_is_counted_as_a_crash_and_what_only_waited_is_not(make_carriage):
    leaving, slow = make_carriage(), Held()
    leaving.plans["a"] = [slow]
    leaving.send("a", "b", "c")
    worker = leaving.start(threads=1, prefetch=3)
    slow.wait_for_begin()
    until(lambda: leaving.stats().in_flight == 3, within_ms=SOON_MS)
    worker.stop(timeout=100)

    taken = leaving.broker.do_fetch(QUEUE, 10).messages
    assert {leaving.broker.decode(one.body).args[0]: one.deliveries for one in taken} == {"a": 2, "b": 1, "c": 1}
    slow.go_on.set()
    until(lambda: not any(thread.is_alive() for thread in worker.workers), within_ms=SOON_MS)


def test_a_graceful_stop_gives_back_what_waits_in_hand_in_its_order(make_carriage):
    leaving, staying, slow = make_carriage(), make_carriage(), Held()
    names = [f"m{number}" for number in range(12)]
    leaving.plans["m0"] = [slow]
    leaving.send(*names)
    worker = leaving.start(threads=1, prefetch=8)
    slow.wait_for_begin()
    until(lambda: leaving.stats().in_flight == 8, within_ms=SOON_MS)
    for thread in worker.workers:
        thread.stop()
    slow.go_on.set()
    worker.stop(timeout=5_000)

    assert (leaving.ended, leaving.counter("released")) == (["m0"], 7)
    with staying.working(threads=1):
        staying.drained(done=12)
    assert staying.began == names[1:]
    assert staying.counter("reclaimed") == 0
