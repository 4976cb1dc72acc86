"""An outcome that cannot be put into words for Redis: nobody whose outcome goes with it stays in hand for ever."""

from typing import Any

import pytest
from carriage import SOON_MS, Held, fail
from dramatiq import Middleware
from waiting import until

from middleware.outcomes import Dead, Done

pytestmark = pytest.mark.redis


class Host(Middleware):
    """A host's middleware, which decides of the first failure as no part of ours would."""

    decides_outcomes = True

    def __init__(self, outcome: Any) -> None:
        self.outcomes = [outcome]

    def after_process_message(self, broker, message, *, result=None, exception=None):
        message.outcome = self.outcomes.pop() if exception is not None and self.outcomes else Done()


def test_evidence_that_is_no_json_costs_the_evidence(make_carriage):
    carried = make_carriage(middleware=[Host(Dead("odd", {("no", "json"): 1}))])
    carried.plans["odd"] = [fail]
    carried.send("odd", "next", lane="l")
    with carried.working() as worker:
        carried.drained(done=1)
        carried.assert_all_threads_work(worker)

    assert carried.began[:2] == ["odd", "next"]
    assert [(letter.record["reason"], letter.record["evidence"]) for letter in carried.letters()] == [("odd", {})]


def test_a_round_that_breaks_gives_back_what_it_could_not_write(make_carriage):
    """Bound of what runs twice: those whose outcome went with the one that broke it."""
    carried = make_carriage(middleware=[Host("no outcome at all")], lease_ms=600)
    names = [*(f"beside {number}" for number in range(3)), "odd"]
    plans = {name: Held(fail if name == "odd" else lambda: None) for name in names}
    for name, plan in plans.items():
        carried.plans[name] = [plan]
        carried.send(name)
    with carried.working(threads=4) as worker:
        for plan in plans.values():
            plan.wait_for_begin()
        for plan in plans.values():
            plan.go_on.set()
        carried.drained(done=4)
        again = [name for name in names if carried.began.count(name) == 2]
        assert len(carried.began) == 4 + len(again)
        assert carried.counter("reclaimed") == len(again)
        until(lambda: carried.stats().in_flight == 0, within_ms=SOON_MS)
        carried.assert_all_threads_work(worker)

    assert "odd" in again
