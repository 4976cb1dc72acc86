"""Redis is full: each script that drains it works, each that fills it is refused by name, and it drains through failures."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files

import pytest
from carriage import QUEUE, SOON_MS, Carriage, Held, fail
from waiting import until

from middleware.brokers.redis.copies import CopiedGates, CopiedLetter, CopiedMessage, Copies
from middleware.brokers.redis.values import GateChange
from middleware.errors import QueueFull
from middleware.outcomes import Dead, Done, Outcome, PutBack, Retry

pytestmark = pytest.mark.redis

SCRIPTS = {file.name.removesuffix(".lua") for file in (files("middleware.brokers.redis") / "lua").iterdir()} - {"parts"}


@pytest.fixture
def full(redis_server, queue_client, make_carriage) -> Iterator[tuple[Carriage, Callable[[], None]]]:
    """A carriage and what fills its Redis."""
    if int(queue_client.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("draining a full Redis is promised from version 7 on")
    yield make_carriage(), lambda: queue_client.config_set("maxmemory", 1)
    queue_client.config_set("maxmemory", 0)


def finished(outcome: Outcome) -> Callable[[Carriage, list], object]:
    return lambda carried, taken: carried.broker.transitions.finish(taken[0].lease, outcome, body=taken[0].body)


def leases(taken: list) -> list:
    return [one.lease for one in taken]


def copies(carried: Carriage) -> Copies:
    return Copies(carried.broker.transitions.scripts)


#: What each script is asked for in a full Redis, given three messages in hand and three that are ready.
WORKING: dict[str, Callable[[Carriage, list], object]] = {
    "fetch": lambda carried, _: carried.broker.do_fetch(QUEUE, 1).messages,
    "fetch_first": lambda carried, _: carried.broker.transitions.fetch_first([QUEUE], lease_ms=60_000, owner="w+"),
    "disown": lambda carried, _: (
        carried.broker.transitions.disown(QUEUE, owner=carried.broker.broker_id, in_hand=[]) == 3
    ),
    "finish done": finished(Done()),
    "finish retry": finished(Retry(0, "again")),
    "finish retry later": finished(Retry(60_000, "again")),
    "finish snooze": finished(PutBack(60_000, "later", group_for_ms=1_000)),
    "finish yield": finished(PutBack(0, "later", yields=True)),
    "finish dead": finished(Dead("dead", {"error": "x" * 500})),
    "renew": lambda carried, taken: carried.broker.transitions.renew(QUEUE, leases(taken), lease_ms=60_000) == set(),
    "release": lambda carried, taken: carried.broker.transitions.release(QUEUE, leases(taken), started=True) == 3,
    "tend": lambda carried, _: carried.broker.transitions.tend([QUEUE], max_deliveries=5),
    "announce": lambda carried, _: carried.letters(),
    "announced": lambda carried, _: carried.broker.transitions.announced(QUEUE, ["letter"]) == 1,
    "withhold": lambda carried, _: carried.broker.transitions.withhold(QUEUE, "letter", hold_ms=1_000),
    "discard": lambda carried, _: carried.broker.transitions.discard(QUEUE, ["letter"]) == 1,
    # It frees as much as it takes.
    "redrive": lambda carried, _: carried.broker.transitions.redrive(QUEUE, "letter", body=b"{}") == "redriven",
    "cancel": lambda carried, _: carried.broker.transitions.cancel(QUEUE, "id-r0") == "cancelled",
    "pause": lambda carried, _: carried.broker.transitions.pause(QUEUE),
    "gate": lambda carried, _: carried.broker.transitions.set_gate(QUEUE, "g", GateChange(limit=1)) is None,
    "purge": lambda carried, _: carried.broker.transitions.purge(QUEUE) == 6,
    "adopt": lambda carried, _: carried.broker.transitions.adopt(QUEUE, "nobody") == 0,
    "stats": lambda carried, _: carried.stats().ready == 3,
    "lane": lambda carried, _: carried.broker.transitions.lane(QUEUE, "no such") is None,
    "recover": lambda carried, _: carried.broker.transitions.recover(QUEUE, ["id-r0"]) == [],
    "groups": lambda carried, _: carried.broker.transitions.gates(QUEUE) == [],
    "copy_lanes": lambda carried, _: [len(found) for found in copies(carried).lanes(QUEUE)] == [3],
    "copy_groups": lambda carried, _: list(copies(carried).groups(QUEUE)) == [[]],
    "copy_places": lambda carried, _: [one.id for one in copies(carried).named(QUEUE, [b"id-r0"])] == [b"id-r0"],
    # In a queue that is in use it changes nothing.
    "restore_gates": lambda carried, _: (
        not copies(carried).put_gates(QUEUE, CopiedGates(1, {b"g": b"1"}), token=RESTORER)
    ),
}
#: What brings more in.
FILLING: dict[str, Callable[[Carriage], object]] = {
    "enqueue": lambda carried: carried.send("more"),
    "enqueue in a lane": lambda carried: carried.send("more", lane="l", group="g", unique_key="u"),
    "enqueue many": lambda carried: carried.broker.send_many([carried.message(f"more {one}") for one in range(300)]),
    "enqueue delayed": lambda carried: carried.send("more", delay=60_000, lane="l"),
    "restore": lambda carried: copies(carried).put_messages(
        QUEUE, [CopiedMessage(b"more", b"{}", b"")], token=RESTORER
    ),
    "restore_letters": lambda carried: copies(carried).put_letters(QUEUE, [LETTER], token=RESTORER),
}
RESTORER = "somebody"
LETTER = CopiedLetter(b"more", 1, b'{"reason": "dead", "fingerprint": "dead"}', b"{}", told=True)


def _prepared(carried: Carriage) -> list:
    copies(carried).begin(RESTORER)
    carried.send("dies", enqueue_id="letter")
    (letter,) = carried.broker.do_fetch(QUEUE, 1).messages
    carried.broker.transitions.finish(letter.lease, Dead("dead"), body=letter.body)
    for number in range(3):
        carried.send(f"h{number}", lane=f"lane {number}", group="g", enqueue_id=f"id-h{number}")
    taken = carried.broker.do_fetch(QUEUE, 3).messages
    for number in range(3):
        carried.send(f"r{number}", enqueue_id=f"id-r{number}")
    return taken


@pytest.mark.parametrize("step", WORKING)
def test_a_full_redis_still_does_what_drains_it(full, step):
    carried, fill = full
    taken = _prepared(carried)
    fill()

    assert WORKING[step](carried, taken)


@pytest.mark.parametrize("step", FILLING)
def test_a_full_redis_refuses_what_fills_it_and_says_so(full, step):
    carried, fill = full
    _prepared(carried)
    before = carried.stats()
    fill()

    with pytest.raises(QueueFull, match="maxmemory"):
        FILLING[step](carried)
    assert replace(carried.stats(), oldest_ready_age_s=None, oldest_dead_age_s=None) == replace(
        before, oldest_ready_age_s=None, oldest_dead_age_s=None
    )


def test_every_script_was_tried_in_a_full_redis():
    assert {step.split()[0] for step in (*WORKING, *FILLING)} == SCRIPTS


def test_a_full_redis_drains_through_failures_and_a_stop(full):
    """Lanes, retries, waits and what a worker gives back when it stops; then the next worker has it all at once."""
    carried, fill = full
    slow = Held()
    for number in range(20):
        carried.send(f"{number % 4}:{number}", lane=f"lane {number % 4}")
    carried.plans = {"0:0": [fail, fail], "1:5": [slow]}
    fill()
    with carried.working(threads=3):
        slow.wait_for_begin()
        with pytest.raises(QueueFull):
            carried.send("more")
        slow.go_on.set()
        until(lambda: len(carried.ended) >= 10, within_ms=SOON_MS)
    with carried.working(threads=3):
        carried.drained(done=20)

    assert (len(carried.began), carried.counter("retried"), carried.counter("reclaimed")) == (22, 2, 0)
    for lane in range(4):
        assert [name for name in carried.ended if name.startswith(f"{lane}:")] == [
            f"{lane}:{number}" for number in range(lane, 20, 4)
        ]
