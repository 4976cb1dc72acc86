"""Fetch first: of several queues, the first message that is ready."""

import pytest
from carrier_world import LONG_MS, QUEUE, gate, gate_of, ids, make_due, take

pytestmark = pytest.mark.redis

NAMES = ("before", QUEUE, "behind")


@pytest.fixture
def first(moves):
    """``first()`` gives queue, ids, ids left there and the next due time; None for nothing."""

    def first(*names: str):
        came = moves.fetch_first(names or NAMES, lease_ms=LONG_MS, owner="w1+")
        return came and (came[0], ids(came[1].messages), came[1].left, came[1].next_due_in_ms)

    return first


class TestFetchFirst:
    def test_empty_queues_give_nothing_and_write_nothing(self, first, queue_client):
        assert first() is None
        assert queue_client.dbsize() == 0

    def test_it_takes_one_and_says_from_where_and_what_is_left(self, first, put):
        for id_ in "abc":
            put(id_)

        assert first() == (QUEUE, ["a"], 2, None)
        assert first() == (QUEUE, ["b"], 1, None)

    def test_the_first_queue_that_has_something_gives_it(self, first, moves, put):
        put("a")
        moves.enqueue("behind", "b", b"")

        assert [first()[:2] for _ in range(2)] == [(QUEUE, ["a"]), ("behind", ["b"])]
        assert first() is None

    def test_what_is_left_rings_for_the_next_worker(self, first, put, queue_client, keys):
        put("a")
        put("b")
        queue_client.delete(keys.of(QUEUE, "wake"))

        first()
        assert queue_client.llen(keys.of(QUEUE, "wake")) == 1
        queue_client.delete(keys.of(QUEUE, "wake"))
        first()
        assert queue_client.llen(keys.of(QUEUE, "wake")) == 0

    def test_its_lease_is_the_workers_and_its_token_tells_how_it_was_fetched(self, moves, put):
        put("a", lane="l", group="g", unique_key="k")
        _, fetch = moves.fetch_first(NAMES, lease_ms=LONG_MS, owner="w1+")
        (message,) = fetch.messages

        assert (message.lease.owner, message.lease.fetcher, message.deliveries) == ("w1", "w1+", 1)
        assert message.routing.options() == {"lane": "l", "group": "g", "unique_key": "k"}
        assert moves.renew(QUEUE, [message.lease], lease_ms=LONG_MS) == set()

    def test_a_paused_queue_is_passed_over(self, first, moves, put):
        put("a")
        moves.enqueue("behind", "b", b"")
        moves.pause(QUEUE)

        assert first()[:2] == ("behind", ["b"])
        assert first() is None

    def test_a_closed_gate_takes_its_messages_back_and_the_next_queue_gives(self, first, moves, put):
        put("a", group="g")
        moves.enqueue("behind", "b", b"")
        gate(moves, "g", limit=0)

        assert first()[:2] == ("behind", ["b"])
        assert gate_of(moves, "g").waiting == 1
        gate(moves, "g", limit=1)
        assert first()[:2] == (QUEUE, ["a"])
        assert gate_of(moves, "g").running == 1

    def test_a_cancelled_one_is_passed_over(self, first, moves, put):
        put("a")
        put("b")
        moves.cancel(QUEUE, "a")

        assert first() == (QUEUE, ["b"], 0, None)

    def test_a_lane_gives_its_next_only_when_the_first_is_over(self, first, put):
        put("a", lane="l")
        put("b", lane="l")

        assert first()[1] == ["a"]
        assert first() is None

    def test_what_is_only_due_is_told_and_not_handed_out(self, first, moves, put, queue_client, keys):
        put("later", delay_ms=LONG_MS)
        make_due(queue_client, keys, "later")
        assert first() is None

        put("a")
        assert first() == (QUEUE, ["a"], 0, 0)
        assert ids(take(moves)) == ["later"]

    def test_a_crash_is_counted(self, moves, put):
        put("a")
        moves.release(QUEUE, [take(moves)[0].lease], started=True)
        _, fetch = moves.fetch_first([QUEUE], lease_ms=LONG_MS, owner="w1+")

        assert fetch.messages[0].deliveries == 2
