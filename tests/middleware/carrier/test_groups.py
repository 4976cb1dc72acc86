"""Groups: so many of a group are ready or running, from when on and how fast."""

import pytest
from carrier_world import CARE, LONG_MS, QUEUE, existing, gate, gate_of, ids, pass_time, run_all, take

from middleware.brokers.redis.values import GateChange, NewMessage, Routing
from middleware.outcomes import Done, PutBack, Retry

pytestmark = pytest.mark.redis


def waits(moves) -> int:
    return moves.stats([QUEUE])[0].waiting_in_group


class TestGate:
    @pytest.mark.parametrize("group", ["", "x\0y"])
    def test_a_gate_needs_the_name_of_a_group(self, moves, group):
        with pytest.raises(ValueError, match="name of a group"):
            moves.set_gate(QUEUE, group, GateChange(limit=1))

    def test_a_limit_admits_so_many_at_a_time_and_in_order(self, moves, put):
        gate(moves, "g", limit=2)
        for id_ in "abcde":
            put(id_, group="g")

        assert (gate_of(moves, "g").admitted, waits(moves)) == (2, 3)
        first, second = take(moves)
        assert (first.lease.id, second.lease.id, take(moves)) == ("a", "b", [])
        moves.finish(second.lease, Done(), body=b"")
        assert ids(take(moves)) == ["c"]

    def test_zero_parks_a_group_and_one_lets_one_try(self, moves, put):
        gate(moves, "g", limit=0)
        for id_ in "abc":
            put(id_, group="g")
        assert take(moves) == []
        gate(moves, "g", limit=1)

        (canary,) = take(moves)
        assert (canary.lease.id, take(moves)) == ("a", [])
        gate(moves, "g", limit=-1)
        assert ids(take(moves)) == ["b", "c"]

    def test_what_is_not_said_stays_as_it_was(self, moves, put):
        gate(moves, "g", limit=2, interval_ms=1000, burst=5, next_in_ms=LONG_MS)
        gate(moves, "g", paused=True)
        gate(moves, "g")
        found = gate_of(moves, "g")

        assert (found.limit, found.interval_ms, found.burst) == (2, 1000, 5)
        assert found.paused_at_ms > 0
        assert found.next_in_ms > 0
        gate(moves, "g", paused=False)
        assert gate_of(moves, "g").paused_at_ms is None

    def test_a_repeated_pause_keeps_its_first_time(self, moves, queue_client, keys):
        gate(moves, "g", paused=True)
        pass_time(queue_client, keys, "g", 0)
        since_ms = gate_of(moves, "g").paused_at_ms
        gate(moves, "g", paused=True)

        assert gate_of(moves, "g").paused_at_ms == since_ms

    def test_an_open_gate_nobody_waits_at_is_not_kept(self, moves, queue_client, keys):
        gate(moves, "g", limit=1)
        gate(moves, "g", limit=-1)

        assert existing(queue_client, keys) == set()

    def test_a_pause_keeps_the_order_of_what_was_ready_and_of_what_comes(self, moves, put):
        for id_ in "abc":
            put(id_, group="g")
        gate(moves, "g", paused=True)
        put("d", group="g")
        assert (take(moves), waits(moves)) == ([], 4)
        put("e", group="g")
        gate(moves, "g", paused=False)

        assert run_all(moves) == ["a", "b", "c", "d", "e"]

    def test_what_came_back_goes_before_what_never_ran(self, moves, put):
        for id_ in "abcd":
            put(id_, group="g")
        running = take(moves, 2)
        gate(moves, "g", paused=True)
        take(moves)
        for one in reversed(running):
            moves.finish(one.lease, Retry(0, "transient"), body=b"again")
        gate(moves, "g", paused=False)

        assert run_all(moves) == ["a", "b", "c", "d"]

    def test_a_lowered_limit_counts_those_that_run(self, moves, put):
        for id_ in "abc":
            put(id_, group="g")
        first = take(moves, 1)[0].lease
        gate(moves, "g", limit=1)

        assert (take(moves), gate_of(moves, "g").admitted) == ([], 1)
        moves.finish(first, Done(), body=b"")
        assert ids(take(moves)) == ["b"]

    def test_one_group_never_holds_up_another(self, moves, put):
        gate(moves, "g", limit=1)
        many = [NewMessage(f"g{number}", b"", routing=Routing(group="g")) for number in range(500)]
        moves.enqueue_many(QUEUE, many)
        put("other", group="h")
        put("free")

        assert ids(take(moves, 3)) == ["g0", "other", "free"]

    def test_many_who_wait_are_let_in_step_by_step(self, moves, put):
        gate(moves, "g", limit=0)
        many = [NewMessage(f"m{number:03}", b"", routing=Routing(group="g")) for number in range(200)]
        moves.enqueue_many(QUEUE, many)
        gate(moves, "g", limit=-1)

        # One call does so much; what is left is due, and the next fetch goes on with it.
        assert moves.stats([QUEUE])[0].ready == 64
        assert moves.stats([QUEUE])[0].next_due_in_ms == 0
        assert run_all(moves) == [new.id for new in many]
        assert moves.gates(QUEUE) == []


class TestTimeOfAGate:
    def test_nobody_of_a_group_passes_before_the_time_of_its_gate(self, moves, put, queue_client, keys):
        gate(moves, "g", next_in_ms=LONG_MS)
        put("a", group="g")
        put("free")

        assert ids(take(moves)) == ["free"]
        assert 0 < moves.stats([QUEUE])[0].next_due_in_ms <= LONG_MS
        pass_time(queue_client, keys, "g", LONG_MS)
        assert ids(take(moves)) == ["a"]

    @pytest.mark.parametrize("outcome", [Retry, PutBack])
    def test_an_outcome_may_hold_its_group_off(self, moves, put, queue_client, keys, outcome):
        put("a", group="g")
        moves.finish(take(moves)[0].lease, outcome(0, "throttled", group_for_ms=LONG_MS), body=b"again")
        put("b", group="g")
        put("other", group="h")

        assert ids(take(moves)) == ["other"]
        pass_time(queue_client, keys, "g", LONG_MS)
        assert ids(take(moves)) == ["a", "b"]

    def test_a_shorter_hold_does_not_shorten_a_longer_one(self, moves, put):
        put("a", group="g")
        put("b", group="g")
        first, second = take(moves)
        moves.finish(first.lease, PutBack(0, "throttled", group_for_ms=LONG_MS), body=b"")
        moves.finish(second.lease, PutBack(0, "throttled", group_for_ms=1), body=b"")

        assert gate_of(moves, "g").next_in_ms > LONG_MS / 2

    def test_what_is_ready_already_does_not_start_either(self, moves, put, queue_client, keys):
        """A provider's throttle is for whoever comes next; an open group may have thousands among the ready ones."""
        for id_ in "abcd":
            put(id_, group="g")
        moves.finish(take(moves, 1)[0].lease, PutBack(0, "throttled", group_for_ms=LONG_MS), body=b"again")

        assert ids(take(moves)) == []
        assert (waits(moves), gate_of(moves, "g").admitted) == (4, 0)
        pass_time(queue_client, keys, "g", LONG_MS)
        assert run_all(moves) == ["a", "b", "c", "d"]

    def test_what_was_taken_out_of_ready_comes_back_by_itself(self, moves, put, queue_client, keys):
        """Nobody else waits, no slot is left: time alone brings it back."""
        put("a", group="g")
        gate(moves, "g", next_in_ms=LONG_MS)

        assert ids(take(moves)) == []
        assert 0 < moves.stats([QUEUE])[0].next_due_in_ms <= LONG_MS
        pass_time(queue_client, keys, "g", LONG_MS)
        moves.tend([QUEUE], **CARE)
        assert ids(take(moves)) == ["a"]

    def test_a_gate_goes_when_its_time_has_come_and_nobody_waits(self, moves, put, queue_client, keys):
        """Else every throttle of a provider would leave one behind, to be looked at by every message of its group."""
        put("a", group="g")
        moves.finish(take(moves)[0].lease, PutBack(0, "throttled", group_for_ms=LONG_MS), body=b"")
        assert [one.group for one in moves.gates(QUEUE)] == ["g"]
        pass_time(queue_client, keys, "g", LONG_MS)

        assert run_all(moves) == ["a"]
        assert moves.gates(QUEUE) == []


class TestPaceOfAGate:
    def test_what_did_nothing_with_its_turn_gives_it_back(self, moves, put):
        gate(moves, "g", interval_ms=LONG_MS, burst=2)
        for id_ in "abc":
            put(id_, group="g")
        first, second = take(moves)
        moves.finish(first.lease, PutBack(LONG_MS, "not_now", unspent=True), body=b"again")

        assert ids(take(moves)) == ["c"]
        moves.finish(second.lease, PutBack(LONG_MS, "throttled"), body=b"again")
        put("d", group="g")
        assert ids(take(moves)) == []

    def test_what_a_gate_sends_back_to_wait_pays_its_pace_once(self, moves, put, queue_client, keys):
        gate(moves, "g", interval_ms=LONG_MS, burst=1)
        put("a", group="g")
        gate(moves, "g", next_in_ms=LONG_MS)
        assert ids(take(moves)) == []
        pass_time(queue_client, keys, "g", LONG_MS)

        assert ids(take(moves)) == ["a"]

    def test_an_uneven_pace_stays_within_its_bounds(self, moves, put, queue_client, keys):
        gate(moves, "g", interval_ms=100, burst=1, jitter=0.5)
        intervals_ms = []
        for number in range(60):
            put(f"m{number}", group="g")
            (one,) = take(moves)
            moves.finish(one.lease, Done(), body=b"")
            put(f"n{number}", group="g")
            intervals_ms.append(moves.stats([QUEUE])[0].next_due_in_ms)
            pass_time(queue_client, keys, "g", 1_000)
            run_all(moves)
            pass_time(queue_client, keys, "g", 1_000)

        assert all(0 < interval <= 150 for interval in intervals_ms)
        assert max(intervals_ms) - min(intervals_ms) > 30
