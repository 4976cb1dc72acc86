"""Redis itself goes away, in good order or as in a power cut, while messages run: all end, in order, and none runs twice for it."""

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from carriage import QUEUE, SOON_MS, Carriage, Held, carriage, fail
from waiting import stays, until

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import PipelineError

pytestmark = pytest.mark.redis

LANES = 5


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    """A Redis of this test's own, which writes everything down before it answers."""
    with EmbeddedRedis(persist=True) as started:
        yield started


@pytest.mark.parametrize("end", [EmbeddedRedis.stop, EmbeddedRedis.kill], ids=["stopped", "killed"])
def test_a_task_that_fails_while_redis_is_away_is_retried_when_it_is_back(server, caplog, end):
    failing = Held(fail)
    with carriage(server.url(0)) as carried, carried.working():
        carried.plans["a"] = [failing]
        carried.send("a", "b", lane="l")
        failing.wait_for_begin()
        end(server)
        failing.go_on.set()
        # Its outcome was to be written, and could not be.
        until(lambda: "queue.round_failed" in caplog.text, within_ms=SOON_MS)
        server.start()
        carried.drained(done=2)

        # One attempt that failed and one that did not: no more, though its outcome was sent again and again.
        assert (carried.began, carried.ended) == (["a", "a", "b"], ["a", "b"])
        assert (carried.counter("retried"), carried.counter("reclaimed")) == (1, 0)
        assert carried.counter("stale_finishes") == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_a_process_whose_every_outcome_was_refused_by_an_outage_works_on(server, caplog, threads):
    """Each of its places is held by an outcome that is not written, and nothing else waits whose round would write them, too."""
    slow = [Held() for _ in range(threads)]
    with carriage(server.url(0)) as carried, carried.working(threads=threads):
        for number, plan in enumerate(slow):
            carried.plans[f"m{number}"] = [plan]
            carried.send(f"m{number}")
            plan.wait_for_begin()
        server.stop()
        for plan in slow:
            plan.go_on.set()
        until(lambda: "queue.round_failed" in caplog.text and len(carried.ended) == threads, within_ms=SOON_MS)
        # Longer than the waiter, which has lost its block, waits before it looks at everything once.
        stays(lambda: server.pid is None, for_ms=1_200)
        server.start()
        carried.drained(done=threads)
        carried.send("next")
        carried.drained(done=threads + 1)

        assert carried.began == [*(f"m{number}" for number in range(threads)), "next"]


def test_an_outage_longer_than_a_lease_costs_one_more_run_at_most(server, caplog):
    """Nobody can renew a lease meanwhile: who is first when Redis is back, the outcome or the reaper, is not said."""
    failing = Held(fail)
    with carriage(server.url(0), lease_ms=300) as carried, carried.working():
        carried.plans["a"] = [failing]
        carried.send("a", "b", lane="l")
        failing.wait_for_begin()
        server.stop()
        failing.go_on.set()
        until(lambda: "queue.round_failed" in caplog.text, within_ms=SOON_MS)
        stays(lambda: server.pid is None, for_ms=600)
        server.start()
        carried.drained(done=2)

        robbed = carried.counter("reclaimed")
        assert robbed <= 1
        # Either its failure was written or it came back from its lease, and so it ran twice, in its place.
        assert carried.counter("retried") + robbed == 1
        assert (carried.began, carried.ended) == (["a", "a", "b"], ["a", "b"])


def test_killing_redis_under_load_neither_loses_nor_doubles_nor_reorders(server):
    """Bound of what may run twice: nothing. No worker died and no outage was as long as a lease."""
    count, kills, pause = 200, (60, 120), threading.Event()
    with carriage(server.url(0)) as carried, carried.working(threads=8):
        # Long enough that another one of the lane could begin meanwhile.
        carried.each = lambda: pause.wait(0.005)
        sender = threading.Thread(target=_send_all, args=(carried, count), daemon=True)
        sender.start()
        for at in kills:
            until(lambda at=at: len(carried.ended) >= at, within_ms=SOON_MS)
            server.kill()
            server.start()
        sender.join(SOON_MS / 1000)
        carried.drained(done=count)

        assert Counter(carried.ended) == Counter(_name(number) for number in range(count))
        for lane in range(LANES):
            # Never two at a time: each begins when the one before it has ended.
            in_lane = [event for event in carried.events if event[1].startswith(f"{lane}:")]
            names = [_name(number) for number in range(lane, count, LANES)]
            assert in_lane == [(what, name) for name in names for what in ("began", "ended")]
        assert (carried.counter("enqueued"), carried.counter("reclaimed")) == (count, 0)
        assert carried.stats().dead == 0


def _name(number: int) -> str:
    return f"{number % LANES}:{number}"


def _send_all(carried: Carriage, count: int) -> None:
    """As a producer with an outbox does: the same message again until it is known to be there."""
    for number in range(count):
        message = carried.message(_name(number), lane=f"lane {number % LANES}", enqueue_id=f"{QUEUE}-{number}")
        until(lambda message=message: _is_sent(carried, message), within_ms=SOON_MS)


def _is_sent(carried: Carriage, message) -> bool:
    try:
        carried.broker.enqueue(message)
    except PipelineError:
        return False
    return True
