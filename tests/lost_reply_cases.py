"""What may happen to a message, and in the care for it, while the reply of a script is lost: one case or more for each.

``test_lost_replies`` runs them; a case is named by its script.
"""

from carriage import QUEUE, SOON_MS, Held, fail
from lossy_world import Hopeless, Lossy, raising
from waiting import stays, until

from middleware.errors import Snooze

# -- the life of a message ---------------------------------------------------------------------------------------------


def enqueue(lossy: Lossy) -> None:
    lossy.lose("enqueue")
    lossy.behind.send("a", "b", lane="l")

    assert lossy.work(done=2) == ["a", "b"]
    assert lossy.behind.counter("enqueued") == 2


def enqueue_many(lossy: Lossy) -> None:
    lossy.lose("enqueue")
    names = [f"m{number}" for number in range(210)]
    lossy.behind.broker.send_many([lossy.behind.message(name) for name in names])

    assert lossy.behind.counter("enqueued") == 210
    taken = [one for _ in range(2) for one in lossy.outside.broker.do_fetch(QUEUE, 200).messages]
    assert [lossy.outside.broker.decode(one.body).args[0] for one in taken] == names


def enqueue_with_a_unique_key(lossy: Lossy) -> None:
    lossy.lose("enqueue")
    lossy.behind.send("a", unique_key="u")
    lossy.behind.send("b", unique_key="u")

    assert lossy.work(done=1) == ["a"]
    assert lossy.behind.counter("duplicates") == 1


def enqueue_of_a_slot(lossy: Lossy) -> None:
    """The slot was marked and the message put in: the repeated call must not take its own mark for another's."""
    lossy.lose("enqueue")
    lossy.behind.send("a", tick=60_000)

    assert lossy.work(done=1) == ["a"]


def fetch(lossy: Lossy) -> None:
    lossy.lose("fetch")
    lossy.outside.send("a", "b", lane="l")
    lossy.outside.send("x", "y")

    began = lossy.work(done=4)
    assert [name for name in began if name in "ab"] == ["a", "b"]
    assert sorted(began) == ["a", "b", "x", "y"]
    assert lossy.behind.counter("disowned") >= 1


def fetch_first(lossy: Lossy) -> None:
    """What came with the wait that was cut: it is put back by a name of its own, and what is in hand stays there."""
    slow = Held()
    lossy.behind.plans["x"] = [slow]
    with lossy.behind.working():
        lossy.outside.send("x")
        slow.wait_for_begin()
        lossy.lose("fetch_first")
        lossy.outside.send("a", "b", lane="l")
        lossy.lost()
        slow.go_on.set()
        lossy.behind.drained(done=3)

    assert sorted(lossy.behind.began) == ["a", "b", "x"]
    assert [name for name in lossy.behind.began if name in "ab"] == ["a", "b"]


def disown(lossy: Lossy) -> None:
    lossy.lose("fetch", "disown")
    lossy.outside.send("a", "b", lane="l")

    assert lossy.work(done=2) == ["a", "b"]
    lossy.lost(2)


def finish_done(lossy: Lossy) -> None:
    lossy.lose("finish")
    lossy.outside.send("a", "b", lane="l", unique_key="u")
    lossy.outside.send("b", lane="l")

    assert lossy.work(done=2) == ["a", "b"]


def finish_retry(lossy: Lossy) -> None:
    lossy.lose("finish")
    lossy.behind.plans["a"] = [fail]
    lossy.outside.send("a", "b", lane="l")

    assert lossy.work(done=2) == ["a", "a", "b"]
    assert lossy.behind.counter("retried") == 1


def finish_snooze(lossy: Lossy) -> None:
    lossy.lose("finish")
    lossy.behind.plans["a"] = [raising(Snooze(delay_ms=20))]
    lossy.outside.send("a", "b", lane="l")

    assert lossy.work(done=2) == ["a", "a", "b"]
    assert lossy.behind.counter("snoozed") == 1


def finish_yield(lossy: Lossy) -> None:
    lossy.lose("finish")
    lossy.behind.plans["a"] = [raising(Snooze(delay_ms=0, yields=True))]
    lossy.outside.send("a", "b", lane="l")

    assert lossy.work(done=2) == ["a", "b", "a"]
    assert lossy.behind.counter("snoozed") == 1


def finish_dead(lossy: Lossy) -> None:
    lossy.lose("finish")
    lossy.behind.plans["a"] = [raising(Hopeless())]
    lossy.outside.send("a", "b", lane="l")

    assert lossy.work(done=1) == ["a", "b"]
    assert (lossy.behind.counter("dead"), lossy.behind.stats().dead) == (1, 1)
    assert lossy.heard == ["error"]


# -- care --------------------------------------------------------------------------------------------------------------


def renew(lossy: Lossy) -> None:
    slow = Held()
    lossy.behind.plans["a"] = [slow]
    lossy.outside.send("a")
    with lossy.behind.working():
        slow.wait_for_begin()
        lossy.lose("renew")
        lossy.lost()
        stays(lambda: lossy.behind.stats().in_flight == 1, for_ms=800)
        slow.go_on.set()
        lossy.behind.drained(done=1)

    assert lossy.behind.began == ["a"]


def tend(lossy: Lossy) -> None:
    """One round that reclaims from somebody who never comes back: it is a crash, once."""
    lossy.outside.send("a", "b", lane="l")
    lossy.outside.broker.transitions.fetch(QUEUE, limit=1, lease_ms=1, owner="gone")
    lossy.lose("tend")

    with lossy.behind.working():
        lossy.behind.drained(done=2)
        lossy.lost()
    assert lossy.behind.began == ["a", "b"]
    assert lossy.behind.counter("reclaimed") == 1


def release_at_a_stop(lossy: Lossy) -> None:
    slow = Held()
    lossy.behind.plans["a"] = [slow]
    lossy.outside.send("a", *"bcd")
    worker = lossy.behind.start(threads=1, prefetch=4)
    slow.wait_for_begin()
    lossy.lose("release")
    for thread in worker.workers:
        thread.stop()
    slow.go_on.set()
    worker.stop(timeout=5_000)

    assert lossy.behind.began == ["a"]
    again = lossy.outside.broker.do_fetch(QUEUE, 10).messages
    assert [lossy.outside.broker.decode(one.body).args for one in again] == [("b",), ("c",), ("d",)]
    assert [one.deliveries for one in again] == [1, 1, 1]
    assert lossy.outside.counter("released") == 3


def release_of_what_runs(lossy: Lossy) -> None:
    slow = Held()
    lossy.behind.plans["a"] = [slow]
    lossy.outside.send("a")
    worker = lossy.behind.start(threads=1)
    slow.wait_for_begin()
    lossy.lose("release")
    worker.stop(timeout=50)

    [again] = lossy.outside.broker.do_fetch(QUEUE, 10).messages
    assert again.deliveries == 2
    slow.go_on.set()
    until(lambda: not any(thread.is_alive() for thread in worker.workers), within_ms=SOON_MS)
    assert lossy.outside.counter("released") == 1


CASES = [
    *(enqueue, enqueue_many, enqueue_with_a_unique_key, enqueue_of_a_slot),
    *(fetch, fetch_first, disown, finish_done, finish_retry, finish_snooze, finish_yield, finish_dead),
    *(renew, tend, release_at_a_stop, release_of_what_runs),
]
