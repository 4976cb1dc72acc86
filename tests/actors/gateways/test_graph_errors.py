"""Codes of Meta's Graph API and what each means for a message."""

import pytest

from actors import errors
from actors.gateways.graph_errors import RULES, classify_code


@pytest.mark.parametrize(
    ("codes", "kind", "reason"),
    [
        ((0, 190), errors.AuthConfig, "token_refused"),
        ((3, 10, 200, 299, 131005), errors.AuthConfig, "permission"),
        ((368, 131031), errors.AuthConfig, "account_locked"),
        ((33,), errors.AuthConfig, "phone_number_id"),
        ((131030,), errors.AuthConfig, "not_in_test_list"),
        ((131037, 131042, 131045, 133000, 133005, 133006, 133008, 133009), errors.AuthConfig, "registration"),
        ((133010, 133015, 133016), errors.AuthConfig, "registration"),
        ((131207, 131215), errors.AuthConfig, "groups_not_allowed"),
        ((4, 80007, 130429, 131056, 131048, 131064, 131057, 131208), errors.Throttled, "rate_limited"),
        ((2, 131016, 133004), errors.Transient, "provider_overloaded"),
        ((1, 131000), errors.Ambiguous, "provider_unclear"),
        ((100, 131008, 131009, 131051, 135000), errors.BadPayload, "bad_payload"),
        ((131021,), errors.BadRecipient, "recipient_is_sender"),
        ((131026,), errors.Permanent, "undeliverable"),
        ((131047,), errors.Permanent, "window_closed"),
        ((131049,), errors.Permanent, "marketing_cap"),
        ((131050,), errors.Permanent, "opted_out"),
        ((130472,), errors.Permanent, "experiment"),
        ((130497,), errors.Permanent, "country_restricted"),
        ((131053,), errors.Permanent, "media_url"),
        ((132000, 132001, 132005, 132007, 132012, 132015, 132016, 132068, 132069), errors.Permanent, "template"),
        ((131020, 131041, 131059, 131201, 131214), errors.Permanent, "group_refused"),
    ],
)
def test_a_code_means_what_metas_table_says(codes, kind, reason):
    for code in codes:
        error = classify_code(code, text="x")
        assert (type(error), error.code) == (kind, reason), code


@pytest.mark.parametrize(
    ("code", "delay_ms", "scope"),
    [
        (4, 60_000, "account"),
        (80007, 60_000, "account"),
        (130429, 1_000, "instance"),
        (131056, 1_000, "pair"),
        (131048, 3_600_000, "instance"),
        (131057, 60_000, "instance"),
    ],
)
def test_a_limit_slows_down_only_what_it_is_about(code, delay_ms, scope):
    error = classify_code(code, text="x")

    assert (error.delay_ms, error.scope) == (delay_ms, scope)


def test_code_100_without_access_is_for_an_operator():
    assert isinstance(classify_code(100, subcode=33, text="x"), errors.AuthConfig)


def test_a_code_that_meta_does_not_list_is_left_to_the_caller():
    assert classify_code(987_654, text="x") is None


def test_no_code_stands_in_two_rules():
    covered = [code for code in range(-1, 140_000) if sum(rule.covers(code) for rule in RULES) > 1]

    # 131207, 131208 and 131215 lie inside the range of group codes on purpose: the first rule wins.
    assert covered == [131207, 131208, 131215]
