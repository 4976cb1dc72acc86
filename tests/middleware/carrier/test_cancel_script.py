"""Cancel: a message that nobody runs is taken back wherever it stands, and gives up all that it had."""

import pytest
from carrier_world import LONG_MS, QUEUE, depths, existing, gate, gate_of, ids, make_due, run_all, take

from middleware.brokers.redis.values import NewMessage, Routing
from middleware.outcomes import Dead, Done, PutBack, Retry

pytestmark = pytest.mark.redis


def waiting(moves) -> tuple[int, int, int, int]:
    stats = moves.stats([QUEUE])[0]
    return stats.ready, stats.delayed, stats.waiting_in_lane, stats.waiting_in_group


class TestCancel:
    def test_one_that_nobody_knows_is_missing(self, moves, queue_client, keys):
        assert moves.cancel(QUEUE, "ghost") == "missing"
        assert existing(queue_client, keys) == set()

    def test_one_that_is_cancelled_twice_is_missing(self, moves, put):
        put("a")

        assert (moves.cancel(QUEUE, "a"), moves.cancel(QUEUE, "a")) == ("cancelled", "missing")
        assert moves.stats([QUEUE])[0].counters["cancelled"] == 1

    def test_one_that_runs_goes_on(self, moves, put):
        put("a")
        lease = take(moves)[0].lease

        assert moves.cancel(QUEUE, "a") == "running"
        assert moves.finish(lease, Done(), body=b"")

    def test_a_dead_letter_is_missing(self, moves, put):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"")

        assert moves.cancel(QUEUE, "a") == "missing"
        assert depths(moves) == (0, 0, 0, 0, 1)

    def test_a_ready_one_is_passed_over_and_the_others_keep_their_order(self, moves, put):
        for id_ in "abc":
            put(id_)
        moves.cancel(QUEUE, "b")

        assert waiting(moves) == (2, 0, 0, 0)
        assert run_all(moves) == ["a", "c"]

    def test_a_delayed_one_never_comes(self, moves, put):
        put("a", delay_ms=LONG_MS)
        moves.cancel(QUEUE, "a")

        assert waiting(moves) == (0, 0, 0, 0)
        assert moves.stats([QUEUE])[0].next_due_in_ms is None

    def test_one_that_waits_for_its_lane_is_passed_over(self, moves, put):
        for id_ in "abc":
            put(id_, lane="l")
        moves.cancel(QUEUE, "b")

        assert waiting(moves) == (1, 0, 1, 0)
        assert run_all(moves) == ["a", "c"]

    def test_one_that_waits_in_its_group_is_passed_over_and_takes_no_place(self, moves, put):
        gate(moves, "g", limit=1)
        for id_ in "abc":
            put(id_, group="g")
        moves.cancel(QUEUE, "b")

        assert waiting(moves) == (1, 0, 0, 1)
        assert run_all(moves) == ["a", "c"]

    def test_the_holder_of_a_lane_hands_it_on(self, moves, put):
        put("a", lane="l")
        put("b", lane="l")
        moves.cancel(QUEUE, "a")

        assert ids(take(moves)) == ["b"]

    def test_a_delayed_holder_of_a_lane_hands_it_on(self, moves, put):
        put("a", lane="l")
        put("b", lane="l")
        moves.finish(take(moves)[0].lease, Retry(LONG_MS, "transient"), body=b"")
        moves.cancel(QUEUE, "a")

        assert ids(take(moves)) == ["b"]

    @pytest.mark.parametrize("group", [None, "other"])
    def test_the_holder_of_a_lane_hands_it_on_from_behind_a_closed_gate(self, moves, put, group):
        """Its gate may never open, and nobody may ever come to that lane again: the next one would wait for ever."""
        gate(moves, "g", paused=True)
        put("a", lane="l", group="g")
        put("b", lane="l", group=group)
        assert ids(take(moves)) == []
        moves.cancel(QUEUE, "a")

        assert waiting(moves) == (1, 0, 0, 0)
        assert ids(take(moves)) == ["b"]

    def test_the_slot_of_a_ready_one_goes_to_the_next_of_its_group(self, moves, put):
        gate(moves, "g", limit=1)
        put("a", group="g")
        put("b", group="g")
        moves.cancel(QUEUE, "a")

        assert (gate_of(moves, "g").admitted, waiting(moves)) == (1, (1, 0, 0, 0))
        assert ids(take(moves)) == ["b"]

    @pytest.mark.parametrize(
        "place", [{}, {"delay_ms": LONG_MS}, {"lane": "l"}, {"group": "g"}, {"lane": "m", "group": "g"}]
    )
    def test_its_unique_key_is_free_wherever_it_stood(self, moves, put, place):
        gate(moves, "g", limit=0)
        put("holder", lane="l")
        put("a", unique_key="k", **place)
        assert moves.cancel(QUEUE, "a") == "cancelled"

        assert put("b", unique_key="k").state == "new"
        assert put("c", unique_key="k").id == "b"

    def test_depths_are_right_though_nobody_knows_where_one_without_facts_stood(self, moves, put):
        """A message that waits has its facts in its place, one that belongs nowhere has none: by its id they are the same."""
        put("holder", lane="l")
        put("waits", lane="l")
        put("plain")
        moves.cancel(QUEUE, "plain")
        assert moves.stats([QUEUE])[0].unfinished == 2

        (fetched,) = take(moves)
        assert waiting(moves) == (0, 0, 1, 0)
        moves.finish(fetched.lease, Retry(LONG_MS, "transient"), body=b"")
        assert waiting(moves) == (0, 1, 1, 0)

    def test_nothing_of_it_is_left_when_the_queue_is_drained(self, moves, put, queue_client, keys):
        gate(moves, "g", limit=1)
        for number in range(6):
            put(f"m{number}", lane="l" if number % 2 else None, group="g", unique_key=f"k{number}")
        put("late", lane="l", delay_ms=LONG_MS)
        for id_ in ("m0", "m1", "m4", "m5"):
            assert moves.cancel(QUEUE, id_) == "cancelled"
        make_due(queue_client, keys, "late")

        assert run_all(moves) == ["m2", "m3", "late"]
        assert existing(queue_client, keys) == {"finished", "counters", "wake", "gates"}

    def test_hundreds_of_cancelled_ones_in_a_row_are_passed_over_in_steps(self, moves, put, queue_client, keys):
        put("first", lane="l")
        many = [NewMessage(f"m{number:03}", b"", routing=Routing(lane="l")) for number in range(300)]
        moves.enqueue_many(QUEUE, many)
        put("last", lane="l")
        for new in many:
            assert moves.cancel(QUEUE, new.id) == "cancelled"
        moves.finish(take(moves)[0].lease, Done(), body=b"")

        # One call does not pass them all; what is left goes on with the next, as if it were due.
        assert queue_client.zcard(keys.of(QUEUE, "lane_waiting")) > 1
        assert ids(take(moves)) == ["last"]
        assert moves.stats([QUEUE])[0].unfinished == 1
        assert not queue_client.exists(keys.of(QUEUE, "control"))

    def test_one_that_does_not_hold_its_lane_hands_nothing_on(self, moves, put):
        for id_ in "abc":
            put(id_, lane="l")
        moves.finish(take(moves)[0].lease, PutBack(LONG_MS, "older_first", yields=True), body=b"")
        assert ids(take(moves)) == ["b"]
        moves.cancel(QUEUE, "a")

        assert ids(take(moves)) == []
        assert moves.lane(QUEUE, "l").id == "b"

    def test_its_crashes_are_forgotten(self, moves, put, queue_client, keys):
        put("a")
        moves.release(QUEUE, [take(moves)[0].lease], started=True)
        assert queue_client.exists(keys.of(QUEUE, "deliveries"))
        moves.cancel(QUEUE, "a")

        assert not queue_client.exists(keys.of(QUEUE, "deliveries"))
