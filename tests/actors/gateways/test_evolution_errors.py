"""Every rule of the contract page, row by row, and what no body may do."""

import json
from typing import Any

import pytest
from evolution_cases import BOOM, CASES, FIND_ACCOUNT, GROUP, HTML, NOW_MS, PICTURE, SENT, TEXT, Case, envelope
from hypothesis import given
from hypothesis import strategies as st

from actors import errors
from actors.gateways.evolution_answers import Operation
from actors.gateways.evolution_errors import RULES, classify
from actors.gateways.evolution_rules import GroupUnclear, Success
from actors.gateways.exchange import Answer, NoAnswer


def judged(case: Case) -> Any:
    answer = Answer(case.status, case.headers, case.body, case.complete)
    return classify(case.operation, answer, subject="instance 'i1'", to_group=case.to_group, now_ms=NOW_MS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means_what_its_rule_says(case):
    verdict = judged(case)

    assert type(verdict) is case.kind
    if isinstance(verdict, Success):
        return
    assert verdict.code == case.code
    assert verdict.request_written
    assert f"rule {case.rule}" in str(verdict)
    assert verdict.max_attempts == case.max_attempts
    if case.delay_ms is not None:
        assert verdict.delay_ms == case.delay_ms


def test_every_rule_has_a_case():
    assert {rule.number for rule in RULES} == {case.rule for case in CASES}


def test_a_database_that_failed_after_the_send_is_a_send_without_id():
    verdict = judged(next(case for case in CASES if case.rule == "16"))

    assert verdict == Success(untracked=True)


@pytest.mark.parametrize(
    ("written", "timed_out", "kind", "code"),
    [
        (False, False, errors.GatewayUnreachable, "gateway_unreachable"),
        (True, True, errors.Ambiguous, "timeout"),
        (True, False, errors.Ambiguous, "connection_lost"),
    ],
)
def test_a_send_without_answer_is_ambiguous_once_a_byte_has_left(written, timed_out, kind, code):
    outcome = NoAnswer(cause="ReadError", request_written=written, timed_out=timed_out)

    verdict = classify(Operation.SEND_TEXT, outcome, subject="instance 'i1'")

    assert (type(verdict), verdict.code, verdict.request_written) == (kind, code, written)


@pytest.mark.parametrize("operation", [one for one in Operation if not one.is_send])
def test_a_question_is_never_ambiguous(operation):
    for case in CASES:
        answer = Answer(case.status, case.headers, case.body, case.complete)
        assert not isinstance(classify(operation, answer, subject="x", now_ms=NOW_MS), errors.Ambiguous)
    lost = classify(operation, NoAnswer("ReadError", request_written=True), subject="x")
    assert isinstance(lost, errors.Transient)


@pytest.mark.parametrize("said", ["Connection Closed", "Error: Connection Closed", "Timed Out", "rate-overlimit"])
def test_a_chat_message_that_quotes_an_error_decides_no_rule(said):
    # Evolution's database error quotes the row. Read as "closed", the message would be sent a second time.
    text = f"Invalid `this.prismaRepository.message.create()` invocation\n conversation: {said!r}"

    verdict = classify(Operation.SEND_TEXT, Answer(400, {}, envelope(400, [text])), subject="x")

    assert verdict == Success(untracked=True)


def test_a_proxy_page_that_says_connection_closed_is_not_a_closed_session():
    assert isinstance(classify(Operation.SEND_TEXT, Answer(502, {}, HTML), subject="x"), errors.Ambiguous)


PLANTED = ["5511988887777", "segredo do cliente", "KEY-3f9a"]


def planted_in(body: bytes) -> bytes:
    try:
        value = json.loads(body)
    except ValueError:
        return body + json.dumps(PLANTED).encode()
    if not isinstance(value, dict):
        return body
    # Last, so that what the rules look for still comes first.
    return json.dumps({**value, "planted": PLANTED, "code2": PLANTED}).encode()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_error_text_quotes_the_body(case):
    answer = Answer(case.status, {**case.headers, "x-planted": PLANTED[2]}, planted_in(case.body), case.complete)

    verdict = classify(case.operation, answer, subject="x", to_group=case.to_group, now_ms=NOW_MS)

    assert type(verdict) is case.kind
    assert not [
        secret for secret in PLANTED if secret in f"{verdict} {verdict!r} {verdict.__dict__ if case.code else ''}"
    ]


statuses = st.integers(min_value=100, max_value=599)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Connection Closed", "Error: x"]),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["response", "message", "key", "id", "code"]), inner)
    ),
)
bodies = st.binary() | json_values.map(lambda value: json.dumps(value).encode())


@given(
    status=statuses, body=bodies, operation=st.sampled_from(Operation), retry_after=st.text(), to_group=st.booleans()
)
def test_any_answer_gets_a_typed_meaning(status, body, operation, retry_after, to_group):
    answer = Answer(status, {"retry-after": retry_after}, body)

    verdict = classify(operation, answer, subject="x", to_group=to_group, now_ms=NOW_MS)

    assert isinstance(verdict, Success | errors.ChatError)
    if isinstance(verdict, Success) and operation.is_send and not verdict.untracked:
        assert verdict.message_id


#: What each operation is answered while the session is closed, executed against 2.3.6.
CLOSED = [
    (TEXT, 500, envelope(500, "Connection Closed"), False),
    (TEXT, 400, envelope(400, ["Error: Connection Closed"]), False),
    (FIND_ACCOUNT, 400, BOOM, False),
    (GROUP, 404, envelope(404, ["Error fetching group", "Error: Connection Closed"]), False),
]


@pytest.mark.parametrize(("operation", "status", "body", "to_group"), CLOSED)
def test_a_closed_session_is_known_by_what_each_operation_says(operation, status, body, to_group):
    verdict = classify(operation, Answer(status, {}, body), subject="x", to_group=to_group)

    assert (type(verdict), verdict.code) == (errors.InstanceUnavailable, "connection_closed")


def test_a_closed_session_is_no_picture_and_a_group_that_must_be_asked_for():
    picture = classify(PICTURE, Answer(200, {}, b'{"wuid": "x", "profilePictureUrl": null}'), subject="x")
    group = classify(TEXT, Answer(400, {}, envelope(400, ["[object Object]"])), subject="x", to_group=True)

    assert isinstance(picture, Success)
    assert isinstance(group, GroupUnclear)


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"  \r\n"])
def test_a_mark_before_the_json_hides_no_id(prefix):
    assert classify(TEXT, Answer(201, {}, prefix + SENT), subject="x") == classify(
        TEXT, Answer(201, {}, SENT), subject="x"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b"[" * 900 + b"]" * 900,
        b"x" * 2_000_000,
        json.dumps(["Connection Closed" * 10] * 100_000).encode(),
        b'{"key": {"id": ' + b"9" * 100_000 + b"}}",
        "{}".encode("utf-16"),
        b"\xff\xfe\x00",
    ],
    ids=["endless", "deep", "garbage", "huge", "number", "utf16", "bytes"],
)
@pytest.mark.parametrize("status", [200, 201, 400, 404, 500, 503])
def test_a_monstrous_body_gets_a_typed_meaning(status, body):
    verdict = classify(Operation.SEND_TEXT, Answer(status, {}, body), subject="x")

    assert isinstance(verdict, errors.ChatError)
