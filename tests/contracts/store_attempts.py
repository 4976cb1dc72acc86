"""How every store must keep send attempts: the rows that stop a second delivery. A suite for ``store_contract.py``."""

from dataclasses import replace

import pytest
from contracts.store_world import DAY_MS, NOW_MS, World, again, claim, first, message, race

from actors.domain import AttemptState, Receipt

ACCEPTED, DEAD, RETRYABLE = AttemptState.ACCEPTED, AttemptState.DEAD, AttemptState.RETRYABLE
SENDING, UNKNOWN = AttemptState.SENDING, AttemptState.UNKNOWN


class KeepsAttempts:
    """Claims, outcomes, reconciliation."""

    def test_a_claim_is_a_first_attempt_that_is_being_sent(self, world: World):
        sent = message(world)

        taken = world.store.claim(first(sent.id))

        assert (taken.message_id, taken.part, taken.state, taken.number) == (sent.id, 0, SENDING, 1)
        assert (taken.started_at_ms, taken.deadline_at_ms) == (NOW_MS, NOW_MS + DAY_MS)
        assert (taken.instance_name, taken.looks, taken.resends) == ("line-1", 0, 0)
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
        row = world.store.attempts(sent.id)[0]

        assert world.store.claim(first(sent.id, now_ms=NOW_MS + 1)) is None
        if state is not UNKNOWN:
            assert world.store.claim(again(row), before=row) is None
        assert world.store.attempts(sent.id)[0].number == 1

    def test_a_retryable_part_is_claimed_anew(self, world: World):
        sent = message(world)
        taken = claim(world.store, sent.id)
        assert world.store.settle(taken, RETRYABLE, reason="gateway_unreachable")
        assert world.store.attempts(sent.id)[0].reason == "gateway_unreachable"

        before = world.store.attempts(sent.id)[0]
        second = world.store.claim(again(before, now_ms=NOW_MS + 60_000, instance="line-2"), before=before)

        assert (second.state, second.number, second.reason) == (SENDING, 2, None)
        assert (second.started_at_ms, second.deadline_at_ms) == (NOW_MS + 60_000, NOW_MS + 60_000 + DAY_MS)
        assert (second.instance_name, second.resends) == ("line-2", 0)
        assert world.store.attempts(sent.id) == [second]

    @pytest.mark.parametrize("state", [ACCEPTED, RETRYABLE, UNKNOWN, DEAD])
    def test_an_outcome_is_written_once_with_its_reason(self, world: World, state):
        sent = message(world)
        taken = claim(world.store, sent.id)

        settled = world.store.settle(taken, state, reason="because")
        assert world.store.settle(taken, state, reason="again") is None

        now = world.store.attempts(sent.id)[0]
        assert settled == now
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

        assert world.store.settle(taken, state, receipt=Receipt(provider_message_id="P2")) is None

        assert world.store.attempts(sent.id) == [replace(taken, state=final)]

    @pytest.mark.parametrize("state", [ACCEPTED, RETRYABLE, UNKNOWN, DEAD])
    def test_the_outcome_of_an_earlier_run_changes_nothing(self, world: World, state):
        sent = message(world)
        taken = claim(world.store, sent.id)
        before = world.store.settle(taken, RETRYABLE)
        second = world.store.claim(again(before), before=before)

        assert world.store.settle(taken, state, receipt=Receipt(provider_message_id="P1")) is None

        assert world.store.attempts(sent.id) == [second]

    @pytest.mark.parametrize("state", [ACCEPTED, RETRYABLE, DEAD])
    def test_an_unknown_part_may_still_be_settled(self, world: World, state):
        taken = claim(world.store, message(world).id)
        world.store.settle(taken, UNKNOWN)

        assert world.store.settle(taken, state).state is state

    def test_what_was_not_sent_does_not_become_unknown(self, world: World):
        taken = claim(world.store, message(world).id)
        world.store.settle(taken, RETRYABLE)

        assert world.store.settle(taken, UNKNOWN) is None
        assert world.store.settle(taken, DEAD, reason="expired").state is DEAD

    def test_nothing_is_settled_as_being_sent(self, world: World):
        taken = claim(world.store, message(world).id)

        with pytest.raises(ValueError, match="claimed"):
            world.store.settle(taken, SENDING)

    def test_an_id_that_belongs_to_another_part_is_refused_and_the_fact_kept(self, world: World):
        one, second, elsewhere = message(world), message(world), message(world)
        receipt = Receipt(provider_message_id="P1")
        assert world.store.settle(claim(world.store, one.id), ACCEPTED, receipt=receipt)

        assert world.store.settle(claim(world.store, second.id), ACCEPTED, receipt=receipt)
        assert world.store.settle(claim(world.store, elsewhere.id, instance="line-2"), ACCEPTED, receipt=receipt)

        rows = [world.store.attempts(row.id)[0] for row in (one, second, elsewhere)]
        assert [row.state for row in rows] == [ACCEPTED] * 3
        assert [row.provider_message_id for row in rows] == ["P1", None, "P1"]
        assert rows[1].reason == "duplicate_provider_id"

    def test_an_unknown_part_is_sent_again_only_by_whoever_looked(self, world: World):
        sent = message(world)
        taken = claim(world.store, sent.id)
        assert world.store.claim(again(taken), before=taken) is None
        world.store.settle(taken, UNKNOWN, reason="timeout")
        stale = world.store.attempts(sent.id)[0]

        looked = world.store.looked(stale)
        assert (looked.looks, looked.state) == (1, UNKNOWN)
        assert world.store.claim(again(stale), before=stale) is None

        resent = world.store.claim(again(looked, now_ms=NOW_MS + 5), before=looked)
        assert (resent.state, resent.number, resent.looks, resent.started_at_ms) == (SENDING, 2, 0, NOW_MS + 5)
        assert resent.resends == 1
        assert world.store.attempts(sent.id) == [resent]
        assert world.store.claim(again(looked), before=looked) is None

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
            return stores[index % 2].claim(first(sent.id))

        winners = [taken for taken in race(world, 50, take) if taken is not None]

        assert winners == world.store.attempts(sent.id)
        assert winners[0].number == 1

    def test_a_retryable_part_is_won_by_one(self, world: World):
        sent = message(world)
        before = world.store.settle(claim(world.store, sent.id), RETRYABLE)

        def take(index: int) -> object:
            return world.store.claim(again(before), before=before)

        winners = [taken for taken in race(world, 12, take) if taken is not None]

        assert [winner.number for winner in winners] == [2]

    def test_an_unknown_part_is_reclaimed_by_one(self, world: World):
        sent = message(world)
        world.store.settle(claim(world.store, sent.id), UNKNOWN)
        unknown = world.store.attempts(sent.id)[0]

        winners = race(
            world, 12, lambda index: world.store.claim(again(unknown, now_ms=NOW_MS + index), before=unknown)
        )

        assert [winner.number for winner in winners if winner] == [2]

    def test_one_id_given_to_many_parts_at_once_is_bound_to_one(self, world: World):
        taken = [claim(world.store, message(world).id) for _ in range(8)]
        receipt = Receipt(provider_message_id="P1")

        settled = race(world, 8, lambda index: world.store.settle(taken[index], ACCEPTED, receipt=receipt))
        assert all(row.state is ACCEPTED for row in settled)

        ids = [world.store.attempts(attempt.message_id)[0].provider_message_id for attempt in taken]
        assert sorted(map(str, ids)) == ["None"] * 7 + ["P1"]
