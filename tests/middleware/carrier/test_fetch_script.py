"""Fetch: what may run is handed out once, under a lease."""

import pytest
from carrier_world import LONG_MS, QUEUE, ids, make_due, take

from middleware.brokers.redis.scripts import MAX_BATCH
from middleware.brokers.redis.values import NewMessage, Routing

pytestmark = pytest.mark.redis


class TestFetch:
    def test_an_empty_queue_gives_nothing(self, moves):
        fetch = moves.fetch(QUEUE, limit=5, lease_ms=LONG_MS, owner="w1")

        assert (fetch.messages, fetch.left, fetch.next_due_in_ms) == ([], 0, None)

    def test_it_takes_no_more_than_asked_and_says_what_is_left(self, moves, put):
        for id_ in "abc":
            put(id_)
        fetch = moves.fetch(QUEUE, limit=2, lease_ms=LONG_MS, owner="w1")

        assert (ids(fetch.messages), fetch.left) == (["a", "b"], 1)

    def test_nothing_is_handed_out_twice(self, moves, put):
        put("a")

        assert (ids(take(moves)), ids(take(moves))) == (["a"], [])

    def test_an_id_without_a_body_was_cancelled_and_is_passed_over(self, moves, put, queue_client, keys):
        put("a")
        put("b")
        queue_client.hdel(keys.of(QUEUE, "messages"), "a")

        assert ids(take(moves)) == ["b"]

    def test_what_is_left_rings_for_the_next_worker(self, moves, put, queue_client, keys):
        put("a")
        put("b")
        queue_client.delete(keys.of(QUEUE, "wake"))
        take(moves, 1)

        assert queue_client.llen(keys.of(QUEUE, "wake")) == 1

    @pytest.mark.parametrize(("due", "limit", "tokens"), [("a", 5, 0), ("ab", 1, 1)])
    def test_what_came_due_wakes_nobody_else_when_all_is_handed_out(
        self, moves, put, queue_client, keys, due, limit, tokens
    ):
        for id_ in due:
            put(id_, delay_ms=LONG_MS)
            make_due(queue_client, keys, id_)
        queue_client.delete(keys.of(QUEUE, "wake"))
        take(moves, limit)

        assert queue_client.llen(keys.of(QUEUE, "wake")) == tokens

    def test_a_token_for_somebody_else_stays(self, moves, put, queue_client, keys):
        put("a", delay_ms=LONG_MS)
        make_due(queue_client, keys, "a")
        assert queue_client.llen(keys.of(QUEUE, "wake")) == 1
        take(moves)

        assert queue_client.llen(keys.of(QUEUE, "wake")) == 1

    def test_a_call_looks_at_a_bounded_number_of_cancelled_ones(self, moves, queue_client, keys):
        many = [NewMessage(f"m{number:03}", b"") for number in range(600)]
        moves.enqueue_many(QUEUE, many)
        queue_client.delete(keys.of(QUEUE, "messages"))
        moves.enqueue(QUEUE, "last", b"")

        first = moves.fetch(QUEUE, limit=64, lease_ms=LONG_MS, owner="w1")
        assert (first.messages, first.left) == ([], 601 - 512)
        assert queue_client.exists(keys.of(QUEUE, "wake"))
        assert ids(take(moves, 64)) == ["last"]

    def test_no_call_hands_out_more_than_a_batch(self, moves):
        moves.enqueue_many(QUEUE, [NewMessage(f"m{number:03}", b"") for number in range(MAX_BATCH + 10)])

        assert len(take(moves, 10_000)) == MAX_BATCH

    def test_every_fetch_has_a_token_of_its_own_and_says_whose_it_is(self, moves, put):
        put("a")
        first = take(moves)[0].lease
        moves.release(QUEUE, [first], started=False)
        second = take(moves)[0].lease

        assert (first.owner, second.owner) == ("w1", "w1")
        assert first.token != second.token

    def test_it_says_where_a_message_belongs(self, moves, put):
        put("a", lane="l", group="g", unique_key="k", dead_holds_lane=True)
        put("b")
        routed, plain = take(moves)

        assert routed.routing == Routing(lane="l", group="g", unique_key="k", flags="d")
        assert plain.routing == Routing()

    def test_names_may_be_any_text(self, moves, put):
        put("a", lane="lä ne", group="g 1 2", unique_key="ключ:1")
        put("b", lane="lä ne", group="g 1 2")

        assert take(moves)[0].routing.options() == {"lane": "lä ne", "group": "g 1 2", "unique_key": "ключ:1"}
