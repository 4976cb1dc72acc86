"""How every store must record what a send came to, in one step. A suite for ``store_contract.py``."""

from dataclasses import replace

import pytest
from contracts.store_world import NOW_MS, World, again, claim, conversation, first, message, race

from actors.domain import AttemptState, MessageStatus, Receipt, SendOptions

ACCEPTED, DEAD, RETRYABLE = AttemptState.ACCEPTED, AttemptState.DEAD, AttemptState.RETRYABLE
SENDING, UNKNOWN = AttemptState.SENDING, AttemptState.UNKNOWN


class RecordsSends:
    """The last part and the row of its message, together."""

    def test_the_last_part_and_the_row_are_recorded_together(self, world: World):
        sent = message(world, status="failed", error_message="expired: too late")
        taken = claim(world.store, sent.id)

        accepted = world.store.record_sent(taken, Receipt(provider_message_id="P1"))

        row = world.message(sent.id)
        assert world.store.attempts(sent.id) == [accepted]
        assert (accepted.state, accepted.provider_message_id) == (ACCEPTED, "P1")
        assert (row.status, row.evolution_status, row.message_id, row.error_message) == ("sent", "sent", "P1", "")

    def test_the_row_gets_the_id_of_its_first_part(self, world: World):
        sent = message(world)
        one = world.store.settle(claim(world.store, sent.id), ACCEPTED, receipt=Receipt(provider_message_id="P1"))
        last = claim(world.store, sent.id, 1)

        world.store.record_sent(last, Receipt(provider_message_id="P2"), first=one)

        assert world.message(sent.id).message_id == "P1"
        assert [row.provider_message_id for row in world.store.attempts(sent.id)] == ["P1", "P2"]

    def test_nothing_is_recorded_of_a_run_whose_row_moved_on(self, world: World):
        sent = message(world)
        taken = claim(world.store, sent.id)
        before = world.store.settle(taken, RETRYABLE)
        second = world.store.claim(again(before), before=before)

        assert world.store.record_sent(taken, Receipt(provider_message_id="P1")) is None

        assert world.store.attempts(sent.id) == [second]
        assert world.message(sent.id).status == "pending"

    def test_what_a_webhook_wrote_first_stays(self, world: World):
        sent = message(world, status="delivered", evolution_status="READ")
        taken = claim(world.store, sent.id)

        assert world.store.record_sent(taken, Receipt(provider_message_id="P1")).state is ACCEPTED

        row = world.message(sent.id)
        assert (row.status, row.evolution_status, row.message_id) == ("delivered", "READ", "P1")

    def test_an_id_that_another_attempt_has_is_left_out_of_both(self, world: World):
        claimed = claim(world.store, message(world).id)
        world.store.settle(claimed, ACCEPTED, receipt=Receipt(provider_message_id="P1"))
        sent = message(world)

        accepted = world.store.record_sent(claim(world.store, sent.id), Receipt(provider_message_id="P1"))

        assert (accepted.state, accepted.provider_message_id, accepted.reason) == (
            ACCEPTED,
            None,
            "duplicate_provider_id",
        )
        assert world.store.attempts(sent.id) == [accepted]
        assert (world.message(sent.id).status, world.message(sent.id).message_id) == ("sent", None)

    def test_an_id_that_another_row_of_the_conversation_has_is_left_out_of_the_row(self, world: World):
        thread = conversation(world)
        message(world, thread, status="sent", message_id="P1")
        sent = message(world, thread)

        accepted = world.store.record_sent(claim(world.store, sent.id), Receipt(provider_message_id="P1"))

        assert accepted.provider_message_id == "P1"
        assert (world.message(sent.id).status, world.message(sent.id).message_id) == ("sent", None)

    def test_one_id_given_to_many_at_once_is_recorded_for_one(self, world: World):
        thread = conversation(world)
        rows = [message(world, thread) for _ in range(6)]
        taken = [claim(world.store, row.id) for row in rows]

        race(world, 6, lambda index: world.store.record_sent(taken[index], Receipt(provider_message_id="P1")))

        assert sorted(str(world.message(row.id).message_id) for row in rows) == ["None"] * 5 + ["P1"]
        assert {world.message(row.id).status for row in rows} == {"sent"}


class HearsProviders:
    """What providers say later, and of sends whose answer was lost."""

    @pytest.mark.parametrize("state", [SENDING, UNKNOWN, RETRYABLE])
    def test_what_a_provider_names_is_out_whatever_was_known_of_it(self, world: World, state):
        sent = message(world)
        taken = claim(world.store, sent.id)
        if state is not SENDING:
            world.store.settle(taken, state, reason="timeout")

        bound = world.store.bind(sent.id, 0, provider_message_id="P1")

        assert (bound.state, bound.provider_message_id, bound.reason) == (ACCEPTED, "P1", None)
        assert world.store.attempts(sent.id) == [bound]
        assert world.store.bind(sent.id, 0, provider_message_id="P1") is None
        assert world.store.settle(taken, RETRYABLE) is None

    def test_a_part_that_was_taken_without_an_id_gets_it(self, world: World):
        sent = message(world)
        world.store.settle(claim(world.store, sent.id), ACCEPTED, receipt=Receipt(provider_message_id=None))

        assert world.store.bind(sent.id, 0, provider_message_id="P1").provider_message_id == "P1"

    @pytest.mark.parametrize(("reason", "is_bound"), [("delivery_unknown", True), ("not_on_whatsapp", False)])
    def test_a_part_given_up_as_unknown_is_out_after_all(self, world: World, reason, is_bound):
        sent = message(world)
        world.store.settle(claim(world.store, sent.id), DEAD, reason=reason)

        assert (world.store.bind(sent.id, 0, provider_message_id="P1") is not None) is is_bound

    def test_a_part_has_one_id_and_an_id_one_part(self, world: World):
        sent, other = message(world), message(world)
        world.store.settle(claim(world.store, sent.id), ACCEPTED, receipt=Receipt(provider_message_id="P1"))
        unknown = world.store.settle(claim(world.store, other.id), UNKNOWN)

        assert world.store.bind(sent.id, 0, provider_message_id="P2") is None
        assert world.store.bind(other.id, 0, provider_message_id="P1") is None
        assert world.store.bind(other.id, 7, provider_message_id="P3") is None
        assert world.store.bind(world.new_id(), 0, provider_message_id="P3") is None

        assert world.store.attempts(sent.id)[0].provider_message_id == "P1"
        assert world.store.attempts(other.id) == [unknown]

    def test_one_id_said_of_many_parts_at_once_is_bound_to_one(self, world: World):
        rows = [message(world) for _ in range(6)]
        for row in rows:
            world.store.settle(claim(world.store, row.id), UNKNOWN)

        bound = race(world, 6, lambda index: world.store.bind(rows[index].id, 0, provider_message_id="P1"))

        assert len([row for row in bound if row is not None]) == 1

    def test_a_part_is_found_by_its_id_within_its_instance(self, world: World):
        here, there = message(world), message(world)
        mine = world.store.settle(claim(world.store, here.id), ACCEPTED, receipt=Receipt(provider_message_id="P1"))
        world.store.settle(
            claim(world.store, there.id, instance="line-2"), ACCEPTED, receipt=Receipt(provider_message_id="P1")
        )

        assert world.store.attempt_of("line-1", "P1") == mine
        assert world.store.attempt_of("line-1", "P2") is None

    @pytest.mark.parametrize("status", ["pending", "sent"])
    def test_a_part_that_will_not_arrive_fails_its_row_and_may_be_redriven(self, world: World, status):
        sent = message(world, status=status)
        taken = world.store.settle(claim(world.store, sent.id), ACCEPTED, receipt=Receipt(provider_message_id="P1"))
        lost = {"provider_message_id": "P1", "code": "undeliverable", "text": "not on a phone"}

        assert world.store.record_failed(taken, **lost) is True
        assert world.store.record_failed(taken, **lost) is False

        row, attempt = world.message(sent.id), world.store.attempts(sent.id)[0]
        assert (row.status, row.error_message) == ("failed", "undeliverable: not on a phone")
        assert (attempt.state, attempt.reason, attempt.provider_message_id) == (DEAD, "undeliverable", "P1")
        assert world.store.mark_pending(sent.id) is True
        before = world.store.attempts(sent.id)[0]
        assert before.state is RETRYABLE
        # Repeated news of the refused send is not news of the next one.
        assert world.store.bind(sent.id, 0, provider_message_id="P1") is None
        assert world.store.claim(again(before), before=before).provider_message_id is None

    @pytest.mark.parametrize("status", ["delivered", "seen"])
    def test_what_was_on_the_phone_does_not_fail(self, world: World, status):
        sent = message(world, status=status)
        taken = world.store.settle(claim(world.store, sent.id), ACCEPTED, receipt=Receipt(provider_message_id="P1"))

        assert world.store.record_failed(taken, provider_message_id="P1", code="undeliverable", text="late") is False

        assert world.message(sent.id).status == status
        assert world.store.attempts(sent.id) == [taken]

    def test_a_part_that_was_refused_and_arrives_all_the_same_is_out(self, world: World):
        sent = message(world)
        taken = claim(world.store, sent.id)
        world.store.record_failed(taken, provider_message_id="P1", code="undeliverable", text="lost")

        assert world.store.bind(sent.id, 0, provider_message_id="P1").state is ACCEPTED

    @pytest.mark.parametrize("status", MessageStatus)
    @pytest.mark.parametrize("news", [MessageStatus.DELIVERED, MessageStatus.SEEN])
    def test_a_status_only_moves_forward(self, world: World, status, news):
        sent = message(world, status=status)
        forward = {("sent", "delivered"), ("sent", "seen"), ("delivered", "seen")}

        moved = world.store.advance(sent.id, news)

        assert moved is ((status, news) in forward)
        assert world.message(sent.id).status == (news if moved else status)
        assert world.store.advance(sent.id, news) is False
        assert world.store.advance(world.new_id(), news) is False

    def test_a_row_advances_to_what_providers_say_only(self, world: World):
        with pytest.raises(ValueError, match="advances"):
            world.store.advance(message(world).id, MessageStatus.FAILED)

    def test_unaccounted_attempts_are_those_that_may_own_an_id_nobody_knows(self, world: World):
        def attempt(at_ms: int, state: AttemptState, instance: str = "line-1", **values) -> object:
            sent = message(world)
            taken = world.store.claim(first(sent.id, now_ms=at_ms, instance=instance, fingerprint="words"))
            return taken if state is SENDING else world.store.settle(taken, state, **values)

        attempt(NOW_MS - 1, UNKNOWN)
        wanted = [
            attempt(NOW_MS, SENDING),
            attempt(NOW_MS + 1, UNKNOWN, reason="timeout"),
            attempt(NOW_MS + 2, ACCEPTED, receipt=Receipt(provider_message_id=None)),
            attempt(NOW_MS + 3, DEAD, reason="delivery_unknown"),
        ]
        for state, values in (
            (RETRYABLE, {}),
            (DEAD, {"reason": "not_on_whatsapp"}),
            (DEAD, {}),
            (ACCEPTED, {"receipt": Receipt(provider_message_id="P1")}),
            (ACCEPTED, {"receipt": Receipt(provider_message_id="P1")}),
        ):
            attempt(NOW_MS + 2, state, **values)
        attempt(NOW_MS, UNKNOWN, "line-2")
        attempt(NOW_MS + 4, UNKNOWN)

        between = {"since_ms": NOW_MS, "until_ms": NOW_MS + 3}
        assert world.store.unaccounted("line-1", **between, limit=9) == wanted
        assert world.store.unaccounted("line-1", **between, limit=2) == wanted[:2]
        assert wanted[0].fingerprint == "words"

    def test_what_a_sender_allows_is_remembered_and_never_taken_back(self, world: World):
        sent, other = message(world), message(world)
        assert world.store.options_of([sent.id]) == {}

        for options in (SendOptions(use_fallback=True), SendOptions(bulk=True), SendOptions(bulk=True), SendOptions()):
            world.store.remember_options([sent.id], options)

        both = SendOptions(use_fallback=True, bulk=True)
        assert world.another_store().options_of([sent.id, other.id]) == {sent.id: both}
        assert world.store.options_of([]) == {}

    def test_what_a_sender_allows_of_many_is_remembered_of_each(self, world: World):
        thread = conversation(world)
        ids = [message(world, thread).id for _ in range(4)]
        world.store.remember_options(ids[:1], SendOptions(use_fallback=True))

        world.store.remember_options([*ids[:3], ids[0]], SendOptions(bulk=True))

        known = world.store.options_of(ids)
        assert list(map(known.get, ids)) == [
            SendOptions(use_fallback=True, bulk=True),
            SendOptions(bulk=True),
            SendOptions(bulk=True),
            None,
        ]

    def test_a_claim_writes_the_row_as_it_is_given(self, world: World):
        sent = message(world)
        taken = replace(first(sent.id, fingerprint="words"), deadline_at_ms=NOW_MS + 9)

        assert world.store.claim(taken) == taken
        assert world.store.attempts(sent.id) == [taken]
