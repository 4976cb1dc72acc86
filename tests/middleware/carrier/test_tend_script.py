"""Tend: what must happen without anybody asking."""

from dataclasses import replace

import pytest
from carrier_world import CARE, LONG_MS, MEMORY, QUEUE, depths, existing, expire, ids, take

from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Transitions
from middleware.outcomes import Dead, Done

pytestmark = pytest.mark.redis


class TestTend:
    def test_nothing_to_do_is_fine(self, moves):
        tended = moves.tend([QUEUE, "other"], **CARE)

        assert [(one.queue_name, one.reclaimed, one.buried, one.unannounced) for one in tended] == [
            (QUEUE, 0, 0, 0),
            ("other", 0, 0, 0),
        ]

    def test_messages_of_a_dead_worker_come_back_to_the_head_in_order(self, moves, put, queue_client, keys):
        for id_ in "abcd":
            put(id_)
        for number, one in enumerate(take(moves, 3)):
            member = f"{one.lease.id}\0{one.lease.token}"
            assert queue_client.zadd(keys.of(QUEUE, "leases"), {member: number + 1}, xx=True, ch=True) == 1

        assert moves.tend([QUEUE], **CARE)[0].reclaimed == 3
        assert ids(take(moves)) == ["a", "b", "c", "d"]

    def test_a_message_that_kills_its_workers_becomes_a_dead_letter(self, moves, put, queue_client, keys):
        put("a")
        for _ in range(CARE["max_deliveries"]):
            take(moves)
            expire(queue_client, keys, "a")
            assert moves.tend([QUEUE], **CARE)[0].buried == 0
        take(moves)
        expire(queue_client, keys, "a")

        tended = moves.tend([QUEUE], **CARE)[0]
        assert (tended.buried, tended.unannounced) == (1, 1)
        assert moves.announce(QUEUE, limit=1, hold_ms=1)[0].record["reason"] == "crash_loop"

    def test_every_queue_of_the_call_is_tended(self, moves, queue_client, keys):
        moves.enqueue("other", "z", b"body")
        moves.fetch("other", limit=1, lease_ms=0, owner="w1")

        assert [one.reclaimed for one in moves.tend([QUEUE, "other"], **CARE)] == [0, 1]

    def test_dead_letters_are_kept_by_age_and_number(self, moves, put, queue_client, keys):
        for id_ in "abc":
            put(id_)
        for one in take(moves):
            moves.finish(one.lease, Dead("given_up"), body=b"")
        queue_client.zadd(keys.of(QUEUE, "dead"), {"a": 1}, xx=True)

        strict = Transitions(moves.scripts, memory=replace(MEMORY, dead_max=1))
        assert strict.tend([QUEUE], **CARE)[0].dropped == 2
        assert depths(moves)[-1] == 1
        assert queue_client.hlen(keys.of(QUEUE, "letters")) == 1

    def test_an_enqueue_repeated_after_its_message_died_of_crashes_adds_nothing(self, moves, put, queue_client, keys):
        put("a")
        for _ in range(CARE["max_deliveries"] + 1):
            take(moves)
            expire(queue_client, keys, "a")
            moves.tend([QUEUE], **CARE)

        reply = moves.scripts.run("enqueue", QUEUE, 1, "a", b"", 0, "", 0, "", 0, doing="", more_keys=(keys.ticks,))
        assert reply == [[b"known", b"a"]]
        assert depths(moves) == (0, 0, 0, 0, 1)

    def test_ids_of_ended_messages_are_forgotten_in_turns(self, moves, put, queue_client, keys):
        """Two sets take turns, so that an id is known for at least one period and at most two."""
        forgetful = Transitions(moves.scripts, memory=replace(MEMORY, remember_ms=0))
        put("a")
        moves.finish(take(moves)[0].lease, Done(), body=b"")
        moves.tend([QUEUE], **CARE)
        assert existing(queue_client, keys) & {"finished", "finished_before"} == {"finished_before"}
        moves.tend([QUEUE], **CARE)
        assert existing(queue_client, keys) & {"finished", "finished_before"} == {"finished_before"}

        put("b")
        moves.finish(take(moves)[0].lease, Done(), body=b"")
        forgetful.tend([QUEUE], **CARE)
        assert queue_client.smembers(keys.of(QUEUE, "finished_before")) == {b"b"}
        forgetful.tend([QUEUE], **CARE)
        assert existing(queue_client, keys) & {"finished", "finished_before"} == set()

    def test_a_message_whose_body_is_gone_gives_up_all_it_had(self, moves, put, queue_client, keys):
        put("a", lane="l", group="g", unique_key="k")
        put("b", lane="l")
        take(moves)
        expire(queue_client, keys, "a")
        queue_client.hdel(keys.of(QUEUE, "messages"), "a")

        assert (moves.tend([QUEUE], **CARE)[0].reclaimed, ids(take(moves))) == (0, ["b"])
        assert existing(queue_client, keys) & {"groups", "slots", "unique", "about", "deliveries"} == {"about"}

    def test_it_says_what_waits_and_when_time_brings_something(self, moves, put):
        put("dies")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"")
        put("a")
        put("late", delay_ms=LONG_MS)
        tended = moves.tend([QUEUE], **CARE)[0]

        assert (tended.ready, tended.unannounced) == (1, 1)
        assert 0 < tended.next_due_in_ms <= LONG_MS


class TestInboxes:
    """What a stock producer or worker leaves in its own layout."""

    def test_a_delayed_message_is_taken_over_with_its_time(self, moves, queue_client, keys):
        far_ms = int(queue_client.time()[0] * 1000) + LONG_MS
        for id_, body in [
            ("due", b'{"options": {"eta": 1}}'),
            ("far", b'{"options": {"eta": %d}}' % far_ms),
            ("odd", b"\xff"),
        ]:
            queue_client.rpush(keys.of(QUEUE, "stock_delayed"), id_)
            queue_client.hset(keys.of(QUEUE, "stock_delayed_messages"), id_, body)
        queue_client.rpush(keys.of(QUEUE, "stock_delayed"), "without a body")
        moves.tend([QUEUE], **CARE)

        assert sorted(ids(take(moves))) == ["due", "odd"]
        assert queue_client.zscore(keys.of(QUEUE, "delayed"), "far") == far_ms
        assert existing(queue_client, keys) & {"stock_delayed", "stock_delayed_messages"} == set()

    def test_one_that_is_there_already_is_not_doubled(self, moves, put, queue_client, keys):
        put("a")
        queue_client.rpush(keys.of(QUEUE, "stock_delayed"), "a")
        queue_client.hset(keys.of(QUEUE, "stock_delayed_messages"), "a", b"{}")
        moves.tend([QUEUE], **CARE)

        assert (ids(take(moves)), moves.stats([QUEUE])[0].unfinished) == (["a"], 1)

    def test_what_a_stock_worker_rejected_becomes_a_dead_letter(self, moves, queue_client, keys):
        queue_client.zadd(keys.of(QUEUE, "stock_dead"), {"a": 1, "without a body": 2})
        queue_client.hset(keys.of(QUEUE, "stock_dead_messages"), "a", b"\xff raw")
        tended = moves.tend([QUEUE], **CARE)[0]

        (raw,) = moves.announce(QUEUE, limit=5, hold_ms=0)
        assert (tended.unannounced, raw.id, raw.body, raw.record["reason"]) == (1, "a", b"\xff raw", "rejected")
        assert existing(queue_client, keys) & {"stock_dead", "stock_dead_messages"} == set()

    def test_where_the_names_are_stocks_own_its_letters_are_left_alone(self, queue_client):
        """The bare class shares stock's names: what lies there is no inbox."""
        keys = Keys("test:carrier", dead=".XQ")
        moves = Transitions(Scripts(queue_client, keys), memory=replace(MEMORY, dead_max_age_ms=10**15))
        moves.enqueue(QUEUE, "ours", b"x")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")
        queue_client.zadd(keys.of(QUEUE, "dead"), {"theirs": 1})
        queue_client.hset(keys.of(QUEUE, "bodies"), "theirs", b"raw")

        assert moves.tend([QUEUE], **CARE)[0].unannounced == 1
        assert queue_client.zcard("test:carrier:q.XQ") == 2
        assert queue_client.hgetall("test:carrier:q.XQ.msgs") == {b"ours": b"last", b"theirs": b"raw"}
