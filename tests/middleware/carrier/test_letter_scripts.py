"""Dead letters: told of once, sent again, deleted."""

from dataclasses import replace

import pytest
from carrier_world import (
    CARE,
    LONG_MS,
    MEMORY,
    QUEUE,
    REMAINS,
    depths,
    existing,
    expire,
    ids,
    run_all,
    take,
)
from queue_checks import letters_are_indexed
from queue_look import look

from middleware.brokers.redis.transitions import Transitions
from middleware.outcomes import Dead, Done

pytestmark = pytest.mark.redis


class TestAnnounce:
    def test_a_claimed_letter_is_claimed_again_only_after_the_hold(self, moves, put, queue_client, keys):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")

        assert [raw.id for raw in moves.announce(QUEUE, limit=5, hold_ms=LONG_MS)] == ["a"]
        assert moves.announce(QUEUE, limit=5, hold_ms=LONG_MS) == []
        queue_client.zadd(keys.of(QUEUE, "unannounced"), {"a": 1})
        assert [raw.id for raw in moves.announce(QUEUE, limit=5, hold_ms=LONG_MS)] == ["a"]


class TestAnnounced:
    def test_an_announced_letter_is_not_claimed_again(self, moves, put, queue_client, keys):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")
        moves.announce(QUEUE, limit=5, hold_ms=0)

        assert (moves.announced(QUEUE, ["a"]), moves.announced(QUEUE, ["a"])) == (1, 0)
        assert moves.announce(QUEUE, limit=5, hold_ms=0) == []


class TestRedrive:
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


class TestDiscard:
    def test_a_discarded_letter_is_gone(self, moves, put, queue_client, keys):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"old")

        assert (moves.discard(QUEUE, ["a", "ghost"]), moves.discard(QUEUE, ["a"])) == (1, 0)
        assert not queue_client.exists(*(keys.of(QUEUE, name) for name in ("dead", "letters", "bodies", "unannounced")))


class TestWithhold:
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


def letters_are_whole(client, keys) -> None:
    """Index and counts say what the letters say."""
    letters_are_indexed(look(client, keys, QUEUE))


class TestIndex:
    def die(self, moves, put, *named: str) -> None:
        for id_ in named:
            put(id_, lane=f"lane of {id_}", group="g", unique_key=f"key of {id_}")
        for one in take(moves):
            reason = "odd" if one.lease.id == named[0] else "given_up"
            moves.finish(one.lease, Dead(reason, fingerprint="f" if one.lease.id == named[-1] else ""), body=b"last")

    def test_every_letter_is_found_by_reason_fingerprint_group_and_lane(self, moves, put, queue_client, keys):
        self.die(moves, put, "a", "b", "c")
        found = look(queue_client, keys, QUEUE)

        letters_are_indexed(found)
        assert found.fingerprints == {"odd": 1, "given_up": 1, "f": 1}
        assert len(found.index) == 12

    @pytest.mark.parametrize("way", ["redrive", "discard", "trim"])
    def test_index_and_counts_go_with_the_letters(self, moves, put, queue_client, keys, way):
        self.die(moves, put, "a", "b", "c")
        if way == "redrive":
            assert moves.redrive(QUEUE, "a", body=b"") == "redriven"
        elif way == "discard":
            assert moves.discard(QUEUE, ["a"]) == 1
        else:
            Transitions(moves.scripts, memory=replace(MEMORY, dead_max=2)).tend([QUEUE], **CARE)
        found = look(queue_client, keys, QUEUE)

        letters_are_indexed(found)
        assert found.dead == ["b", "c"]

    def test_a_death_trims_too(self, moves, put, queue_client, keys):
        strict = Transitions(moves.scripts, memory=replace(MEMORY, dead_max=2))
        for id_ in "abcd":
            put(id_)
            strict.finish(take(moves)[0].lease, Dead("given_up"), body=b"")

        assert look(queue_client, keys, QUEUE).dead == ["c", "d"]
        letters_are_whole(queue_client, keys)


class TestDeadHoldsLane:
    @pytest.fixture
    def held(self, moves, put):
        """A lane that a dead letter holds, and one who waits for it."""
        put("a", lane="l", dead_holds_lane=True)
        put("b", lane="l")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"old")

    def test_nobody_passes_a_dead_letter_that_holds_its_lane(self, moves, put, held):
        put("c", lane="l")

        assert ids(take(moves)) == []
        assert depths(moves) == (0, 0, 0, 2, 1)

    def test_redriven_it_runs_first(self, moves, held):
        assert moves.redrive(QUEUE, "a", body=b"fresh") == "redriven"

        assert run_all(moves) == ["a", "b"]

    def test_discarded_it_lets_the_lane_go_on(self, moves, held):
        moves.discard(QUEUE, ["a"])

        assert run_all(moves) == ["b"]

    def test_announced_it_still_holds_it(self, moves, held):
        moves.announced(QUEUE, ["a"])

        assert ids(take(moves)) == []

    def test_when_it_is_too_old_the_lane_goes_on(self, moves, held, queue_client, keys):
        queue_client.zadd(keys.of(QUEUE, "dead"), {"a": 1}, xx=True)
        moves.tend([QUEUE], **CARE)

        assert run_all(moves) == ["b"]
        assert existing(queue_client, keys) <= REMAINS

    def test_one_that_died_of_crashes_holds_it_as_well(self, moves, put, queue_client, keys):
        put("a", lane="l", dead_holds_lane=True)
        put("b", lane="l")
        for _ in range(CARE["max_deliveries"] + 1):
            take(moves)
            expire(queue_client, keys, "a")
            moves.tend([QUEUE], **CARE)

        assert ids(take(moves)) == []
        assert moves.lane(QUEUE, "l").is_dead

    def test_an_outcome_may_hold_a_lane_whose_messages_do_not(self, moves, put):
        put("a", lane="l")
        put("b", lane="l")
        put("c", lane="m")
        moves.finish(take(moves, 1)[0].lease, Dead("given_up", holds_lane=True), body=b"old")

        assert ids(take(moves)) == ["c"]
        assert moves.lane(QUEUE, "l").is_dead
        moves.discard(QUEUE, ["a"])
        assert run_all(moves) == ["b"]

    def test_such_a_letter_runs_first_when_it_is_redriven(self, moves, put):
        put("a", lane="l")
        put("b", lane="l")
        moves.finish(take(moves)[0].lease, Dead("given_up", holds_lane=True), body=b"old")

        assert moves.redrive(QUEUE, "a", body=b"fresh") == "redriven"
        assert run_all(moves) == ["a", "b"]
        assert moves.lane(QUEUE, "l") is None

    def test_without_a_lane_there_is_nothing_to_hold(self, moves, put, queue_client, keys):
        put("a")
        moves.finish(take(moves)[0].lease, Dead("given_up", holds_lane=True), body=b"old")
        moves.discard(QUEUE, ["a"])

        assert existing(queue_client, keys) <= REMAINS


class TestNothing:
    """On a queue without letters, and for ids that nobody knows."""

    def test_no_script_of_the_letters_makes_anything(self, moves, queue_client, keys):
        assert moves.announce(QUEUE, limit=5, hold_ms=1) == []
        assert moves.announced(QUEUE, ["ghost"]) == 0
        assert moves.withhold(QUEUE, "ghost", hold_ms=1)
        assert moves.redrive(QUEUE, "ghost", body=b"") == "missing"
        assert moves.discard(QUEUE, ["ghost"]) == 0
        assert existing(queue_client, keys) == set()

    def test_a_live_message_is_no_letter(self, moves, put):
        put("a", lane="l", unique_key="k")
        moves.announced(QUEUE, ["a"])

        assert (moves.discard(QUEUE, ["a"]), moves.redrive(QUEUE, "a", body=b"")) == (0, "missing")
        assert put("b", unique_key="k").id == "a"
