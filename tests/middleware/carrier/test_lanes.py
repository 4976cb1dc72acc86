"""Lanes: one message at a time, in order."""

import pytest
from carrier_world import CARE, LONG_MS, QUEUE, REMAINS, depths, existing, expire, gate, ids, run_all, take

from middleware.outcomes import Dead, Done, PutBack, Retry

pytestmark = pytest.mark.redis


class TestLanes:
    def test_one_message_of_a_lane_runs_at_a_time_and_in_order(self, moves, put):
        for id_ in "abc":
            put(id_, lane="l")

        order = []
        while fetched := take(moves):
            assert len(fetched) == 1
            order += ids(fetched)
            moves.finish(fetched[0].lease, Done(), body=b"")
        assert order == ["a", "b", "c"]

    def test_other_lanes_are_not_held_up(self, moves, put):
        for id_, lane in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("free", None)]:
            put(id_, lane=lane)

        assert ids(take(moves)) == ["a1", "b1", "free"]

    @pytest.mark.parametrize("outcome", [Retry(LONG_MS, "transient"), PutBack(LONG_MS, "throttled")])
    def test_a_waiting_message_keeps_its_lane(self, moves, put, outcome):
        put("a", lane="l")
        put("b", lane="l")
        moves.finish(take(moves)[0].lease, outcome, body=b"again")

        assert ids(take(moves)) == []
        assert depths(moves) == (0, 1, 0, 1, 0)

    @pytest.mark.parametrize("delay_ms", [0, LONG_MS])
    def test_a_message_that_yields_goes_behind_the_others_of_its_lane(self, moves, put, queue_client, keys, delay_ms):
        for id_ in "abc":
            put(id_, lane="l")
        moves.finish(take(moves)[0].lease, PutBack(delay_ms, "older_first", yields=True), body=b"a again")
        if delay_ms:
            queue_client.zadd(keys.of(QUEUE, "delayed"), {"a": 1})

        order = []
        while fetched := take(moves):
            order += ids(fetched)
            moves.finish(fetched[0].lease, Done(), body=b"")
        assert order == ["b", "c", "a"]

    def test_a_message_that_yields_alone_in_its_lane_runs_again(self, moves, put):
        put("a", lane="l")
        moves.finish(take(moves)[0].lease, PutBack(0, "older_first", yields=True), body=b"again")

        assert ids(take(moves)) == ["a"]

    def test_a_retried_message_runs_before_its_lane_goes_on(self, moves, put, queue_client, keys):
        put("a", lane="l")
        put("b", lane="l")
        moves.finish(take(moves)[0].lease, Retry(LONG_MS, "transient"), body=b"again")
        queue_client.zadd(keys.of(QUEUE, "delayed"), {"a": 1})

        assert ids(take(moves)) == ["a"]

    def test_a_dead_letter_releases_its_lane(self, moves, put):
        put("a", lane="l")
        put("b", lane="l")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"")

        assert ids(take(moves)) == ["b"]

    def test_a_reclaimed_message_still_holds_its_lane(self, moves, put, queue_client, keys):
        put("a", lane="l")
        put("b", lane="l")
        take(moves)
        expire(queue_client, keys, "a")
        moves.tend([QUEUE], **CARE)

        assert ids(take(moves)) == ["a"]

    def test_a_delayed_message_joins_its_lane_when_it_is_due(self, moves, put, queue_client, keys):
        put("late", lane="l", delay_ms=LONG_MS)
        put("a", lane="l")
        put("b", lane="l")
        queue_client.zadd(keys.of(QUEUE, "delayed"), {"late": 1})

        order = []
        while fetched := take(moves):
            order += ids(fetched)
            moves.finish(fetched[0].lease, Done(), body=b"")
        assert order == ["a", "b", "late"]

    def test_a_cancelled_message_in_a_lane_is_passed_over(self, moves, put, queue_client, keys):
        for id_ in "abc":
            put(id_, lane="l")
        queue_client.hdel(keys.of(QUEUE, "messages"), "b")
        moves.finish(take(moves)[0].lease, Done(), body=b"")

        assert ids(take(moves)) == ["c"]

    def test_a_redriven_message_goes_to_the_end_of_its_lane(self, moves, put):
        put("a", lane="l")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"old")
        put("b", lane="l")
        assert moves.redrive(QUEUE, "a", body=b"fresh") == "redriven"

        first = take(moves)
        moves.finish(first[0].lease, Done(), body=b"")
        second = take(moves)
        assert (ids(first), ids(second), second[0].body) == (["b"], ["a"], b"fresh")

    def test_lanes_whose_names_begin_alike_do_not_mix(self, moves, put):
        put("x1", lane="l")
        put("y1", lane="l1")
        put("x2", lane="l")
        put("y2", lane="l1")
        first, second = take(moves)
        moves.finish(first.lease, Done(), body=b"")

        assert ids(take(moves)) == ["x2"]
        assert second.lease.id == "y1"

    def test_a_lane_costs_nothing_when_it_is_empty(self, moves, put, queue_client, keys):
        for number in range(50):
            put(f"m{number}", lane=f"l{number % 25}")
        assert moves.stats([QUEUE])[0].lanes_held == 25
        run_all(moves)

        assert existing(queue_client, keys) <= REMAINS

    def test_a_holder_whose_body_is_gone_does_not_hold_its_lane_for_ever(self, moves, put, queue_client, keys):
        put("a", lane="l")
        take(moves)
        queue_client.hdel(keys.of(QUEUE, "messages"), "a")
        put("b", lane="l")

        assert ids(take(moves)) == ["b"]

    def test_a_lane_is_kept_through_a_release_and_a_lost_reply(self, moves, put):
        put("a", lane="l")
        put("b", lane="l")
        moves.release(QUEUE, [take(moves)[0].lease], started=True)
        assert ids(take(moves)) == ["a"]
        moves.disown(QUEUE, owner="w1", in_hand=[])

        assert run_all(moves) == ["a", "b"]

    def test_a_message_keeps_its_lane_while_it_waits_in_its_group(self, moves, put):
        gate(moves, "g", limit=0)
        put("a", lane="l", group="g")
        put("b", lane="l")
        assert ids(take(moves)) == []
        gate(moves, "g", limit=1)

        assert run_all(moves) == ["a", "b"]
