"""What every gateway makes of a send that fails or is not answered. A suite for ``gateway_contract.py``."""

import pytest
from contracts.gateway_world import EXTRAS, PERSON, GatewaySuite

from actors import errors
from actors.gateways.base import Ability
from middleware.clock import SystemClock

#: What must appear in no error.
SECRET_TEXT = "segredo do cliente"


class MeetsFailures(GatewaySuite):
    """Nothing is repeated blindly, what went out is found, and no error tells what it must not."""

    @pytest.mark.parametrize(("ability", "extra", "kind"), EXTRAS[:2], ids=["place", "card"])
    def test_a_place_or_a_card_that_went_out_unanswered_is_found(self, rig, can, ability, extra, kind):
        can(Ability.RECONCILE)
        can(ability)
        since_ms = SystemClock().now_ms()
        part = rig.part("", extra=extra)
        rig.send(rig.part("MASP"))
        rig.far.break_("lost_after")
        with pytest.raises(errors.Ambiguous):
            rig.send(part)
        rig.far.heal()

        found = rig.found(part, since_ms=since_ms)

        assert found.provider_message_id
        assert rig.found(part, since_ms=since_ms, bound_ids=(found.provider_message_id,)) is None

    def test_a_send_that_is_not_reached_is_not_sent_and_says_so(self, rig):
        rig.far.break_("refuses")

        with pytest.raises(errors.GatewayUnreachable) as caught:
            rig.send(rig.part())

        assert not caught.value.request_written
        rig.far.heal()
        assert rig.far.accepted() == []

    @pytest.mark.parametrize(
        ("how", "delivered"),
        [("lost_before", 0), ("lost_after", 1), ("silent_after", 1), ("cut_after", 1), ("down", 0)],
    )
    def test_a_send_whose_end_is_unknown_is_ambiguous_and_not_repeated(self, rig, how, delivered):
        rig.far.break_(how)

        with pytest.raises(errors.Ambiguous) as caught:
            rig.send(rig.part(), timeout_s=1.0)

        assert caught.value.request_written
        assert not caught.value.permanent
        assert len(rig.far.accepted()) == delivered
        assert rig.far.requests() == 1

    @pytest.mark.parametrize("how", ["lost_after", "silent_after", "cut_after"])
    def test_what_went_out_unanswered_is_found(self, rig, can, how):
        can(Ability.RECONCILE)
        since_ms = SystemClock().now_ms()
        part = rig.part("único")
        rig.far.break_(how)
        with pytest.raises(errors.Ambiguous):
            rig.send(part, timeout_s=1.0)
        rig.far.heal()

        receipt = rig.found(part, since_ms=since_ms)

        assert receipt.provider_message_id
        assert len(rig.far.accepted()) == 1

    def test_what_never_went_out_is_not_found(self, rig, can):
        can(Ability.RECONCILE)
        since_ms = SystemClock().now_ms()
        part = rig.part("único")
        rig.send(rig.part("outro"))
        rig.far.break_("lost_before")
        with pytest.raises(errors.Ambiguous):
            rig.send(part)
        rig.far.heal()

        assert rig.found(part, since_ms=since_ms) is None

    def test_two_equal_texts_are_told_apart_by_what_is_bound(self, rig, can):
        can(Ability.RECONCILE)
        since_ms = SystemClock().now_ms()
        first, second = rig.part("igual"), rig.part("igual")
        first_id = rig.send(first).provider_message_id
        rig.far.break_("lost_after")
        with pytest.raises(errors.Ambiguous):
            rig.send(second)
        rig.far.heal()

        found = rig.found(second, since_ms=since_ms, bound_ids=(first_id,))

        assert found.provider_message_id not in (None, first_id)
        assert rig.found(second, since_ms=since_ms, bound_ids=(first_id, found.provider_message_id)) is None

    def test_a_search_that_fails_is_an_error_and_not_an_empty_answer(self, rig, can):
        can(Ability.RECONCILE)
        rig.far.break_("down")

        with pytest.raises(errors.Transient):
            rig.found(rig.part(), since_ms=SystemClock().now_ms())

    def test_a_closed_session_costs_no_attempt(self, rig):
        rig.need_session()
        rig.far.break_("closed")

        with pytest.raises(errors.InstanceUnavailable) as caught:
            rig.send(rig.part())

        assert caught.value.delay_ms
        assert rig.far.accepted() == []

    def test_too_many_requests_slow_down_as_told(self, rig):
        rig.far.break_("too_many")

        with pytest.raises(errors.Throttled) as caught:
            rig.send(rig.part())

        assert caught.value.delay_ms == 7_000
        assert rig.far.accepted() == []

    def test_a_refused_key_calls_an_operator_and_is_not_repeated(self, rig):
        rig.far.break_("bad_key")

        with pytest.raises(errors.AuthConfig) as caught:
            rig.send(rig.part())

        assert caught.value.alert
        assert caught.value.permanent
        assert rig.far.requests() == 1

    @pytest.mark.parametrize("how", ["refuses", "lost_before", "cut_after", "closed", "too_many", "bad_key", "down"])
    def test_no_error_names_a_number_a_text_or_a_key(self, rig, how):
        if how == "closed":
            rig.need_session()
        part = rig.part(SECRET_TEXT)
        rig.far.break_(how)

        with pytest.raises(errors.ChatError) as caught:
            rig.send(part, timeout_s=1.0)

        error: BaseException | None = caught.value
        while error is not None:
            shown = f"{error} {error!r}"
            assert part.reference in shown or error is not caught.value
            assert not [
                secret
                for secret in (SECRET_TEXT, PERSON.number[1:], rig.instance.api_key or "no key")
                if secret in shown
            ]
            error = error.__cause__ or error.__context__
        rig.far.heal()
