"""Webhooks of the Cloud API: who signed them, what they say, and what no body may do."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateways.cloud_webhooks import MAX_UPDATES, is_signed, sign, updates
from actors.updates import DeliveryStatus, StatusUpdate

SECRET = "app-secret"


def status(**fields):
    told = {"id": "wamid.1", "status": "sent", "timestamp": "1739321024", "recipient_id": "5511988887777", **fields}
    return {name: value for name, value in told.items() if value is not None}


def body(*statuses, number_id="106540352242922"):
    value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": number_id}, "statuses": list(statuses)}
    entry = {"id": "10229", "changes": [{"value": value, "field": "messages"}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


# -- the signature ---------------------------------------------------------------------------------------------------


def test_metas_own_example_of_a_signature():
    # RFC 4231, test case 2: what any HMAC-SHA256 gives.
    known = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert sign(b"what do ya want for nothing?", app_secret="Jefe") == known
    assert is_signed(b"what do ya want for nothing?", known, app_secret="Jefe")


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        sign(b"{}", app_secret=SECRET)[:-1],
        sign(b"{}", app_secret=SECRET).removeprefix("sha256="),
        sign(b"{}", app_secret=SECRET).replace("sha256", "sha1"),
        sign(b"{}", app_secret=SECRET).upper(),
        sign(b"{} ", app_secret=SECRET),
        sign(b"{}", app_secret="another"),
        "sha256=é\ud800",
    ],
)
def test_any_other_signature_is_none(signature):
    assert not is_signed(b"{}", signature, app_secret=SECRET)


def test_without_a_secret_nothing_is_signed():
    assert not is_signed(b"{}", sign(b"{}", app_secret=""), app_secret="")


@given(raw=st.binary(), signature=st.text(), flipped=st.integers(0, 255))
def test_only_the_exact_bytes_are_signed(raw, signature, flipped):
    good = sign(raw, app_secret=SECRET)

    assert is_signed(raw, good, app_secret=SECRET)
    assert not is_signed(raw + bytes([flipped]), good, app_secret=SECRET)
    assert is_signed(raw, signature, app_secret=SECRET) is (signature == good)


# -- what is said ----------------------------------------------------------------------------------------------------


def test_a_status_gives_back_our_reference_and_who_sent():
    [update] = updates(body(status(biz_opaque_callback_data="m1:0")))

    assert update == StatusUpdate(
        provider_message_id="wamid.1",
        status=DeliveryStatus.SENT,
        at_ms=1_739_321_024_000,
        reference="m1:0",
        phone_number_id="106540352242922",
        recipient="5511988887777",
    )


@pytest.mark.parametrize("said", ["sent", "delivered", "read", "played", "failed"])
def test_each_status_is_known(said):
    assert [update.status for update in updates(body(status(status=said)))] == [DeliveryStatus(said)]


@pytest.mark.parametrize(
    ("errors", "code", "alert"),
    [
        ([{"code": 131026}], "undeliverable", False),
        ([{"code": 131047}], "window_closed", False),
        ([{"code": 131049}], "marketing_cap", False),
        ([{"code": 131050}], "opted_out", False),
        ([{"code": 131053}], "media_url", False),
        ([{"code": 131056}], "rate_limited", False),
        ([{"code": 131048}], "quality_limited", True),
        ([{"code": 132015}], "template_paused", True),
        ([{"code": 131042}], "registration", True),
        ([{"code": 190}, {"code": 131026}], "token_refused", True),
        ([{"code": 987_654}], "unknown_code", True),
        ([{"code": "131047"}], "window_closed", False),
        ([{"code": None}], "not_delivered", False),
        ([], "not_delivered", False),
        (None, "not_delivered", False),
        ("no list", "not_delivered", False),
    ],
)
def test_a_failure_has_the_reason_that_an_answer_would_have(errors, code, alert):
    [update] = updates(body(status(status="failed", errors=errors)))

    assert (update.error_code, update.alert) == (code, alert)


def test_an_error_beside_a_success_is_no_failure():
    [update] = updates(body(status(status="delivered", errors=[{"code": 131026}])))

    assert (update.error_code, update.alert) == (None, False)


def test_repeats_in_one_body_are_one_and_the_order_is_kept():
    statuses = [status(), status(timestamp="1739321099"), status(status="read"), status(id="wamid.2"), status()]

    found = updates(body(*statuses))

    assert [update.key for update in found] == [("wamid.1", "sent"), ("wamid.1", "read"), ("wamid.2", "sent")]
    assert found[0].at_ms == 1_739_321_024_000


def test_a_group_is_named_by_its_id():
    group = status(recipient_id="Y2FwaV9ncm91cDox", recipient_type="group", recipient_participant_id="5511988887777")

    assert updates(body(group))[0].recipient == "Y2FwaV9ncm91cDox"


@pytest.mark.parametrize(
    "told",
    [
        status(id=None),
        status(id=""),
        status(id=7),
        status(id="w" * 256),
        status(id="wamid.\x00"),
        status(id="wamid.\ud800"),
        status(status="deleted"),
        status(status=None),
        status(status=["sent"]),
        status(status={"sent": 1}),
    ],
)
def test_what_is_no_status_of_a_message_is_left_out(told):
    assert updates(body(told, status(id="wamid.2")))[0].provider_message_id == "wamid.2"


@pytest.mark.parametrize("reference", ["", "x" * 513, 7, "a\x00b", "\ud800", None])
def test_a_reference_that_is_not_ours_is_none(reference):
    assert updates(body(status(biz_opaque_callback_data=reference)))[0].reference is None


@pytest.mark.parametrize("timestamp", ["soon", "", None, -5, "9" * 400, 1e300, True, [1], "99999999999"])
def test_a_time_that_is_none_is_zero(timestamp):
    assert updates(body(status(timestamp=timestamp)))[0].at_ms == 0


def test_more_than_meta_ever_puts_into_a_post_is_not_read():
    assert len(updates(body(*(status(id=f"wamid.{n}") for n in range(MAX_UPDATES + 50))))) == MAX_UPDATES


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"entry": {}}',
        b'{"entry": [null, 1, {"changes": 1}, {"changes": [null, {"value": []}]}]}',
        b'{"entry": [{"changes": [{"value": {"statuses": {"id": "w"}, "metadata": 1}}]}]}',
        b'{"entry": [{"changes": [{"value": {"messages": [{"id": "wamid.in", "text": {"body": "oi"}}]}}]}]}',
        b"9" * 10_000,
    ],
)
def test_a_body_that_says_nothing_of_ours_gives_nothing(raw):
    assert updates(raw) == []


def test_no_number_shows_where_an_update_is_printed():
    assert "5511988887777" not in repr(updates(body(status())))


WORDS = [
    "entry",
    "changes",
    "value",
    "statuses",
    "metadata",
    "phone_number_id",
    "id",
    "status",
    "sent",
    "failed",
    "errors",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*WORDS, 131056, "code"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from([*WORDS, "code", "timestamp"]), inner, max_size=5)
    ),
    max_leaves=15,
)


def check_any(raw):
    for update in updates(raw):
        assert update.provider_message_id.isprintable()
        assert 0 <= update.at_ms < 5_000_000_000_000
        assert (update.error_code is None) is (update.status is not DeliveryStatus.FAILED)


@given(raw=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_body_makes_it_fail(raw):
    check_any(raw)


FIELDS = [*status(), "errors", "biz_opaque_callback_data"]


@given(told=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4))
def test_no_status_makes_it_fail(told):
    check_any(body(told, status(**told)))
