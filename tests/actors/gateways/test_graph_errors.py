"""Codes of Meta's Graph API and what each means for a message: one case for each row of the table."""

import pytest
from cloud_cases import AUTH, DEAD, EVERY_CODE, ROWS
from hypothesis import given
from hypothesis import strategies as st

from actors import errors
from actors.gateways.graph_errors import RULES, GraphFacts, classify_code, unknown_code


@pytest.mark.parametrize(("code", "kind", "reason", "alert"), EVERY_CODE)
def test_a_code_means_what_metas_table_says(code, kind, reason, alert):
    error = classify_code(code, text="x")

    assert (type(error), error.code, error.alert) == (kind, reason, alert)
    assert error.request_written


def waits_ms(error, times):
    """Waits in a row, as the limits of an instance make them of an error."""
    return [min(error.cap_ms, error.delay_ms * error.grows_by**earlier) for earlier in range(times)]


@pytest.mark.parametrize(
    ("code", "scope", "waits_s"),
    [
        (4, "account", [60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (80007, "account", [60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (130429, "instance", [1, 2, 4, 8, 16, 32, 60, 60]),
        (131056, "pair", [1, 4, 16, 64, 256, 256]),
        (131048, "instance", [3600, 3600]),
        (131064, "instance", [3600, 3600]),
        (131057, "instance", [60, 60]),
        (131208, "instance", [60, 60]),
    ],
)
def test_a_limit_slows_down_only_what_it_is_about_and_for_longer_each_time(code, scope, waits_s):
    error = classify_code(code, text="x")

    assert error.scope == scope
    assert waits_ms(error, len(waits_s)) == [seconds * 1_000 for seconds in waits_s]


def test_the_account_waits_as_long_as_meta_names_and_no_longer():
    told = GraphFacts(regain_ms=19 * 60_000)
    error = classify_code(80007, text="x", facts=told)

    assert waits_ms(error, 3) == [1_140_000] * 3
    assert classify_code(80007, text="x", facts=GraphFacts(regain_ms=30 * 24 * 3_600_000)).delay_ms == 24 * 3_600_000


def test_the_accounts_time_says_nothing_of_one_pair():
    assert classify_code(131056, text="x", facts=GraphFacts(regain_ms=19 * 60_000)).delay_ms == 1_000


def test_a_longer_time_of_a_proxy_is_kept():
    assert waits_ms(classify_code(130429, text="x", facts=GraphFacts(retry_after_ms=7_000)), 3) == [7_000] * 3
    assert classify_code(131057, text="x", facts=GraphFacts(retry_after_ms=7_000)).delay_ms == 60_000


@pytest.mark.parametrize(("code", "attempts"), [(1, 3), (131000, 3), (2, None), (131016, None), (190, None)])
def test_an_unclear_code_is_tried_so_often(code, attempts):
    assert classify_code(code, text="x").max_attempts == attempts


def test_a_file_that_meta_could_not_fetch_is_tried_once_more():
    error = classify_code(131053, text="x", facts=GraphFacts(by_link=True))

    assert (type(error), error.code, error.max_attempts) == (errors.Transient, "media_fetch", 2)


def test_code_100_without_access_is_for_an_operator():
    assert isinstance(classify_code(100, text="x", facts=GraphFacts(subcode=33)), errors.AuthConfig)
    assert isinstance(classify_code(100, text="x", facts=GraphFacts(subcode=34)), errors.BadPayload)


@pytest.mark.parametrize(
    ("status", "kind", "alert"),
    [(400, DEAD, True), (404, DEAD, True), (200, DEAD, True), (500, errors.Ambiguous, False)],
)
def test_a_code_that_meta_does_not_list_is_dead_with_an_alert_or_unknown(status, kind, alert):
    assert classify_code(987_654, text="x") is None

    error = unknown_code(987_654, status=status, text="x")

    assert (type(error), error.code, error.alert) == (kind, "unknown_code", alert)


def test_no_code_stands_in_two_rules():
    named = {one for rule in RULES for codes in rule.codes for one in (codes if isinstance(codes, range) else (codes,))}
    covered = sorted(code for code in named if sum(rule.covers(code) for rule in RULES) > 1)

    # Inside the ranges of group and template codes on purpose: the first rule wins.
    assert covered == [131207, 131208, 131215, 132015, 132016]


@given(
    code=st.one_of(st.integers(0, 140_000), st.integers()),
    subcode=st.none() | st.integers(),
    regain_ms=st.none() | st.integers(),
    by_link=st.booleans(),
)
def test_any_code_has_one_of_the_meanings_of_the_table(code, subcode, regain_ms, by_link):
    facts = GraphFacts(subcode=subcode, regain_ms=regain_ms, by_link=by_link)

    error = classify_code(code, text="x", facts=facts)

    known = {(kind, reason) for _, kind, reason, _ in ROWS} | {
        (errors.Transient, "media_fetch"),
        (AUTH, "phone_number_id"),
    }
    assert error is None or (type(error), error.code) in known
    assert not isinstance(error, errors.Throttled) or 1_000 <= error.delay_ms <= 24 * 3_600_000
