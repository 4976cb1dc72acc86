"""What an answer of the Cloud API means: code first, then status, and what no body may do."""

import json

import pytest
from cloud_cases import CASES, GROUP, NOW_MS, SEND, UPLOAD, refusal
from hypothesis import given
from hypothesis import strategies as st

from actors import errors
from actors.gateways.exchange import Answer, NoAnswer
from actors.gateways.whatsapp_cloud_errors import Accepted, Asked, Operation, classify


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means_what_the_table_says(case):
    answer = Answer(case.status, case.headers, case.body, complete=case.complete)

    verdict = classify(Asked(case.operation, "part m1:0"), answer, now_ms=NOW_MS)

    assert type(verdict) is case.kind
    if isinstance(verdict, errors.ChatError):
        assert verdict.code == case.code
        assert verdict.request_written
        assert case.alert is None or verdict.alert is case.alert
        assert case.delay_ms is None or verdict.delay_ms == case.delay_ms


@pytest.mark.parametrize(
    ("outcome", "operation", "kind", "code"),
    [
        (NoAnswer("ConnectError", request_written=False), SEND, errors.GatewayUnreachable, "gateway_unreachable"),
        (NoAnswer("ReadTimeout", request_written=True, timed_out=True), SEND, errors.Ambiguous, "timeout"),
        (NoAnswer("ReadError", request_written=True), SEND, errors.Ambiguous, "connection_lost"),
        (NoAnswer("ReadTimeout", request_written=True, timed_out=True), UPLOAD, errors.Transient, "timeout"),
        (NoAnswer("ReadError", request_written=True), GROUP, errors.Transient, "connection_lost"),
    ],
)
def test_no_answer_is_unknown_only_when_a_message_may_have_left(outcome, operation, kind, code):
    verdict = classify(Asked(operation, "part m1:0"), outcome)

    assert (type(verdict), verdict.code) == (kind, code)
    assert verdict.request_written is outcome.request_written


def test_a_file_that_meta_was_to_fetch_is_tried_once_more_and_an_uploaded_one_is_not():
    answer = Answer(400, {}, refusal(131053))

    by_link = classify(Asked(SEND, "x", by_link=True), answer)
    uploaded = classify(Asked(SEND, "x"), answer)

    assert (type(by_link), by_link.max_attempts) == (errors.Transient, 2)
    assert uploaded.permanent


def test_no_text_of_a_body_reaches_an_error():
    for case in CASES:
        verdict = classify(Asked(case.operation, "part m1:0"), Answer(case.status, case.headers, case.body))

        assert "5511988887777" not in f"{verdict!r} {verdict}"
        assert isinstance(verdict, Accepted) or "part m1:0" in str(verdict)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([190, 131056, 100, 33]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text() | st.sampled_from(["error", "code", "error_subcode", "messages", "id", "success"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode())
KINDS = (
    errors.AuthConfig,
    errors.BadPayload,
    errors.BadRecipient,
    errors.NotFound,
    errors.Permanent,
    errors.Throttled,
    errors.Transient,
    errors.Ambiguous,
)


def check_any(status, body, operation, headers):
    verdict = classify(Asked(operation, "x"), Answer(status, headers, body), now_ms=NOW_MS)

    assert type(verdict) in (Accepted, *KINDS)
    assert operation is SEND or not isinstance(verdict, errors.Ambiguous)
    assert not isinstance(verdict, Accepted) or 200 <= status < 300
    assert not isinstance(verdict, errors.ChatError) or len(str(verdict)) < 500


ANY = {
    "status": st.integers(100, 599),
    "body": bodies,
    "operation": st.sampled_from(Operation),
    "headers": st.dictionaries(st.sampled_from(["retry-after", "x-business-use-case-usage"]), st.text()),
}


@given(**ANY)
def test_any_answer_gets_a_typed_meaning(status, body, operation, headers):
    check_any(status, body, operation, headers)
