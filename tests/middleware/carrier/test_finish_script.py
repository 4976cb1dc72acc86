"""Finish: an outcome is applied once, by whoever has the lease."""

import json

import pytest
from carrier_world import (
    CARE,
    LONG_MS,
    QUEUE,
    depths,
    expire,
    ids,
    take,
)

from middleware.brokers.redis.keys import QUEUE_KEYS
from middleware.brokers.redis.transitions import Settlement
from middleware.brokers.redis.values import Lease
from middleware.outcomes import Dead, Done, PutBack, Retry

pytestmark = pytest.mark.redis


class TestFinish:
    def test_done_leaves_nothing_behind_but_the_tombstones(self, moves, put, queue_client, keys):
        moves.enqueue(QUEUE, "a", b"", options={"lane": "l", "group": "g", "unique_key": "k"})
        assert moves.finish(take(moves)[0].lease, Done(), body=b"")

        kept = {name for name, *_ in QUEUE_KEYS if queue_client.exists(keys.of(QUEUE, name))}
        assert kept == {"finished", "counters", "wake"}

    def test_a_repeated_finish_changes_nothing_and_is_not_taken_for_a_robbed_one(self, moves, put):
        put("a")
        lease = take(moves)[0].lease

        calls = [moves.finish_call(QUEUE, [Settlement(lease, Done(), b"")], repeated=again) for again in (False, True)]
        assert moves.scripts.replies(calls) == [[1], [0]]
        counters = moves.stats([QUEUE])[0].counters
        assert (counters["done"], counters.get("stale_finishes")) == (1, None)

    @pytest.mark.parametrize("outcome", [Done(), Retry(0, "again"), PutBack(0, "later"), Dead("given_up")])
    def test_a_robbed_worker_changes_nothing_and_is_counted(self, moves, put, queue_client, keys, outcome):
        put("a")
        robbed = take(moves)[0].lease
        expire(queue_client, keys, "a")
        moves.tend([QUEUE], **CARE)
        owner = take(moves)[0].lease

        assert not moves.finish(robbed, outcome, body=b"late")
        assert moves.stats([QUEUE])[0].counters["stale_finishes"] == 1
        assert depths(moves) == (0, 0, 1, 0, 0)
        assert moves.finish(owner, Done(), body=b"")

    def test_a_lease_nobody_ever_had_is_refused(self, moves):
        assert not moves.finish(Lease(QUEUE, "ghost", "w9.1"), Done(), body=b"")

    def test_a_retry_comes_back_with_what_it_learnt(self, moves, put):
        put("a")
        moves.finish(take(moves)[0].lease, Retry(0, "transient"), body=b"learnt")

        again = take(moves)[0]
        assert (again.lease.id, again.body, again.deliveries) == ("a", b"learnt", 1)

    def test_a_retry_without_delay_goes_to_the_head(self, moves, put):
        put("a")
        put("b")
        moves.finish(take(moves, 1)[0].lease, Retry(0, "transient"), body=b"")

        assert ids(take(moves)) == ["a", "b"]

    @pytest.mark.parametrize("outcome", [Retry(LONG_MS, "transient"), PutBack(LONG_MS, "throttled")])
    def test_a_delayed_outcome_waits_in_redis(self, moves, put, outcome):
        put("a")
        moves.finish(take(moves)[0].lease, outcome, body=b"next")

        assert depths(moves) == (0, 1, 0, 0, 0)

    def test_a_dead_letter_keeps_its_evidence_and_its_bytes(self, moves, put, queue_client, keys):
        put("a", lane="l")
        moves.finish(take(moves)[0].lease, Dead("not_found", {"attempts": 3}), body=b"\xff last bytes")

        letter = json.loads(queue_client.hget(keys.of(QUEUE, "letters"), "a"))
        assert (letter["reason"], letter["evidence"], letter["about"]["lane"]) == ("not_found", {"attempts": 3}, "l")
        assert queue_client.hget(keys.of(QUEUE, "bodies"), "a") == b"\xff last bytes"
        assert depths(moves) == (0, 0, 0, 0, 1)

    def test_every_outcome_of_a_batch_is_applied_by_itself(self, moves, put):
        for id_ in "abc":
            put(id_)
        a, b, c = (one.lease for one in take(moves))
        stranger = Lease(QUEUE, "c", "w9.1")
        batch = [
            Settlement(a, Done(), b"", is_plain=True),
            Settlement(stranger, Done(), b""),
            Settlement(b, Dead("x"), b""),
        ]

        assert moves.scripts.replies([moves.finish_call(QUEUE, batch)]) == [[1, 0, 1]]
        assert depths(moves) == (0, 0, 1, 0, 1)
        assert moves.finish(c, Done(), body=b"")

    def test_evidence_that_cannot_be_read_costs_the_story_and_not_the_message(self, moves, put, queue_client, keys):
        put("a", lane="l")
        lease = take(moves)[0].lease
        fields = (lease.id, lease.token, "dead", 0, 0, b"last", "given_up", "", "{torn")
        moves.scripts.run("finish", QUEUE, 0, LONG_MS, 10, *fields, doing="")

        (raw,) = moves.announce(QUEUE, limit=1, hold_ms=1)
        assert (raw.record["reason"], raw.record["evidence"], raw.body) == ("given_up", {}, b"last")
        assert put("b", lane="l").state == "new"
        assert ids(take(moves)) == ["b"]

    def test_an_outcome_forgets_the_crashes_before_it(self, moves, put, queue_client, keys):
        put("a")
        moves.release(QUEUE, [take(moves)[0].lease], started=True)
        (again,) = take(moves)
        moves.finish(again.lease, Retry(0, "transient"), body=b"")

        assert (again.deliveries, take(moves)[0].deliveries) == (2, 1)
