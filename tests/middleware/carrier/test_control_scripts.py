"""What an operator does with a queue: look, pause, purge."""

import pytest
from carrier_world import LONG_MS, QUEUE, REMAINS, depths, existing, gate, gate_of, ids, take

from middleware.brokers.redis.values import GateChange
from middleware.outcomes import Dead, Done, PutBack, Retry

pytestmark = pytest.mark.redis


def rang(client, keys) -> bool:
    """Whether the bell rang since the last look."""
    return client.delete(keys.of(QUEUE, "wake")) == 1


class TestPause:
    def test_a_paused_queue_hands_out_nothing_and_keeps_the_order(self, moves, put):
        put("a")
        put("b")
        assert moves.pause(QUEUE)
        put("c")

        fetch = moves.fetch(QUEUE, limit=5, lease_ms=LONG_MS, owner="w1")
        assert (fetch.messages, fetch.left, fetch.next_due_in_ms) == ([], 0, None)
        assert moves.resume(QUEUE)
        assert ids(take(moves)) == ["a", "b", "c"]

    def test_a_repeated_pause_or_resume_changes_nothing(self, moves, queue_client, keys):
        assert (moves.pause(QUEUE), moves.pause(QUEUE)) == (True, False)
        assert (moves.resume(QUEUE), moves.resume(QUEUE)) == (True, False)
        assert existing(queue_client, keys) == set()

    def test_what_runs_goes_on_and_comes_back_to_its_place(self, moves, put):
        put("a")
        put("b")
        lease = take(moves, 1)[0].lease
        moves.pause(QUEUE)

        assert moves.finish(lease, Retry(0, "transient"), body=b"again")
        assert take(moves) == []
        moves.resume(QUEUE)
        assert ids(take(moves)) == ["a", "b"]

    def test_it_is_said_for_how_long(self, moves):
        assert moves.stats([QUEUE])[0].paused_for_s is None
        moves.pause(QUEUE)

        assert moves.stats([QUEUE])[0].paused_for_s >= 0

    @pytest.mark.parametrize("options", [{}, {"delay_ms": LONG_MS}, {"group": "g"}])
    def test_a_resume_rings_for_what_is_ready_and_for_what_time_brings(self, moves, put, queue_client, keys, options):
        """A fetch of a paused queue has said that nothing is due: nobody would look at the clock again."""
        gate(moves, "g", next_in_ms=LONG_MS)
        put("a", **options)
        moves.pause(QUEUE)
        take(moves)
        rang(queue_client, keys)
        moves.resume(QUEUE)

        assert rang(queue_client, keys)

    def test_a_resume_of_an_empty_queue_rings_for_nobody(self, moves, queue_client, keys):
        moves.pause(QUEUE)
        moves.resume(QUEUE)

        assert not rang(queue_client, keys)


class TestPurge:
    def test_an_empty_queue_has_nothing_to_drop(self, moves, queue_client, keys):
        assert moves.purge(QUEUE) == 0
        assert existing(queue_client, keys) == set()

    def test_a_purge_drops_what_lives_and_keeps_the_evidence(self, moves, put):
        put("dead")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"old")
        put("a", lane="l")
        put("b", lane="l")
        put("c", delay_ms=LONG_MS)

        assert (moves.purge(QUEUE), moves.purge(QUEUE)) == (3, 0)
        assert depths(moves) == (0, 0, 0, 0, 1)

    def test_nothing_of_what_lived_is_left(self, moves, put, queue_client, keys):
        gate(moves, "g", limit=2)
        for id_ in "abc":
            put(id_, lane=f"lane of {id_}", group="g", unique_key=f"key of {id_}", unique_for=LONG_MS)
        put("d", lane="lane of a")
        put("late", delay_ms=LONG_MS)
        moves.release(QUEUE, [take(moves, 1)[0].lease], started=True)
        moves.cancel(QUEUE, "c")
        moves.purge(QUEUE)

        assert existing(queue_client, keys) <= REMAINS

    def test_gates_and_a_pause_stay_and_no_slot_is_taken(self, moves, put):
        gate(moves, "g", limit=1)
        for id_ in "abc":
            put(id_, group="g")
        moves.cancel(QUEUE, "b")
        take(moves)
        moves.pause(QUEUE)
        moves.purge(QUEUE)

        assert (gate_of(moves, "g").limit, gate_of(moves, "g").admitted, gate_of(moves, "g").waiting) == (1, 0, 0)
        assert moves.stats([QUEUE])[0].unfinished == 0
        assert moves.stats([QUEUE])[0].paused_for_s is not None
        moves.resume(QUEUE)
        put("d", group="g")
        assert ids(take(moves)) == ["d"]

    @pytest.mark.parametrize("outcome", [Done(), Retry(0, "again"), PutBack(LONG_MS, "later"), Dead("given_up")])
    def test_the_end_of_one_that_ran_changes_nothing(self, moves, put, outcome):
        put("a", lane="l", group="g", unique_key="k")
        lease = take(moves)[0].lease
        moves.purge(QUEUE)

        assert not moves.finish(lease, outcome, body=b"late")
        assert depths(moves) == (0, 0, 0, 0, 0)


class TestStats:
    def test_a_queue_that_is_not_there_is_empty(self, moves):
        (stats,) = moves.stats([QUEUE])

        assert (stats.unfinished, stats.dead, stats.counters) == (0, 0, {})
        assert (stats.oldest_ready_age_s, stats.oldest_dead_age_s, stats.next_due_in_ms) == (None, None, None)

    def test_every_state_is_counted_once(self, moves, put):
        gate(moves, "g", limit=1)
        for id_ in ("dies", "runs"):
            put(id_)
        dies, _ = take(moves)
        moves.finish(dies.lease, Dead("given_up"), body=b"")
        put("ready", lane="l")
        put("in lane", lane="l")
        put("also ready", group="g")
        put("in group", group="g")
        put("delayed", delay_ms=LONG_MS)
        (stats,) = moves.stats([QUEUE])

        assert (stats.ready, stats.delayed, stats.in_flight, stats.dead) == (2, 1, 1, 1)
        assert (stats.waiting_in_lane, stats.waiting_in_group, stats.lanes_held) == (1, 1, 1)
        assert stats.unfinished == 6
        assert 0 < stats.next_due_in_ms <= LONG_MS
        assert stats.oldest_dead_age_s >= 0

    def test_the_age_of_the_oldest_is_since_it_was_sent_or_redriven(self, moves):
        now_ms = int(moves.scripts.client.time()[0]) * 1000
        moves.enqueue(QUEUE, "a", b'{"message_timestamp": %d}' % (now_ms - 50_000))
        assert 49 < moves.stats([QUEUE])[0].oldest_ready_age_s < 100

    def test_queues_of_a_call_are_not_mixed(self, moves, put):
        put("a")
        moves.enqueue("other", "b", b"", delay_ms=LONG_MS)

        assert [(one.queue_name, one.ready, one.delayed) for one in moves.stats([QUEUE, "none", "other"])] == [
            (QUEUE, 1, 0),
            ("none", 0, 0),
            ("other", 0, 1),
        ]

    def test_what_happened_is_counted(self, moves, put, queue_client, keys):
        for id_ in "abcd":
            put(id_)
        put("gone")
        moves.cancel(QUEUE, "gone")
        for one, outcome in zip(take(moves), [Done(), Retry(0, "x"), PutBack(0, "x"), Dead("x")], strict=True):
            moves.finish(one.lease, outcome, body=b"")
        moves.release(QUEUE, [one.lease for one in take(moves)], started=False)
        moves.discard(QUEUE, ["d"])
        counters = moves.stats([QUEUE])[0].counters

        assert counters == {
            "enqueued": 5,
            "cancelled": 1,
            "done": 1,
            "retried": 1,
            "snoozed": 1,
            "dead": 1,
            "released": 2,
            "discarded": 1,
        }


class TestLane:
    def test_an_empty_lane_is_held_by_nobody(self, moves, put):
        put("a", lane="other")

        assert moves.lane(QUEUE, "l") is None

    def test_it_says_who_holds_it_since_when_and_how_many_wait(self, moves, put):
        put("a", lane="l")
        before_ms = moves.lane(QUEUE, "l").since_ms
        put("b", lane="l")
        put("c", lane="l1")
        holder = moves.lane(QUEUE, "l")

        assert (holder.id, holder.is_dead, holder.waiting, holder.since_ms) == ("a", False, 1, before_ms)

    def test_a_dead_letter_that_holds_it_is_called_so(self, moves, put):
        put("a", lane="l", dead_holds_lane=True)
        put("b", lane="l")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"")
        holder = moves.lane(QUEUE, "l")

        assert (holder.id, holder.is_dead, holder.waiting) == ("a", True, 1)


class TestGroups:
    def test_a_queue_without_gates_has_none(self, moves, put):
        put("a", group="g")

        assert moves.gates(QUEUE) == []

    def test_it_says_how_every_gate_stands(self, moves, put):
        moves.set_gate(QUEUE, "g", GateChange(limit=2, interval_ms=0.5, burst=3, next_in_ms=0, paused=None))
        moves.set_gate(QUEUE, "f", GateChange(limit=-1, next_in_ms=LONG_MS, paused=True))
        for id_ in "abcd":
            put(id_, group="g")
        take(moves, 1)
        f, g = moves.gates(QUEUE)

        assert (g.limit, g.interval_ms, g.burst, g.paused_at_ms) == (2, 0.5, 3, None)
        assert (g.admitted, g.running, g.waiting) == (2, 1, 2)
        assert (f.group, f.limit, f.admitted, f.waiting) == ("f", None, 0, 0)
        assert 0 < f.next_in_ms <= LONG_MS
        assert f.paused_at_ms > 0
