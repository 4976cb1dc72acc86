"""Redis carried a script out and the answer was lost: nothing is lost, run twice, counted twice or reordered for it.

One case or more for every script there is, each by the part of the product that calls it. A script without a case is a fault.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files

import pytest
from carriage import QUEUE, SOON_MS, Carriage, Held, fail
from lossy_redis import LossyRedis
from waiting import stays, until

from middleware.brokers.redis.copies import CopiedGates, CopiedLetter, CopiedMessage, Copies
from middleware.brokers.redis.values import GateChange
from middleware.dead_letter import DeadLetterAnnouncer
from middleware.errors import Described, Snooze
from middleware.letters import DeadLetters

pytestmark = pytest.mark.redis

SCRIPTS = {file.name.removesuffix(".lua") for file in (files("middleware.brokers.redis") / "lua").iterdir()} - {"parts"}


class Hopeless(Described):
    """No other attempt can succeed."""

    permanent = True


@dataclass
class Lossy:
    """``behind``: the carrier whose replies are lost; ``outside``: another process on the same queue, which has luck."""

    proxy: LossyRedis
    behind: Carriage
    outside: Carriage
    heard: list[str] = field(default_factory=list)

    def lose(self, *scripts: str) -> None:
        """Lose the next reply of each."""
        for script in scripts:
            self.proxy.lose(script)

    def lost(self, times: int = 1) -> None:
        """Wait until so many were."""
        until(lambda: self.proxy.lost == times, within_ms=SOON_MS)

    def work(self, *, done: int) -> list[str]:
        """Let the unlucky one work until ``done`` messages are done; gives what began."""
        with self.behind.working():
            self.behind.drained(done=done)
        return self.behind.began

    def letter(self, name: str = "a") -> None:
        """A message died and nobody has been told."""
        self.outside.plans[name] = [_raise(Hopeless())]
        self.outside.send(name, lane="l")
        with self.outside.working():
            until(lambda: self.outside.stats().dead == 1, within_ms=SOON_MS)


def _raise(error: Exception) -> Callable[[], None]:
    def plan() -> None:
        raise error

    return plan


@pytest.fixture
def lossy(redis_server, queue_client, make_carriage) -> Iterator[Lossy]:
    with LossyRedis(redis_server.port, queue_client) as proxy:
        url = redis_server.url(0).replace(f":{redis_server.port}/", f":{proxy.port}/")
        made = Lossy(proxy, make_carriage(url=url, lease_ms=600), make_carriage(lease_ms=600))
        for announcer in (one for one in made.behind.broker.middleware if isinstance(one, DeadLetterAnnouncer)):
            announcer.hold_ms = 300
            announcer.listeners.append(lambda letter: made.heard.append(letter.reason))
        # Who has luck says nothing of the letters: the other one's part is looked at.
        for announcer in [one for one in made.outside.broker.middleware if isinstance(one, DeadLetterAnnouncer)]:
            made.outside.broker.middleware.remove(announcer)
        yield made


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
    lossy.behind.plans["a"] = [_raise(Snooze(delay_ms=20))]
    lossy.outside.send("a", "b", lane="l")

    assert lossy.work(done=2) == ["a", "a", "b"]
    assert lossy.behind.counter("snoozed") == 1


def finish_yield(lossy: Lossy) -> None:
    lossy.lose("finish")
    lossy.behind.plans["a"] = [_raise(Snooze(delay_ms=0, yields=True))]
    lossy.outside.send("a", "b", lane="l")

    assert lossy.work(done=2) == ["a", "b", "a"]
    assert lossy.behind.counter("snoozed") == 1


def finish_dead(lossy: Lossy) -> None:
    lossy.lose("finish")
    lossy.behind.plans["a"] = [_raise(Hopeless())]
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


# -- dead letters ------------------------------------------------------------------------------------------------------


def announce(lossy: Lossy) -> None:
    """Claimed and never heard of: it comes again after the claim, and is told of once."""
    lossy.letter()
    lossy.lose("announce")
    with lossy.behind.working():
        until(lambda: lossy.heard, within_ms=SOON_MS)
        stays(lambda: lossy.heard == ["error"], for_ms=500)


def announced(lossy: Lossy) -> None:
    lossy.letter()
    lossy.lose("announced")
    with lossy.behind.working():
        until(lambda: lossy.heard, within_ms=SOON_MS)
        stays(lambda: lossy.heard == ["error"], for_ms=500)


def withhold(lossy: Lossy) -> None:
    """Whoever withholds cannot know it: for as long as he asked for, the letter is nobody's; then it is told of."""
    lossy.letter()
    lossy.lose("withhold")
    lossy.behind.broker.transitions.withhold(QUEUE, _letter_id(lossy), hold_ms=300)

    with lossy.behind.working():
        until(lambda: lossy.heard == ["error"], within_ms=SOON_MS)


def redrive(lossy: Lossy) -> None:
    lossy.letter()
    lossy.outside.send("b", lane="l")
    lossy.lose("redrive")
    [letter] = DeadLetters(lossy.behind.broker).newest()
    DeadLetters(lossy.behind.broker).redrive(letter)

    assert lossy.work(done=2) == ["b", "a"]
    assert (lossy.behind.counter("redriven"), lossy.behind.stats().dead) == (1, 0)


def discard(lossy: Lossy) -> None:
    lossy.letter()
    lossy.lose("discard")
    DeadLetters(lossy.behind.broker).discard(DeadLetters(lossy.behind.broker).newest())

    assert (lossy.behind.counter("discarded"), lossy.behind.stats().dead) == (1, 0)


def _letter_id(lossy: Lossy) -> str:
    return DeadLetters(lossy.behind.broker).newest()[0].id


# -- what operators do -------------------------------------------------------------------------------------------------


def cancel(lossy: Lossy) -> None:
    for name in "abc":
        lossy.outside.send(name, lane="l", enqueue_id=f"id-{name}")
    lossy.lose("cancel")
    lossy.behind.broker.transitions.cancel(QUEUE, "id-b")

    assert lossy.behind.stats().unfinished == 2
    assert lossy.work(done=2) == ["a", "c"]
    assert lossy.behind.counter("cancelled") == 1


def pause(lossy: Lossy) -> None:
    lossy.lose("pause")
    lossy.behind.broker.transitions.pause(QUEUE)
    lossy.outside.send("a", "b", lane="l")
    with lossy.behind.working():
        stays(lambda: lossy.behind.began == [], for_ms=200)
        lossy.lose("pause")
        lossy.behind.broker.transitions.resume(QUEUE)
        lossy.behind.drained(done=2)

    assert lossy.behind.began == ["a", "b"]
    lossy.lost(2)


def gate(lossy: Lossy) -> None:
    lossy.lose("gate")
    lossy.behind.broker.transitions.set_gate(QUEUE, "g", GateChange(limit=0))
    lossy.outside.send("a", "b", group="g", lane="l")
    with lossy.behind.working():
        stays(lambda: lossy.behind.began == [], for_ms=200)
        lossy.lose("gate")
        lossy.behind.broker.transitions.set_gate(QUEUE, "g", GateChange(limit=1))
        lossy.behind.drained(done=2)

    assert lossy.behind.began == ["a", "b"]
    [now] = lossy.behind.broker.transitions.gates(QUEUE)
    assert (now.admitted, now.running, now.waiting) == (0, 0, 0)
    lossy.lost(2)


def purge(lossy: Lossy) -> None:
    lossy.outside.send("a", "b", lane="l")
    lossy.lose("purge")
    lossy.behind.broker.flush(QUEUE)
    lossy.outside.send("c", lane="l")

    assert lossy.work(done=1) == ["c"]


def adopt(lossy: Lossy) -> None:
    lossy.outside.send("a", enqueue_id="id-a")
    client, keys = lossy.outside.broker.client, lossy.outside.broker.machinery.keys
    client.delete(keys.of(QUEUE, "ready"))
    client.sadd(keys.stock_hands("stock", QUEUE), "id-a")
    lossy.lose("adopt")
    lossy.behind.broker.transitions.adopt(QUEUE, "stock")

    assert lossy.work(done=1) == ["a"]
    assert lossy.behind.counter("adopted") == 1


def recover(lossy: Lossy) -> None:
    lossy.outside.send("a", lane="l", enqueue_id="id-a")
    lossy.outside.send("b", lane="l", enqueue_id="id-b")
    lossy.outside.broker.client.delete(lossy.outside.broker.machinery.keys.of(QUEUE, "ready"))
    lossy.lose("recover")
    lossy.behind.broker.transitions.recover(QUEUE, ["id-a", "id-b"])

    assert lossy.work(done=2) == ["a", "b"]
    assert lossy.behind.counter("recovered") == 1


# -- who only looks ----------------------------------------------------------------------------------------------------


def stats(lossy: Lossy) -> None:
    lossy.outside.send("a")
    lossy.lose("stats")

    assert lossy.behind.stats().ready == 1


def lane(lossy: Lossy) -> None:
    lossy.outside.send("a", "b", lane="l")
    lossy.lose("lane")
    holder = lossy.behind.broker.transitions.lane(QUEUE, "l")

    assert holder is not None
    assert holder.waiting == 1


def groups(lossy: Lossy) -> None:
    lossy.outside.broker.transitions.set_gate(QUEUE, "g", GateChange(limit=3))
    lossy.lose("groups")

    assert [one.limit for one in lossy.behind.broker.transitions.gates(QUEUE)] == [3]


# -- copying, and putting back --------------------------------------------------------------------------------------------


def _copies(carried: Carriage) -> Copies:
    return Copies(carried.broker.transitions.scripts)


def copy_lanes(lossy: Lossy) -> None:
    lossy.outside.send("a", "b", lane="l", group="g")
    lossy.lose("copy_lanes")

    assert [len(found) for found in _copies(lossy.behind).lanes(QUEUE)] == [2]


def copy_groups(lossy: Lossy) -> None:
    lossy.outside.broker.transitions.set_gate(QUEUE, "g", GateChange(limit=0))
    lossy.outside.send("a", "b", group="g")
    lossy.lose("copy_groups")

    assert [len(found) for found in _copies(lossy.behind).groups(QUEUE)] == [2]


def copy_places(lossy: Lossy) -> None:
    lossy.outside.send("a", enqueue_id="id-a")
    lossy.lose("copy_places")

    assert [one.id for one in _copies(lossy.behind).named(QUEUE, [b"id-a"])] == [b"id-a"]


def restore(lossy: Lossy) -> None:
    copies, body = _copies(lossy.behind), lossy.behind.broker.encode(lossy.behind.message("a"))
    copies.begin("somebody")
    lossy.lose("restore")

    # What the lost reply said: the repeated call finds it there.
    assert copies.put_messages(QUEUE, [CopiedMessage(b"id-a", body, b"")], token="somebody") == ["known"]
    assert lossy.work(done=1) == ["a"]


def restore_letters(lossy: Lossy) -> None:
    copies, record = _copies(lossy.behind), b'{"reason": "dead", "fingerprint": "dead"}'
    copies.begin("somebody")
    lossy.lose("restore_letters")

    assert copies.put_letters(QUEUE, [CopiedLetter(b"id-a", 1, record, b"{}", told=True)], token="somebody") == [
        "known"
    ]
    assert lossy.outside.stats().dead == 1


def restore_gates(lossy: Lossy) -> None:
    copies = _copies(lossy.behind)
    copies.begin("somebody")
    lossy.lose("restore_gates")

    copies.put_gates(QUEUE, CopiedGates(1, {}), token="somebody")
    assert lossy.outside.stats().paused_for_s is not None


CASES = [
    *(enqueue, enqueue_many, enqueue_with_a_unique_key, enqueue_of_a_slot),
    *(fetch, fetch_first, disown, finish_done, finish_retry, finish_snooze, finish_yield, finish_dead),
    *(renew, tend, release_at_a_stop, release_of_what_runs),
    *(announce, announced, withhold, redrive, discard, cancel, pause, gate, purge, adopt, recover),
    *(stats, lane, groups, copy_lanes, copy_groups, copy_places, restore, restore_letters, restore_gates),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_lost_reply_changes_nothing(lossy, case):
    case(lossy)

    assert lossy.proxy.lost >= 1
    assert lossy.behind.counter("stale_finishes") == 0
    assert lossy.behind.counter("reclaimed") == (1 if case is tend else 0)


def test_every_script_has_a_case():
    tried = {name for case in CASES for name in (case.__name__, case.__name__.split("_")[0])}
    assert tried >= SCRIPTS
