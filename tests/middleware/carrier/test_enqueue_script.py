"""Enqueue: a message is in once, where it belongs."""

import pytest
from carrier_world import LONG_MS, QUEUE, depths, existing, ids, run_all, take

from middleware.brokers.redis.scripts import MAX_BATCH
from middleware.brokers.redis.values import NewMessage, Routing
from middleware.outcomes import Done

pytestmark = pytest.mark.redis


class TestEnqueue:
    def test_a_message_is_ready_at_once_and_rings(self, moves, put, queue_client, keys):
        put("a")

        assert depths(moves) == (1, 0, 0, 0, 0)
        assert queue_client.llen(keys.of(QUEUE, "wake")) == 1

    def test_messages_leave_in_the_order_in_which_they_came(self, moves, put):
        for id_ in "abc":
            put(id_)

        assert ids(take(moves)) == ["a", "b", "c"]

    def test_a_repeated_enqueue_adds_nothing(self, moves, put):
        put("a")
        again = moves.enqueue(QUEUE, "a", b"other")

        assert (again.state, depths(moves)) == ("known", (1, 0, 0, 0, 0))

    def test_a_repeated_enqueue_of_a_finished_message_adds_nothing(self, moves, put):
        put("a")
        moves.finish(take(moves)[0].lease, Done(), body=b"")

        repeated = ("a", b"body", 0, "", 0, "", 0)
        reply = moves.scripts.run("enqueue", QUEUE, 1, *repeated, doing="", more_keys=(moves.scripts.keys.ticks,))
        assert reply == [[b"known", b"a"]]
        assert depths(moves) == (0, 0, 0, 0, 0)

    def test_many_messages_ring_once(self, put, queue_client, keys):
        for id_ in "abc":
            put(id_)

        assert queue_client.llen(keys.of(QUEUE, "wake")) == 1

    def test_a_delayed_message_waits(self, moves, put):
        put("a", delay_ms=LONG_MS)
        fetch = moves.fetch(QUEUE, limit=1, lease_ms=LONG_MS, owner="w1")

        assert fetch.messages == []
        assert fetch.next_due_in_ms is not None
        assert 0 < fetch.next_due_in_ms <= LONG_MS

    def test_a_due_message_is_promoted_by_the_next_fetch(self, moves, put, queue_client, keys):
        put("a", delay_ms=LONG_MS)
        queue_client.zadd(keys.of(QUEUE, "delayed"), {"a": 1})

        assert ids(take(moves)) == ["a"]

    def test_names_with_nul_are_refused_because_they_would_tear_the_waiting_list(self, moves):
        with pytest.raises(ValueError, match="message a: lane"):
            moves.enqueue(QUEUE, "a", b"body", options={"lane": "x\0y"})

    def test_many_messages_go_in_slices_and_keep_their_order(self, moves):
        many = [NewMessage(f"m{number:03}", b"") for number in range(MAX_BATCH + 50)]
        enqueued = moves.enqueue_many(QUEUE, many)

        assert [(one.state, one.id) for one in enqueued] == [("new", new.id) for new in many]
        assert run_all(moves) == [new.id for new in many]
        assert moves.stats([QUEUE])[0].counters["enqueued"] == len(many)

    def test_no_messages_are_no_call(self, moves, queue_client, keys):
        assert moves.enqueue_many(QUEUE, []) == []
        assert existing(queue_client, keys) == set()

    def test_what_is_twice_in_one_batch_is_in_once(self, moves):
        unique = Routing(unique_key="k")
        batch = [
            NewMessage("a", b"1"),
            NewMessage("a", b"2"),
            NewMessage("b", b"3", 0, unique),
            NewMessage("c", b"4", 0, unique),
        ]
        enqueued = moves.enqueue_many(QUEUE, batch)

        assert [(one.state, one.id) for one in enqueued] == [
            ("new", "a"),
            ("known", "a"),
            ("new", "b"),
            ("duplicate", "b"),
        ]
        assert [(one.lease.id, one.body) for one in take(moves)] == [("a", b"1"), ("b", b"3")]

    def test_a_nearer_time_rings_and_a_later_one_does_not(self, moves, put, queue_client, keys):
        """A wait that was timed for a later one must end."""
        rings = []
        for id_, delay_ms in [("first", LONG_MS), ("later", 2 * LONG_MS), ("nearer", LONG_MS // 2)]:
            put(id_, delay_ms=delay_ms)
            rings.append(queue_client.delete(keys.of(QUEUE, "wake")))

        assert rings == [1, 0, 1]

    def test_a_slot_of_a_schedule_is_sent_once_by_whoever(self, moves):
        first, second, other = (
            moves.enqueue_many(QUEUE, [NewMessage(id_, b"", tick=tick)])[0]
            for id_, tick in [("a", "sweep@1"), ("b", "sweep@1"), ("c", "sweep@2")]
        )

        assert (first.state, second.state, other.state) == ("new", "known", "new")
        assert ids(take(moves)) == ["a", "c"]

    def test_slots_are_forgotten_after_their_time(self, moves, queue_client, keys):
        moves.enqueue_many(QUEUE, [NewMessage("a", b"", tick="sweep@1")])
        queue_client.zadd(keys.ticks, {"sweep@1": 1})
        moves.enqueue_many(QUEUE, [NewMessage("b", b"", tick="sweep@2")])

        assert queue_client.zrange(keys.ticks, 0, -1) == [b"sweep@2"]

    def test_a_message_that_belongs_nowhere_leaves_no_facts(self, moves, put, queue_client, keys):
        put("a")

        assert existing(queue_client, keys) == {"ready", "messages", "counters", "wake"}
