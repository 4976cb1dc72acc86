"""What becomes of dead letters, what operators do and look at, and copies, while the reply of a script is lost.

Cases as in ``lost_reply_cases.py``.
"""

from carriage import QUEUE, SOON_MS, Carriage
from lossy_world import Lossy
from waiting import stays, until

from middleware.brokers.redis.copies import CopiedGates, CopiedLetter, CopiedMessage, Copies
from middleware.brokers.redis.values import GateChange
from middleware.letters import DeadLetters

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
    *(announce, announced, withhold, redrive, discard, cancel, pause, gate, purge, adopt, recover),
    *(stats, lane, groups, copy_lanes, copy_groups, copy_places, restore, restore_letters, restore_gates),
]
