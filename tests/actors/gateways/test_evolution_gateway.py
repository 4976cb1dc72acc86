"""Evolution's own ways with a send, against a live sandbox: what no other gateway has."""

import logging

import pytest
from evolution_sends import DIGITS, GROUP, PERSON, gateway, part
from sandbox_fixture import Sandbox, sandbox

from actors import errors
from actors.domain import Instance, Lid, Media, MediaKind, Phone, Quote

__all__ = ["gateway", "sandbox"]

pytestmark = pytest.mark.contract


def failure(gateway, sandbox: Sandbox, wanted=None, instance=None):
    with pytest.raises(errors.ChatError) as caught:
        gateway.send(wanted or part(), instance=instance or sandbox.instance(), timeout_s=5)
    return type(caught.value), caught.value.code


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
