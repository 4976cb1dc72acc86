"""How every store must keep send attempts: the rows that stop a second delivery. A suite for ``store_contract.py``."""

from dataclasses import replace

import pytest
from contracts.store_world import DAY_MS, NOW_MS, World, claim, message, race

from actors.domain import AttemptState, Receipt

ACCEPTED, DEAD, RETRYABLE = AttemptState.ACCEPTED, AttemptState.DEAD, AttemptState.RETRYABLE
SENDING, UNKNOWN = AttemptState.SENDING, AttemptState.UNKNOWN


class KeepsAttempts:
    """Claims, outcomes, reconciliation."""

    def test_a_claim_is_a_first_attempt_that_is_being_sent(self, world: World):
        sent = message(world)

        taken = world.store.claim(sent.id, 0, instance_name="line-1", now_ms=NOW_MS, deadline_at_ms=NOW_MS + DAY_MS)

        assert (taken.message_id, taken.part, taken.state, taken.number) == (sent.id, 0, SENDING, 1)
        assert (taken.started_at_ms, taken.deadline_at_ms) == (NOW_MS, NOW_MS + DAY_MS)
        assert (taken.instance_name, taken.looks) == ("line-1", 0)
        assert (taken.provider_message_id, taken.reason) == (None, None)

    def test_another_process_sees_a_claim_at_once(self, world: World):
        sent = message(world)

        taken = claim(world.store, sent.id)

        assert world.another_store().attempts(sent.id) == [taken]

    def test_attempts_come_by_part(self, world: World):
        sent, other = message(world), message(world)
        for part in (2, 0, 1):
            claim(world.store, sent.id, part)
        claim(world.store, other.id)

        assert [attempt.part for attempt in world.store.attempts(sent.id)] == [0, 1, 2]

    @pytest.mark.parametrize("state", [SENDING, UNKNOWN, ACCEPTED, DEAD])
    def test_only_what_was_provably_not_sent_is_claimed_again(self, world: World, state):
        sent = message(world)
        taken = claim(world.store, sent.id)
        if state is not SENDING:
            assert world.store.settle(taken, state, reason="because")

        again = world.store.claim(sent.id, 0, instance_name="line-1", now_ms=NOW_MS + 1, deadline_at_ms=NOW_MS + 2)

        assert again is None
        assert world.store.attempts(sent.id)[0].number == 1

    def test_a_retryable_part_is_claimed_anew(self, world: World):
        sent = message(world)
        first = claim(world.store, sent.id)
        assert world.store.settle(first, RETRYABLE, reason="gateway_unreachable")
        assert world.store.attempts(sent.id)[0].reason == "gateway_unreachable"

        second = claim(world.store, sent.id, now_ms=NOW_MS + 60_000, instance="line-2")

        assert (second.state, second.number, second.reason) == (SENDING, 2, None)
        assert (second.started_at_ms, second.deadline_at_ms) == (NOW_MS + 60_000, NOW_MS + 60_000 + DAY_MS)
        assert second.instance_name == "line-2"
        assert world.store.attempts(sent.id) == [second]

    @pytest.mark.parametrize("state", [ACCEPTED, RETRYABLE, UNKNOWN, DEAD])
    def test_an_outcome_is_written_once_with_its_reason(self, world: World, state):
        sent = message(world)
        taken = claim(world.store, sent.id)

        assert world.store.settle(taken, state, reason="because") is True
        assert world.store.settle(taken, state, reason="again") is False

        now = world.store.attempts(sent.id)[0]
        assert (now.state, now.reason, now.number) == (state, "because", 1)

    def test_an_accepted_part_keeps_the_providers_id(self, world: World):
        sent = message(world)
        taken = claim(world.store, sent.id)

        assert world.store.settle(taken, ACCEPTED, receipt=Receipt(provider_message_id="P1"))

        assert world.store.attempts(sent.id)[0].provider_message_id == "P1"

    def test_an_accepted_part_may_have_no_id(self, world: World):
        for _ in range(2):
            taken = claim(world.store, message(world).id)
            assert world.store.settle(taken, ACCEPTED, receipt=Receipt(provider_message_id=None))

    @pytest.mark.parametrize("final", [ACCEPTED, DEAD])
    @pytest.mark.parametrize("state", [ACCEPTED, RETRYABLE, UNKNOWN, DEAD])
    def test_what_is_final_stays(self, world: World, final, state):
        sent = message(world)
        taken = claim(world.store, sent.id)
        world.store.settle(taken, final)

        assert world.store.settle(taken, state, receipt=Receipt(provider_message_id="P2")) is False

        assert world.store.attempts(sent.id) == [replace(taken, state=final)]

    @pytest.mark.parametrize("state", [ACCEPTED, RETRYABLE, UNKNOWN, DEAD])
    def test_the_outcome_of_an_earlier_run_changes_nothing(self, world: World, state):
        sent = message(world)
        first = claim(world.store, sent.id)
        world.store.settle(first, RETRYABLE)
        second = claim(world.store, sent.id)

        assert world.store.settle(first, state, receipt=Receipt(provider_message_id="P1")) is False

        assert world.store.attempts(sent.id) == [second]

    @pytest.mark.parametrize("state", [ACCEPTED, RETRYABLE, DEAD])
    def test_an_unknown_part_may_still_be_settled(self, world: World, state):
        taken = claim(world.store, message(world).id)
        world.store.settle(taken, UNKNOWN)

        assert world.store.settle(taken, state) is True

    def test_what_was_not_sent_does_not_become_unknown(self, world: World):
        taken = claim(world.store, message(world).id)
        world.store.settle(taken, RETRYABLE)

        assert world.store.settle(taken, UNKNOWN) is False
        assert world.store.settle(taken, DEAD, reason="expired") is True

    def test_nothing_is_settled_as_being_sent(self, world: World):
        taken = claim(world.store, message(world).id)

        with pytest.raises(ValueError, match="claimed"):
            world.store.settle(taken, SENDING)

    def test_an_id_that_belongs_to_another_part_is_refused_and_the_fact_kept(self, world: World):
        first, second, elsewhere = message(world), message(world), message(world)
        receipt = Receipt(provider_message_id="P1")
        assert world.store.settle(claim(world.store, first.id), ACCEPTED, receipt=receipt)

        assert world.store.settle(claim(world.store, second.id), ACCEPTED, receipt=receipt)
        assert world.store.settle(claim(world.store, elsewhere.id, instance="line-2"), ACCEPTED, receipt=receipt)

        rows = [world.store.attempts(row.id)[0] for row in (first, second, elsewhere)]
        assert [row.state for row in rows] == [ACCEPTED] * 3
        assert [row.provider_message_id for row in rows] == ["P1", None, "P1"]
        assert rows[1].reason == "duplicate_provider_id"

    def test_an_unknown_part_is_sent_again_only_by_whoever_looked(self, world: World):
        sent = message(world)
        taken = claim(world.store, sent.id)
        assert world.store.reclaim(taken, now_ms=NOW_MS) is None
        world.store.settle(taken, UNKNOWN, reason="timeout")
        stale = world.store.attempts(sent.id)[0]

        looked = world.store.looked(stale)
        assert (looked.looks, looked.state) == (1, UNKNOWN)
        assert world.store.reclaim(stale, now_ms=NOW_MS + 5) is None

        again = world.store.reclaim(looked, now_ms=NOW_MS + 5)
        assert (again.state, again.number, again.looks, again.started_at_ms) == (SENDING, 2, 0, NOW_MS + 5)
        assert world.store.attempts(sent.id) == [again]
        assert world.store.reclaim(looked, now_ms=NOW_MS + 6) is None

    def test_a_look_is_counted_once(self, world: World):
        sent = message(world)
        world.store.settle(claim(world.store, sent.id), UNKNOWN)
        unknown = world.store.attempts(sent.id)[0]

        assert [world.store.looked(unknown).looks for _ in range(3)] == [1, 1, 1]

    def test_a_look_at_a_row_that_moved_on_shows_it_as_it_is(self, world: World):
        sent = message(world)
        taken = claim(world.store, sent.id)
        world.store.settle(taken, ACCEPTED)

        assert world.store.looked(taken) == replace(taken, state=ACCEPTED)

    def test_bound_ids_are_those_of_the_instance_since_then(self, world: World):
        for provider_id, at_ms, instance in (
            ("P0", NOW_MS - 1, "line-1"),
            ("P1", NOW_MS, "line-1"),
            ("P2", NOW_MS + 1, "line-1"),
            ("P3", NOW_MS, "line-2"),
        ):
            taken = claim(world.store, message(world).id, now_ms=at_ms, instance=instance)
            world.store.settle(taken, ACCEPTED, receipt=Receipt(provider_message_id=provider_id))
        claim(world.store, message(world).id)

        assert world.store.bound_ids("line-1", since_ms=NOW_MS) == {"P1", "P2"}


class SurvivesRaces:
    """The same, with many at once."""

    def test_fifty_callers_race_for_a_part_and_one_gets_it(self, world: World):
        sent = message(world)
        stores = [world.store, world.another_store()]

        def take(index: int) -> object:
            return stores[index % 2].claim(
                sent.id, 0, instance_name="line-1", now_ms=NOW_MS, deadline_at_ms=NOW_MS + DAY_MS
            )

        winners = [taken for taken in race(world, 50, take) if taken is not None]

        assert winners == world.store.attempts(sent.id)
        assert winners[0].number == 1

    def test_a_retryable_part_is_won_by_one(self, world: World):
        sent = message(world)
        world.store.settle(claim(world.store, sent.id), RETRYABLE)

        def take(index: int) -> object:
            return world.store.claim(sent.id, 0, instance_name="line-1", now_ms=NOW_MS, deadline_at_ms=NOW_MS)

        winners = [taken for taken in race(world, 12, take) if taken is not None]

        assert [winner.number for winner in winners] == [2]

    def test_an_unknown_part_is_reclaimed_by_one(self, world: World):
        sent = message(world)
        world.store.settle(claim(world.store, sent.id), UNKNOWN)
        unknown = world.store.attempts(sent.id)[0]

        winners = race(world, 12, lambda index: world.store.reclaim(unknown, now_ms=NOW_MS + index))

        assert [winner.number for winner in winners if winner] == [2]

    def test_one_id_given_to_many_parts_at_once_is_bound_to_one(self, world: World):
        taken = [claim(world.store, message(world).id) for _ in range(8)]
        receipt = Receipt(provider_message_id="P1")

        assert race(world, 8, lambda index: world.store.settle(taken[index], ACCEPTED, receipt=receipt)) == [True] * 8

        ids = [world.store.attempts(attempt.message_id)[0].provider_message_id for attempt in taken]
        assert sorted(map(str, ids)) == ["None"] * 7 + ["P1"]
