"""Bytes that are no message, in the middle of good ones and in their lane: buried as they are, and nobody is disturbed."""

import pytest
from carriage import QUEUE, SOON_MS
from waiting import until

pytestmark = pytest.mark.redis

RUBBISH = b'\xff\x00{"not": json'


def test_bytes_that_are_no_message_die_alone_with_the_batch_they_came_in(make_carriage):
    carried = make_carriage()
    good = [f"good {number}" for number in range(10)]
    carried.send(*good[:5])
    carried.send("before", lane="l")
    carried.broker.transitions.enqueue(QUEUE, "rubbish", RUBBISH, options={"lane": "l"})
    carried.send("after", lane="l")
    carried.broker.transitions.enqueue(QUEUE, "more rubbish", RUBBISH[::-1])
    carried.send(*good[5:])

    # More threads than messages: the good and the bad are handed out by one fetch.
    with carried.working(threads=16):
        until(lambda: carried.counter("done") == 12 and carried.stats().dead == 2, within_ms=SOON_MS)
        until(lambda: carried.stats().unfinished == 0, within_ms=SOON_MS)

    assert sorted(carried.began) == sorted([*good, "before", "after"])
    assert carried.began.index("before") < carried.began.index("after")
    assert {name: carried.counter(name) for name in ("retried", "reclaimed", "released", "disowned", "dead")} == {
        "retried": 0,
        "reclaimed": 0,
        "released": 0,
        "disowned": 0,
        "dead": 2,
    }
    bodies = carried.broker.client.hgetall(carried.broker.machinery.keys.of(QUEUE, "bodies"))
    assert bodies == {b"rubbish": RUBBISH, b"more rubbish": RUBBISH[::-1]}
