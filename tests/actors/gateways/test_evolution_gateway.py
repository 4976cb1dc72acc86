"""Evolution's own ways, against a live sandbox: what no other gateway has."""

import json
import logging

import pytest
from sandbox_fixture import Sandbox, sandbox

from actors import errors
from actors.domain import GroupJid, Instance, Lid, Media, MediaKind, OutgoingPart, Phone, Quote
from actors.gateways.base import make_gateway
from actors.gateways.evolution_search import MAX_PAGES, PAGE_SIZE
from actors.gateways.sandbox.saved import StoredMessage
from actors.settings import Settings
from middleware.clock import SystemClock

__all__ = ["sandbox"]

pytestmark = pytest.mark.contract

PERSON = Phone("+5511988887777")
GROUP = GroupJid("120363025246125486@g.us")
DIGITS = "5511988887777"


@pytest.fixture
def gateway():
    made = make_gateway("evolution", Settings())
    yield made
    made.close()


def part(text="oi", recipient=PERSON, **fields):
    return OutgoingPart(message_id="m1", part=0, recipient=recipient, text=text, **fields)


def failure(gateway, sandbox: Sandbox, wanted=None, instance=None):
    with pytest.raises(errors.ChatError) as caught:
        gateway.send(wanted or part(), instance=instance or sandbox.instance(), timeout_s=5)
    return type(caught.value), caught.value.code


def search(gateway, sandbox: Sandbox, wanted=None, *, since_ms=None, until_ms=None, bound_ids=()):
    now_ms = SystemClock().now_ms()
    return gateway.find_sent(
        wanted or part(),
        instance=sandbox.instance(),
        since_ms=now_ms if since_ms is None else since_ms,
        until_ms=now_ms if until_ms is None else until_ms,
        bound_ids=bound_ids,
    )


def test_client_headers_name_message_and_place(gateway, sandbox):
    gateway.send(part(sequence=9), instance=sandbox.instance(), timeout_s=5)

    delivery = sandbox.admin.deliveries()[0]
    assert (delivery["client_ref"], delivery["client_seq"]) == ("m1:0", 9)
    assert delivery["requested_number"] == DIGITS


def test_an_unknown_instance_is_for_an_operator(gateway, sandbox):
    instance = Instance(name="nope", base_url=sandbox.url, api_key="any key at all".replace(" ", "-"))

    # Evolution looks for the instance before it looks at the key.
    assert failure(gateway, sandbox, instance=instance) == (errors.AuthConfig, "instance_missing")


def test_a_wrong_base_url_is_for_an_operator(gateway, sandbox):
    instance = Instance(name="i1", base_url=f"{sandbox.url}/v1", api_key=sandbox.apikey)

    assert failure(gateway, sandbox, instance=instance) == (errors.AuthConfig, "wrong_url")


def test_a_redirect_is_for_an_operator_and_not_followed(gateway, sandbox):
    sandbox.admin.add_fault({"type": "status", "status": 301, "headers": {"Location": f"{sandbox.url}/elsewhere"}})

    assert failure(gateway, sandbox) == (errors.AuthConfig, "wrong_url")
    assert len(sandbox.requests()) == 1


def test_a_number_without_an_account_is_given_up_after_one_request(gateway, sandbox):
    sandbox.admin.put_contact(DIGITS, exists=False)

    assert failure(gateway, sandbox) == (errors.NotOnWhatsApp, "not_on_whatsapp")
    assert len(sandbox.requests()) == 1


def test_a_linked_id_is_sent_to_as_such(gateway, sandbox):
    gateway.send(part(recipient=Lid("123456789012345@lid")), instance=sandbox.instance(), timeout_s=5)

    assert sandbox.admin.deliveries()[0]["jid"] == "123456789012345@lid"


def test_a_brazilian_number_that_loses_its_ninth_digit_is_no_mismatch(gateway, sandbox):
    receipt = gateway.send(part(recipient=Phone("+5531991234567")), instance=sandbox.instance(), timeout_s=5)

    assert (receipt.recipient_jid, receipt.mismatch) == ("553191234567@s.whatsapp.net", False)


@pytest.mark.parametrize("jid", ["5511900000000@s.whatsapp.net", "123@g.us", "123456789012345@lid"])
def test_an_answer_that_names_somebody_else_is_flagged_not_failed(gateway, sandbox, caplog, jid):
    sandbox.admin.add_fault({"type": "wrong_jid", "jid": jid})

    receipt = gateway.send(part(), instance=sandbox.instance(), timeout_s=5)

    # It has gone out: an error would make somebody send it again.
    assert receipt.provider_message_id
    assert receipt.mismatch
    assert [one.message for one in caplog.records] == ["gateway.recipient_mismatched"]
    assert jid not in caplog.text


def test_a_send_whose_row_was_lost_is_sent_without_an_id(gateway, sandbox):
    sandbox.admin.add_fault({"type": "status", "preset": "prisma_after_send"})

    receipt = gateway.send(part("Connection Closed"), instance=sandbox.instance(), timeout_s=5)

    assert receipt.provider_message_id is None
    assert len(sandbox.admin.deliveries()) == 1


@pytest.mark.parametrize(
    ("recipient", "known"), [(PERSON, False), (PERSON, True), (Lid("123456789012345@lid"), False), (GROUP, True)]
)
def test_a_closed_session_is_known_in_each_of_its_forms(gateway, sandbox, recipient, known):
    sandbox.admin.put_group(GROUP.jid)
    if known:
        gateway.send(part("first", recipient), instance=sandbox.instance(), timeout_s=5)
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})

    assert failure(gateway, sandbox, part("second", recipient)) == (errors.InstanceUnavailable, "connection_closed")
    assert len(sandbox.admin.deliveries()) == known


def test_a_session_that_says_open_and_is_closed_is_believed_by_its_deeds(gateway, sandbox):
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "lie": True})

    assert "open" in gateway.check(sandbox.instance())
    assert failure(gateway, sandbox) == (errors.InstanceUnavailable, "connection_closed")


def test_an_instance_that_is_not_loaded_yet_costs_no_attempt(gateway, sandbox):
    sandbox.admin.put_instance("i1", loaded=False)

    assert failure(gateway, sandbox) == (errors.InstanceUnavailable, "instance_not_loaded")


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ("forbidden", errors.Permanent, "group_forbidden"),
        ("item-not-found", errors.NotFound, "group_missing"),
        ("rate-overlimit", errors.Throttled, "rate_overlimit"),
    ],
)
def test_why_a_group_cannot_be_sent_to_is_asked_before_it_is_judged(gateway, sandbox, error, kind, code):
    sandbox.admin.put_group(GROUP.jid, error=error)

    assert failure(gateway, sandbox, part(recipient=GROUP)) == (kind, code)
    assert [one["op"] for one in sandbox.requests()] == ["sendText", "findGroupInfos"]


def test_a_group_that_can_be_read_again_is_worth_another_attempt(gateway, sandbox):
    sandbox.admin.put_group(GROUP.jid)
    sandbox.admin.add_fault({"type": "status", "preset": "object_object"}, match={"op": "sendText"})

    with pytest.raises(errors.Transient) as caught:
        gateway.send(part(recipient=GROUP), instance=sandbox.instance(), timeout_s=5)

    assert caught.value.code == "group_unclear"


@pytest.mark.parametrize(
    ("action", "kind", "code"),
    [
        ({"preset": "timed_out"}, errors.Ambiguous, "timed_out"),
        ({"preset": "no_sessions"}, errors.Transient, "no_session"),
        ({"preset": "usync_find"}, errors.Transient, "lookup_failed"),
        ({"preset": "object_object"}, errors.Ambiguous, "gateway_error"),
        ({"preset": "graph_error_201"}, errors.AuthConfig, "not_in_test_list"),
        ({"preset": "nginx_504", "when": "after_accept"}, errors.Ambiguous, "bad_gateway"),
        ({"preset": "cf_524"}, errors.Ambiguous, "bad_gateway"),
        ({"preset": "envoy_503_reset"}, errors.Ambiguous, "bad_gateway"),
        ({"preset": "nginx_503"}, errors.Transient, "unavailable"),
        ({"preset": "429"}, errors.Throttled, "rate_limited"),
        ({"status": 500, "body": {"message": "Request failed with status code 404"}}, errors.BadPayload, "media_url"),
    ],
    ids=lambda one: one.get("preset", "axios") if isinstance(one, dict) else None,
)
def test_each_answer_of_the_sandbox_is_classed_as_the_real_one(gateway, sandbox, action, kind, code):
    sandbox.admin.add_fault({"type": "status", **action})
    picture = Media(kind=MediaKind.IMAGE, url="https://f.example/a", mimetype="image/png", file_name="a.png")
    wanted = part(media=picture) if code == "media_url" else part()

    assert failure(gateway, sandbox, wanted) == (kind, code)


def test_a_file_that_cannot_be_fetched_is_tried_few_times(gateway, sandbox):
    picture = Media(kind=MediaKind.IMAGE, url="https://gone.invalid/a", mimetype="image/png", file_name="a.png")

    with pytest.raises(errors.Transient) as caught:
        gateway.send(part(media=picture), instance=sandbox.instance(), timeout_s=5)

    assert (caught.value.code, caught.value.max_attempts) == ("media_fetch", 3)


def test_a_refusal_of_what_was_built_here_is_logged_as_ours(gateway, sandbox, caplog):
    picture = Media(kind=MediaKind.IMAGE, url="http://minio:9000/a", mimetype="image/png", file_name="a.png")

    assert failure(gateway, sandbox, part(media=picture)) == (errors.BadPayload, "bad_payload")
    assert [(one.message, one.levelno) for one in caplog.records] == [("gateway.payload_refused", logging.ERROR)]


def test_files_keep_their_type_through_their_name(gateway, sandbox):
    picture = Media(kind=MediaKind.IMAGE, url="https://f.example/a", mimetype="image/png", file_name="sem extensão")

    gateway.send(part(media=picture), instance=sandbox.instance(), timeout_s=5)

    # Without an extension the real one arrives as type "false".
    assert sandbox.admin.deliveries()[0]["media"]["mimetype"] == "image/png"


def test_a_reply_to_an_unknown_message_is_seen_as_lost_by_the_sandbox(gateway, sandbox):
    quote = Quote(provider_message_id="3EB0UNKNOWN", from_me=False)

    gateway.send(part(quote=quote), instance=sandbox.instance(), timeout_s=5)

    assert sandbox.admin.deliveries()[0]["quote_lost"]


def test_a_message_outside_the_window_is_another_one(gateway, sandbox):
    gateway.send(part(), instance=sandbox.instance(), timeout_s=5)
    now_ms = SystemClock().now_ms()

    assert search(gateway, sandbox) is not None
    assert search(gateway, sandbox, since_ms=now_ms + 20_000, until_ms=now_ms + 30_000) is None
    assert search(gateway, sandbox, since_ms=now_ms - 30_000, until_ms=now_ms - 20_000) is None


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_server_whose_clock_is_wrong_is_searched_by_its_own_clock(gateway, sandbox, hours):
    sandbox.admin.advance(hours * 3_600)
    since_ms = SystemClock().now_ms()
    receipt = gateway.send(part(), instance=sandbox.instance(), timeout_s=5)

    assert search(gateway, sandbox, since_ms=since_ms) == receipt


def test_a_message_saved_late_is_not_found_yet(gateway, sandbox):
    sandbox.admin.add_fault({"type": "persist_lag", "ms": 20_000})
    since_ms = SystemClock().now_ms()
    gateway.send(part(), instance=sandbox.instance(), timeout_s=5)

    assert search(gateway, sandbox, since_ms=since_ms) is None
    sandbox.admin.advance(20)
    # The look comes 20 s later, too.
    assert search(gateway, sandbox, since_ms=since_ms, until_ms=since_ms + 20_000) is not None


def test_every_page_is_searched(gateway, sandbox):
    since_ms = SystemClock().now_ms()
    first = gateway.send(part("procurada"), instance=sandbox.instance(), timeout_s=5)
    for n in range(PAGE_SIZE + 5):
        gateway.send(part(f"outra {n}"), instance=sandbox.instance(), timeout_s=5)

    assert search(gateway, sandbox, part("procurada"), since_ms=since_ms) == first


def test_a_search_that_is_too_long_is_not_an_empty_one(gateway, sandbox):
    gateway.send(part("outra"), instance=sandbox.instance(), timeout_s=5)
    state = sandbox.server.state
    record = state.saved.newest_first("i1")[0].record
    with state.lock:
        for _ in range(PAGE_SIZE * MAX_PAGES):
            state.saved.add(StoredMessage("i1", record, 0))

    with pytest.raises(errors.Transient) as caught:
        search(gateway, sandbox)

    assert caught.value.code == "too_many_sent"


@pytest.mark.parametrize("body", [{}, [], "null", {"messages": {"records": None}}])
def test_an_answer_that_is_no_list_is_not_an_empty_one(gateway, sandbox, body):
    body = {"status": 200, "body": body} if body != "null" else {"status": 200, "body": "null"}
    sandbox.admin.add_fault({"type": "status", **body}, match={"op": "findMessages"})

    with pytest.raises(errors.Transient) as caught:
        search(gateway, sandbox)

    assert caught.value.code == "unreadable_answer"


def test_a_picture_is_asked_for_with_post(gateway, sandbox):
    sandbox.admin.put_contact(DIGITS, picture_url="https://pps.whatsapp.net/a.jpg")

    assert gateway.fetch_profile_picture(PERSON, instance=sandbox.instance()) == "https://pps.whatsapp.net/a.jpg"
    assert sandbox.requests()[0]["method"] == "POST"


def test_no_picture_and_a_closed_session_both_say_nothing(gateway, sandbox):
    assert gateway.fetch_profile_picture(PERSON, instance=sandbox.instance()) is None
    sandbox.admin.put_contact(DIGITS, picture_url="https://pps.whatsapp.net/a.jpg")
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})

    assert gateway.fetch_profile_picture(PERSON, instance=sandbox.instance()) is None


@pytest.mark.parametrize(
    "body",
    [
        {"wuid": "5511900000000@s.whatsapp.net", "profilePictureUrl": "https://pps.whatsapp.net/other.jpg"},
        {"wuid": f"{DIGITS}@s.whatsapp.net", "profilePictureUrl": "file:///etc/passwd"},
        {"wuid": f"{DIGITS}@s.whatsapp.net", "profilePictureUrl": 7},
        {"wuid": f"{DIGITS}@s.whatsapp.net"},
    ],
)
def test_a_picture_of_somebody_else_or_of_no_use_is_none(gateway, sandbox, body):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": body})

    assert gateway.fetch_profile_picture(PERSON, instance=sandbox.instance()) is None


def test_a_question_that_gets_no_answer_may_be_asked_again(gateway, sandbox):
    sandbox.admin.add_fault({"type": "drop"})

    with pytest.raises(errors.Transient) as caught:
        gateway.fetch_profile_picture(PERSON, instance=sandbox.instance())

    assert caught.value.code == "connection_lost"


def test_a_group_is_told_as_far_as_it_is_known(gateway, sandbox):
    members = [{"id": "1@lid", "phoneNumber": "5511999990001@s.whatsapp.net", "admin": None}]
    sandbox.admin.put_group(GROUP.jid, subject="Equipe", owner="1@lid", participants=members)

    info = gateway.fetch_group_info(GROUP, instance=sandbox.instance())

    assert (info.jid, info.subject, info.owner, info.size) == (GROUP.jid, "Equipe", "1@lid", 1)
    assert info.participants == tuple(members)
    # Not said is not the same as empty.
    assert (info.description, info.picture_url) == (None, None)


@pytest.mark.parametrize("body", ["null", json.dumps({"id": "1@g.us", "subject": "Outra"}), "[]"])
def test_no_group_or_another_one_is_never_taken_for_it(gateway, sandbox, body):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": body})

    with pytest.raises(errors.Transient):
        gateway.fetch_group_info(GROUP, instance=sandbox.instance())


def test_the_version_is_told(gateway, sandbox):
    instance = sandbox.instance()
    with_default = make_gateway("sandbox", sandbox.settings())

    assert with_default.check() == "Evolution 2.3.6 answers at 127.0.0.1"
    assert gateway.check(instance) == "the session of instance 'i1' is open"
    with_default.close()


@pytest.mark.parametrize(
    ("version", "said"), [("2.4.0", "tested with 2.3"), ("1.8.2", "2.x is needed"), (None, "not as Evolution")]
)
def test_another_version_is_told_or_refused(sandbox, version, said):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": {"version": version}})
    gateway = make_gateway("sandbox", sandbox.settings())

    try:
        line = gateway.check()
    except errors.AuthConfig as error:
        line = str(error)

    assert said in line
    gateway.close()


def test_without_a_default_server_there_is_nothing_to_check(gateway):
    with pytest.raises(errors.NoCredentials):
        gateway.check()


@pytest.mark.parametrize("state", ["close", "connecting"])
def test_a_session_that_is_not_open_is_told(gateway, sandbox, state):
    sandbox.admin.put_instance("i1", state=state)

    with pytest.raises(errors.InstanceUnavailable, match=state):
        gateway.check(sandbox.instance())
