"""Places in a group: how fast they are given, and that none is lost or given twice."""

import pytest
from carrier_world import CARE, LONG_MS, QUEUE, existing, expire, gate, gate_of, ids, pass_time, run_all, take

from middleware.outcomes import Dead, Done, PutBack, Retry

pytestmark = pytest.mark.redis


class TestPace:
    def test_one_passes_per_interval(self, moves, put, queue_client, keys):
        gate(moves, "g", interval_ms=10_000)
        for id_ in "abc":
            put(id_, group="g")

        for id_ in "abc":
            assert (ids(take(moves)), ids(take(moves))) == ([id_], [])
            pass_time(queue_client, keys, "g", 10_000)

    def test_a_burst_passes_at_once_and_is_whole_again_after_its_time(self, moves, put, queue_client, keys):
        gate(moves, "g", interval_ms=10_000, burst=3)
        for number in range(9):
            put(f"m{number}", group="g")

        assert ids(take(moves)) == ["m0", "m1", "m2"]
        pass_time(queue_client, keys, "g", 10_000)
        assert ids(take(moves)) == ["m3"]
        pass_time(queue_client, keys, "g", 30_000)
        assert ids(take(moves)) == ["m4", "m5", "m6"]

    def test_a_debt_at_the_old_pace_is_not_owed_at_a_new_one(self, moves, put):
        gate(moves, "g", interval_ms=LONG_MS * 60)
        put("a", group="g")
        put("b", group="g")
        gate(moves, "g", interval_ms=1_000)

        assert moves.stats([QUEUE])[0].next_due_in_ms <= 1_000

    def test_a_group_at_its_pace_still_keeps_its_limit(self, moves, put, queue_client, keys):
        gate(moves, "g", interval_ms=10_000, burst=5, limit=1)
        for id_ in "abc":
            put(id_, group="g")

        assert ids(take(moves)) == ["a"]
        pass_time(queue_client, keys, "g", 50_000)
        assert ids(take(moves)) == []


class TestSlots:
    """However a message ends or comes back, the place in its group is another's, once."""

    @pytest.mark.parametrize(
        "outcome",
        [
            Done(),
            Retry(LONG_MS, "x"),
            Retry(0, "x"),
            PutBack(LONG_MS, "x"),
            PutBack(0, "x"),
            PutBack(0, "x", yields=True),
            Dead("x"),
        ],
        ids=repr,
    )
    def test_an_outcome_gives_the_place_up(self, moves, put, outcome):
        gate(moves, "g", limit=1)
        put("a", group="g")
        moves.finish(take(moves)[0].lease, outcome, body=b"")
        put("b", group="g")

        at_once = isinstance(outcome, Retry | PutBack) and outcome.delay_ms == 0
        assert ids(take(moves)) == (["a"] if at_once else ["b"])
        assert (gate_of(moves, "g").admitted, gate_of(moves, "g").running) == (1, 1)

    @pytest.mark.parametrize("way", ["release", "release started", "disown", "expire"])
    def test_what_is_given_back_keeps_its_place(self, moves, put, queue_client, keys, way):
        gate(moves, "g", limit=1)
        put("a", group="g")
        put("b", group="g")
        lease = take(moves)[0].lease
        if way == "disown":
            moves.disown(QUEUE, owner="w1", in_hand=[])
        elif way == "expire":
            expire(queue_client, keys, "a")
            moves.tend([QUEUE], **CARE)
        else:
            moves.release(QUEUE, [lease], started=way == "release started")

        assert (gate_of(moves, "g").admitted, gate_of(moves, "g").running) == (1, 0)
        assert run_all(moves) == ["a", "b"]

    def test_a_crash_loop_gives_the_place_up(self, moves, put, queue_client, keys):
        gate(moves, "g", limit=1)
        put("a", group="g")
        put("b", group="g")
        for _ in range(CARE["max_deliveries"] + 1):
            take(moves)
            expire(queue_client, keys, "a")
            moves.tend([QUEUE], **CARE)

        assert run_all(moves) == ["b"]
        assert existing(queue_client, keys) & {"groups", "slots"} == set()


class TestComingBack:
    @pytest.mark.parametrize("outcome", [Retry(0, "transient"), PutBack(0, "next_part")])
    def test_what_comes_back_at_once_goes_before_those_who_wait(self, moves, put, outcome):
        """With one place in the group, its own end must not let another one in before it."""
        gate(moves, "g", limit=1)
        put("a", group="g")
        put("b", group="g")
        moves.finish(take(moves)[0].lease, outcome, body=b"again")

        assert run_all(moves) == ["a", "b"]

    def test_what_yields_lets_the_others_go_first(self, moves, put):
        gate(moves, "g", limit=1)
        put("a", group="g")
        put("b", group="g")
        moves.finish(take(moves)[0].lease, PutBack(0, "older_first", yields=True), body=b"again")

        assert run_all(moves) == ["b", "a"]
