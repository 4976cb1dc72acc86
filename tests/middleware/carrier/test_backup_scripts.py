"""The scripts behind a backup, each alone: what they read at one moment."""

import pytest
from carrier_world import LONG_MS, QUEUE, gate, take
from copies_world import copies, facts

from middleware.brokers.redis.copies import CopiedMessage, Copies
from middleware.outcomes import Dead, Done, Retry

__all__ = ["copies"]

pytestmark = pytest.mark.redis


def read(slices) -> list[CopiedMessage]:
    return [one for found in slices for one in found]


def placed(copies: Copies) -> tuple[list[CopiedMessage], list[bytes]]:
    [bodies] = copies.bodies(QUEUE)
    return copies.placed(QUEUE, bodies)


class TestCopyLanes:
    def test_the_holder_comes_first_and_who_waits_in_order_with_their_facts(self, put, copies):
        for number in range(4):
            put(f"m{number}", lane="a", group="g", unique_key=f"k{number}")

        found = read(copies.lanes(QUEUE))

        assert [one.id for one in found] == [b"m0", b"m1", b"m2", b"m3"]
        assert [one.facts for one in found] == [facts(lane="a", group="g", unique_key=f"k{n}") for n in range(4)]
        assert [one.holds for one in found] == [True, False, False, False]
        assert found[2].body == b"body of m2"

    def test_a_holder_that_waits_for_its_retry_has_its_time(self, moves, put, copies):
        put("m0", lane="a")
        put("m1", lane="a")
        moves.finish(take(moves, 1)[0].lease, Retry(LONG_MS, "x"), body=b"again")

        first, second = read(copies.lanes(QUEUE))

        assert (first.id, first.body, first.holds) == (b"m0", b"again", True)
        assert first.eta_ms > copies.now_ms() + LONG_MS / 2
        assert (second.id, second.eta_ms) == (b"m1", 0)

    def test_a_long_lane_comes_in_slices_and_who_got_it_meanwhile_is_not_missed(self, moves, put, copies, monkeypatch):
        monkeypatch.setattr("middleware.brokers.redis.copies.SLICE", 2)
        for number in range(6):
            put(f"m{number}", lane="a")
        slices = copies.lanes(QUEUE)
        first = next(slices)
        assert [one.id for one in first] == [b"m0", b"m1", b"m2"]

        # m3 stood behind the first slice and holds the lane before the second.
        for _ in range(3):
            moves.finish(take(moves, 1)[0].lease, Done(), body=b"")

        assert {b"m3", b"m4", b"m5"} <= {one.id for one in read(slices)}

    def test_who_was_cancelled_is_not_there_and_a_dead_holder_is_no_message(self, moves, put, copies):
        put("m0", lane="a", dead_holds_lane=True)
        put("m1", lane="a")
        put("m2", lane="a")
        moves.cancel(QUEUE, "m1")
        moves.finish(take(moves, 1)[0].lease, Dead("x"), body=b"")

        assert [one.id for one in read(copies.lanes(QUEUE))] == [b"m2"]

    def test_nothing_to_copy(self, copies):
        assert read(copies.lanes(QUEUE)) == []


class TestCopyGroups:
    def test_who_waits_for_a_group_comes_in_order_whatever_the_slice(self, moves, put, copies, monkeypatch):
        monkeypatch.setattr("middleware.brokers.redis.copies.SLICE", 2)
        gate(moves, "g", limit=0)
        for number in range(5):
            put(f"m{number}", group="g", unique_key=f"k{number}")
        moves.cancel(QUEUE, "m3")

        found = read(copies.groups(QUEUE))

        assert [one.id for one in found] == [b"m0", b"m1", b"m2", b"m4"]
        assert found[1].facts == facts(group="g", unique_key="k1")

    def test_nothing_to_copy(self, copies):
        assert read(copies.groups(QUEUE)) == []


class TestCopyPlaces:
    def test_who_is_ready_runs_or_is_delayed_comes_with_facts_and_time(self, moves, put, copies):
        put("m0", group="g", unique_key="k")
        put("m1")
        put("m2", delay_ms=LONG_MS, lane="a")
        take(moves, 1)

        known, unclear = placed(copies)

        assert {one.id: one.facts for one in known} == {
            b"m0": facts(group="g", unique_key="k"),
            b"m1": b"",
            b"m2": facts(lane="a"),
        }
        assert [one.id for one in known if one.eta_ms] == [b"m2"]
        assert unclear == []

    def test_who_may_wait_somewhere_is_unclear(self, put, copies):
        put("m0", lane="a")
        put("m1", lane="a")
        put("m2")

        known, unclear = placed(copies)

        assert [one.id for one in known] == [b"m0"]
        assert sorted(unclear) == [b"m1", b"m2"]

    def test_a_second_look_has_the_body_and_knows_who_is_gone(self, put, copies):
        put("m0", lane="a")
        put("m2")

        found = copies.named(QUEUE, [b"gone", b"m2", b"m0"])

        assert [(one.id, one.body) for one in found] == [(b"m2", b"body of m2"), (b"m0", b"body of m0")]

    def test_starts_without_an_outcome_are_copied(self, moves, put, copies):
        put("m0")
        moves.release(QUEUE, [take(moves, 1)[0].lease], started=True)

        known, _ = placed(copies)

        assert known[0].crashes == 1
