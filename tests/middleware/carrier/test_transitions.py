"""Each script alone: what it does, on nothing, twice, and for somebody who has no right to."""

import json
from collections.abc import Callable

import pytest
import redis

from middleware.brokers.redis.keys import QUEUE_KEYS, Keys
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Fetched, Lease, Transitions
from middleware.outcomes import Dead, Done, PutBack, Retry

QUEUE = "q"
LONG_MS = 60_000
CARE = {"max_deliveries": 2, "dead_max_age_ms": LONG_MS, "dead_max": 100}

pytestmark = pytest.mark.redis


@pytest.fixture
def keys() -> Keys:
    return Keys("test:carrier")


@pytest.fixture
def moves(queue_client: redis.Redis, keys: Keys) -> Transitions:
    return Transitions(Scripts(queue_client, keys), remember_ms=LONG_MS)


@pytest.fixture
def put(moves: Transitions) -> Callable[..., None]:
    def put(id_: str, *, lane: str | None = None, unique_key: str | None = None, delay_ms: int = 0) -> None:
        moves.enqueue(
            QUEUE, id_, f"body of {id_}".encode(), delay_ms=delay_ms, options={"lane": lane, "unique_key": unique_key}
        )

    return put


def take(moves: Transitions, limit: int = 10, *, lease_ms: int = LONG_MS) -> list[Fetched]:
    return moves.fetch(QUEUE, limit=limit, lease_ms=lease_ms, owner="w1").messages


def ids(fetched: list[Fetched]) -> list[str]:
    return [one.lease.id for one in fetched]


def expire(client: redis.Redis, keys: Keys, id_: str) -> None:
    """Let a lease end now, as if its worker had died a lease ago."""
    client.zadd(keys.of(QUEUE, "leases"), {id_: 1}, xx=True)


def depths(moves: Transitions) -> tuple[int, int, int, int, int]:
    stats = moves.stats([QUEUE])[0]
    return stats.ready, stats.delayed, stats.in_flight, stats.waiting_in_lane, stats.dead


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

        assert moves.enqueue(QUEUE, "a", b"body").state == "known"
        assert depths(moves) == (0, 0, 0, 0, 0)

    def test_many_messages_ring_once(self, put, queue_client, keys):
        for id_ in "abc":
            put(id_)

        assert queue_client.llen(keys.of(QUEUE, "wake")) == 1

    def test_a_live_unique_key_returns_the_message_that_has_it(self, moves, put):
        put("a", unique_key="k")
        second = moves.enqueue(QUEUE, "b", b"body", options={"unique_key": "k"})

        assert (second.state, second.id, second.body) == ("duplicate", "a", b"body of a")
        assert depths(moves) == (1, 0, 0, 0, 0)

    def test_a_unique_key_is_free_again_when_its_message_is_done(self, moves, put, queue_client, keys):
        put("a", unique_key="k")
        moves.finish(take(moves)[0].lease, Done(), body=b"last")

        assert not queue_client.exists(keys.of(QUEUE, "unique"))
        assert moves.enqueue(QUEUE, "b", b"body", options={"unique_key": "k"}).state == "new"

    @pytest.mark.parametrize("forget", ["announced", "discard"])
    def test_a_unique_key_of_a_dead_letter_is_free_once_somebody_knows_of_it(self, moves, put, forget):
        """Else a second send would start the life of a message anew that has just ended."""
        put("a", unique_key="k")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")
        early = moves.enqueue(QUEUE, "b", b"body", options={"unique_key": "k"})
        getattr(moves, forget)(QUEUE, ["a"])

        assert (early.state, early.id, early.body) == ("duplicate", "a", b"last")
        assert moves.enqueue(QUEUE, "c", b"body", options={"unique_key": "k"}).state == "new"

    def test_a_unique_key_is_kept_through_a_retry(self, moves, put):
        put("a", unique_key="k")
        moves.finish(take(moves)[0].lease, Retry(LONG_MS, "transient"), body=b"next")

        assert moves.enqueue(QUEUE, "b", b"body", options={"unique_key": "k"}).state == "duplicate"

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


class TestFinish:
    def test_done_leaves_nothing_behind_but_the_tombstones(self, moves, put, queue_client, keys):
        put("a", lane="l", unique_key="k")
        assert moves.finish(take(moves)[0].lease, Done(), body=b"")

        kept = {name for name, *_ in QUEUE_KEYS if queue_client.exists(keys.of(QUEUE, name))}
        assert kept == {"finished", "counters", "wake"}

    def test_a_repeated_finish_says_applied_and_changes_nothing(self, moves, put):
        put("a")
        lease = take(moves)[0].lease

        assert moves.finish(lease, Done(), body=b"")
        assert moves.finish(lease, Done(), body=b"")
        assert moves.stats([QUEUE])[0].counters["done"] == 1

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


class TestRelease:
    def test_messages_come_back_to_the_head_in_their_order(self, moves, put):
        for id_ in "abcd":
            put(id_)
        leases = [one.lease for one in take(moves, 3)]

        assert moves.release(QUEUE, leases, started=False) == 3
        assert ids(take(moves)) == ["a", "b", "c", "d"]

    @pytest.mark.parametrize(("started", "deliveries"), [(False, 1), (True, 2)])
    def test_only_a_message_that_ran_counts_as_delivered(self, moves, put, started, deliveries):
        put("a")
        moves.release(QUEUE, [take(moves)[0].lease], started=started)

        assert take(moves)[0].deliveries == deliveries

    def test_somebody_elses_lease_is_left_alone(self, moves, put):
        put("a")
        take(moves)

        assert moves.release(QUEUE, [Lease(QUEUE, "a", "w9.9")], started=True) == 0
        assert depths(moves) == (0, 0, 1, 0, 0)


class TestRenew:
    def test_a_renewed_lease_is_not_reclaimed(self, moves, put, queue_client, keys):
        put("a")
        lease = take(moves)[0].lease
        expire(queue_client, keys, "a")

        assert moves.renew(QUEUE, [lease], lease_ms=LONG_MS) == set()
        assert moves.tend([QUEUE], **CARE)[0].reclaimed == 0

    def test_a_lost_lease_is_named_and_not_prolonged(self, moves, put):
        put("a")
        take(moves)

        assert moves.renew(QUEUE, [Lease(QUEUE, "a", "w9.9"), Lease(QUEUE, "ghost", "w9.1")], lease_ms=1) == {
            "a",
            "ghost",
        }


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
            queue_client.zadd(keys.of(QUEUE, "leases"), {one.lease.id: number + 1}, xx=True)

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
        moves.fetch("other", limit=1, lease_ms=LONG_MS, owner="w1")
        queue_client.zadd(keys.of("other", "leases"), {"z": 1})

        assert [one.reclaimed for one in moves.tend([QUEUE, "other"], **CARE)] == [0, 1]

    def test_dead_letters_are_kept_by_age_and_number(self, moves, put, queue_client, keys):
        for id_ in "abc":
            put(id_)
        for one in take(moves):
            moves.finish(one.lease, Dead("given_up"), body=b"")
        queue_client.zadd(keys.of(QUEUE, "dead"), {"a": 1}, xx=True)

        assert moves.tend([QUEUE], **{**CARE, "dead_max": 1})[0].dropped == 2
        assert depths(moves)[-1] == 1
        assert queue_client.hlen(keys.of(QUEUE, "letters")) == 1


class TestLetters:
    def test_a_claimed_letter_is_claimed_again_only_after_the_hold(self, moves, put, queue_client, keys):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")

        assert [raw.id for raw in moves.announce(QUEUE, limit=5, hold_ms=LONG_MS)] == ["a"]
        assert moves.announce(QUEUE, limit=5, hold_ms=LONG_MS) == []
        queue_client.zadd(keys.of(QUEUE, "unannounced"), {"a": 1})
        assert [raw.id for raw in moves.announce(QUEUE, limit=5, hold_ms=LONG_MS)] == ["a"]

    def test_an_announced_letter_is_not_claimed_again(self, moves, put, queue_client, keys):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")
        moves.announce(QUEUE, limit=5, hold_ms=0)

        assert (moves.announced(QUEUE, ["a"]), moves.announced(QUEUE, ["a"])) == (1, 0)
        assert moves.announce(QUEUE, limit=5, hold_ms=0) == []

    def test_a_redrive_gives_a_fresh_life_once(self, moves, put):
        put("a", unique_key="k")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"old")

        assert moves.redrive(QUEUE, "a", body=b"fresh") == "redriven"
        assert moves.redrive(QUEUE, "a", body=b"fresh") == "missing"
        fetched = take(moves)
        assert (ids(fetched), fetched[0].deliveries) == (["a"], 1)
        assert moves.finish(fetched[0].lease, Done(), body=b"")

    def test_a_redrive_yields_to_a_live_message_with_the_same_unique_key(self, moves, put):
        put("a", unique_key="k")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"old")
        moves.announced(QUEUE, ["a"])
        put("b", unique_key="k")

        assert moves.redrive(QUEUE, "a", body=b"fresh") == "duplicate"
        assert depths(moves) == (1, 0, 0, 0, 1)

    def test_a_discarded_letter_is_gone(self, moves, put, queue_client, keys):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"old")

        assert (moves.discard(QUEUE, ["a", "ghost"]), moves.discard(QUEUE, ["a"])) == (1, 0)
        assert not queue_client.exists(*(keys.of(QUEUE, name) for name in ("dead", "letters", "bodies", "unannounced")))

    def test_a_purge_drops_what_lives_and_keeps_the_evidence(self, moves, put):
        put("dead")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"old")
        put("a", lane="l")
        put("b", lane="l")
        put("c", delay_ms=LONG_MS)

        assert (moves.purge(QUEUE), moves.purge(QUEUE)) == (3, 0)
        assert depths(moves) == (0, 0, 0, 0, 1)

    def test_a_withheld_letter_is_not_announced_until_the_hold_ends(self, moves, put, queue_client, keys):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")

        assert moves.withhold(QUEUE, "a", hold_ms=LONG_MS)
        assert moves.announce(QUEUE, limit=5, hold_ms=LONG_MS) == []
        queue_client.zadd(keys.of(QUEUE, "unannounced"), {"a": 1})
        assert [raw.id for raw in moves.announce(QUEUE, limit=5, hold_ms=LONG_MS)] == ["a"]

    def test_a_letter_that_somebody_tells_of_cannot_be_withheld(self, moves, put):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")
        moves.announce(QUEUE, limit=5, hold_ms=LONG_MS)

        assert not moves.withhold(QUEUE, "a", hold_ms=LONG_MS)
        moves.announced(QUEUE, ["a"])
        assert moves.withhold(QUEUE, "a", hold_ms=LONG_MS)
        assert moves.announce(QUEUE, limit=5, hold_ms=LONG_MS) == []
