"""Times that answers name, in every form that a header may take."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateways.http_headers import regain_ms, retry_after_ms

NOW_MS = 1_761_050_000_000  # 2025-10-21 12:33:20 UTC


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("7", 7_000),
        (" 7 ", 7_000),
        ("0", 1_000),
        ("99999999999999999999", 900_000),
        ("Tue, 21 Oct 2025 12:33:50 GMT", 30_000),
        ("Tue, 21 Oct 2025 12:00:00 GMT", 1_000),
        ("Tue, 21 Oct 2026 12:33:20 GMT", 900_000),
        ("-5", None),
        ("7.5", None),
        ("soon", None),
        ("", None),
        ("\u0667", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(text, ms):
    assert retry_after_ms({"retry-after": text}, now_ms=NOW_MS) == ms


def usage(*minutes):
    return {
        "x-business-use-case-usage": json.dumps({"10229": [{"estimated_time_to_regain_access": m} for m in minutes]})
    }


@pytest.mark.parametrize(
    ("headers", "ms"),
    [
        (usage(19), 19 * 60_000),
        (usage(0, 5, 3), 5 * 60_000),
        (usage(0), None),
        (usage(-3), None),
        (usage(float("nan")), None),
        (usage(float("inf")), None),
        (usage("19"), None),
        (usage(True), None),
        ({"x-business-use-case-usage": '{"1": {"estimated_time_to_regain_access": 5}}'}, None),
        ({"x-business-use-case-usage": "[" * 100_000}, None),
        ({"x-business-use-case-usage": "no json"}, None),
        ({}, None),
    ],
)
def test_minutes_until_the_account_may_call_again(headers, ms):
    assert regain_ms(headers) == ms


@given(text=st.text() | st.integers().map(str))
def test_no_header_makes_it_fail(text):
    ms = retry_after_ms({"retry-after": text}, now_ms=NOW_MS)

    assert ms is None or 1_000 <= ms <= 900_000
    assert regain_ms({"x-business-use-case-usage": text}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("estimated_time_to_regain_access"), inner),
    max_leaves=10,
)


@given(value=json_values)
def test_no_usage_makes_it_fail(value):
    ms = regain_ms({"x-business-use-case-usage": json.dumps(value)})

    assert ms is None or 0 <= ms <= 60_000_000_000
