"""A time limit passes while a hook runs: the message is not lost, and its thread works on."""

import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from carriage import QUICK, SOON_MS, Carriage, fail
from dramatiq import Middleware
from waiting import until

from middleware import default_stack
from middleware.errors import Described
from middleware.time_limit import TimeLimit

pytestmark = pytest.mark.redis


class Hopeless(Described):
    permanent = True


class Passing:
    """Something that takes long: a limit that this thread is under passes meanwhile."""

    def __init__(self, limit: TimeLimit) -> None:
        self.deadlines, self.calls = limit.manager.deadlines, 0

    def __call__(self) -> None:
        self.calls += 1
        thread = threading.get_ident()
        if self.deadlines.get(thread) is not None:
            self.deadlines[thread] = 0.1
            until(lambda: False, within_ms=SOON_MS)


class Slow(Middleware):
    """One hook takes long for message ``a``."""

    def __init__(self, hook: str, passing: Passing) -> None:
        self.passing = passing
        setattr(self, hook, self._linger)

    def _linger(self, broker, message, **_) -> None:
        if "a" in message.args:
            self.passing()


@pytest.fixture(params=["in the stack", "added by the host"])
def slow_in(request, make_carriage) -> Iterator[Callable[[str], tuple[Carriage, Passing]]]:
    """``slow_in(hook)``: a carriage with a slow hook, in the midst of our own middleware or added after all of it."""
    stack = default_stack(retry_policy=lambda: QUICK)
    limit = next(one for one in stack if isinstance(one, TimeLimit))
    limit.manager.interval = 0.02

    def make(hook: str) -> tuple[Carriage, Passing]:
        passing = Passing(limit)
        slow = Slow(hook, passing)
        if request.param == "in the stack":
            stack.insert(2, slow)
        carried = make_carriage(middleware=stack, lease_ms=600)
        if request.param != "in the stack":
            carried.broker.add_middleware(slow)
        return carried, passing

    yield make
    # Its thread has no end of its own.
    limit.manager.interval = 3_600


@pytest.mark.parametrize("hook", ["before_process_message", "after_process_message", "before_ack", "after_ack"])
@pytest.mark.parametrize("plan", [None, fail], ids=["returns", "fails"])
def test_a_limit_that_passes_in_a_hook_strikes_nobody(slow_in, hook, plan):
    carried, passing = slow_in(hook)
    carried.plans["a"] = [plan] if plan else []
    carried.send("a", lane="l")
    carried.send("b", lane="l")
    with carried.working(threads=2) as worker:
        carried.drained(done=2)
        carried.assert_all_threads_work(worker)

    # The limit is the actor's, which took no time: no run more than its own failure asks for.
    assert carried.began[:-2] == ["a", *(["a"] if plan else []), "b"]
    assert passing.calls == (2 if plan else 1)


@pytest.mark.parametrize("hook", ["before_nack", "after_nack"])
def test_a_limit_that_passes_while_a_message_dies_strikes_nobody(slow_in, hook):
    def die() -> None:
        raise Hopeless

    carried, passing = slow_in(hook)
    carried.plans["a"] = [die]
    carried.send("a", lane="l")
    carried.send("b", lane="l")
    with carried.working(threads=2) as worker:
        carried.drained(done=1)
        carried.assert_all_threads_work(worker)

    assert (carried.began[:-2], carried.stats().dead, passing.calls) == (["a", "b"], 1, 1)


def test_a_limit_that_passes_while_a_failure_is_logged_loses_neither_message_nor_thread(slow_in, caplog):
    """The attempt is over and no hook has run yet: Dramatiq catches nothing there, and the error would end the thread."""
    carried, passing = slow_in("before_ack")
    carried.plans["a"] = [fail]
    carried.send("a")
    handler = Handler(passing)
    logging.getLogger("dramatiq.worker").addHandler(handler)
    try:
        with carried.working(threads=1) as worker:
            until(lambda: carried.counter("retried") == 1, within_ms=SOON_MS)
            carried.assert_all_threads_work(worker)
    finally:
        logging.getLogger("dramatiq.worker").removeHandler(handler)

    assert (carried.stats().delayed, carried.began[0]) == (1, "a")
    assert "worker.limit_came_late" in caplog.text


class Handler(logging.Handler):
    """A place where a failure is logged that takes long."""

    def __init__(self, passing: Passing) -> None:
        super().__init__(logging.ERROR)
        self.passing = passing

    def emit(self, record: logging.LogRecord) -> None:
        if "Failed to process" in record.msg:
            self.passing()
