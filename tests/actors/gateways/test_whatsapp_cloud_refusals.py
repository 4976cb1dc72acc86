"""What each refusal of the Cloud API means to a live client, and what is known where an answer or an upload fails."""

import logging

import pytest
from cloud_sends import gateway, media, part, sandbox, send
from sandbox_fixture import NUMBER_ID

from actors import errors
from actors.domain import Instance, Media, MediaKind, Phone
from actors.gateways.base import make_gateway
from actors.gateways.exchange import Answer
from actors.gateways.sandbox.cloud_replies import CODES
from actors.gateways.whatsapp_cloud import WhatsAppCloudGateway
from actors.gateways.whatsapp_cloud_endpoint import CloudEndpoint
from actors.settings import Settings

__all__ = ["gateway", "sandbox", "send"]

pytestmark = pytest.mark.contract


# -- each code of Meta's table, as Meta answers it -------------------------------------------------------------------

AUTH, DEAD = errors.AuthConfig, errors.Permanent
MEANINGS = {
    **dict.fromkeys((0, 190), (AUTH, "token_refused")),
    **dict.fromkeys((3, 10, 200, 299, 131005), (AUTH, "permission")),
    **dict.fromkeys((368, 131031), (AUTH, "account_locked")),
    33: (AUTH, "phone_number_id"),
    131030: (AUTH, "not_in_test_list"),
    **dict.fromkeys((131037, 131042, 131045, 133000, 133005, 133006), (AUTH, "registration")),
    **dict.fromkeys((133008, 133009, 133010, 133015, 133016), (AUTH, "registration")),
    **dict.fromkeys((131207, 131215), (DEAD, "groups_not_allowed")),
    **dict.fromkeys((4, 80007, 130429, 131056, 131057, 131208), (errors.Throttled, "rate_limited")),
    **dict.fromkeys((131048, 131064), (errors.Throttled, "quality_limited")),
    **dict.fromkeys((2, 131016, 133004), (errors.Transient, "provider_overloaded")),
    **dict.fromkeys((1, 131000), (errors.Ambiguous, "provider_unclear")),
    **dict.fromkeys((100, 131008, 131009, 131051, 135000), (errors.BadPayload, "bad_payload")),
    131021: (errors.BadRecipient, "recipient_is_sender"),
    131026: (DEAD, "undeliverable"),
    131047: (DEAD, "window_closed"),
    131049: (DEAD, "marketing_cap"),
    131050: (DEAD, "opted_out"),
    130472: (DEAD, "experiment"),
    130497: (DEAD, "country_restricted"),
    **dict.fromkeys((131052, 131053), (DEAD, "media_url")),
    **dict.fromkeys((132015, 132016), (DEAD, "template_paused")),
    **dict.fromkeys((132000, 132001, 132005, 132007, 132012, 132068, 132069), (DEAD, "template")),
    **dict.fromkeys((131020, 131041, 131059, 131201), (DEAD, "group_refused")),
}


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_refusal_means_what_its_code_means_and_is_not_repeated(send, sandbox, code):
    sandbox.admin.add_fault({"type": "status", "preset": f"graph_{code}"})

    with pytest.raises(errors.ChatError) as caught:
        send()

    error = caught.value
    assert (type(error), error.code) == MEANINGS[code]
    assert error.permanent is (MEANINGS[code][0] not in (errors.Throttled, errors.Transient, errors.Ambiguous))
    assert "cloud-1" in str(error)
    assert "m1:0" in str(error)
    assert "5511988887777" not in str(error)
    assert len(sandbox.admin.requests()) == 1
    assert sandbox.admin.deliveries() == []


@pytest.mark.parametrize(("code", "events"), [(131048, ["gateway.alerted"]), (131056, []), (132015, [])])
def test_a_limit_that_a_person_must_lift_is_told_although_the_message_only_waits(send, sandbox, caplog, code, events):
    sandbox.admin.add_fault({"type": "status", "preset": f"graph_{code}"})

    with caplog.at_level(logging.ERROR), pytest.raises(errors.ChatError):
        send()

    assert [record.message for record in caplog.records] == events


def test_every_code_that_has_a_meaning_is_tried():
    assert set(MEANINGS) == set(CODES)


def test_a_missing_number_is_told_by_its_subcode(send, sandbox):
    unknown = sandbox.cloud_instance(phone_number_id="999")

    with pytest.raises(errors.AuthConfig) as caught:
        send(instance=unknown)

    assert caught.value.code == "phone_number_id"


def test_the_account_waits_as_long_as_its_usage_says(send, sandbox):
    usage = '{"10229": [{"type": "messages", "estimated_time_to_regain_access": 12}]}'
    sandbox.admin.add_fault(
        {"type": "status", "preset": "graph_80007", "headers": {"X-Business-Use-Case-Usage": usage}}
    )

    with pytest.raises(errors.Throttled) as caught:
        send()

    assert (caught.value.delay_ms, caught.value.scope) == (720_000, "account")


def test_one_pair_waits_and_another_goes_on(send, sandbox):
    sandbox.admin.put_limits(pair={"rate": 0.1, "burst": 2}, mode="429")
    other = Phone("+5511977776666")
    send()
    send()

    with pytest.raises(errors.Throttled) as caught:
        send()
    send(part(recipient=other))

    assert (caught.value.scope, caught.value.delay_ms, caught.value.grows_by) == ("pair", 1_000, 4)
    assert [one["jid"][:13] for one in sandbox.admin.deliveries()] == ["5511988887777"] * 2 + ["5511977776666"]


@pytest.mark.parametrize(
    ("action", "kind", "code"),
    [
        ({"type": "status", "preset": "nginx_502"}, errors.Ambiguous, "bad_gateway"),
        ({"type": "status", "preset": "nginx_503"}, errors.Ambiguous, "bad_gateway"),
        ({"type": "status", "preset": "cf_520"}, errors.Ambiguous, "bad_gateway"),
        ({"type": "status", "status": 500, "body": "<html>"}, errors.Ambiguous, "unknown_status"),
        ({"type": "status", "status": 500, "body": {"error": {"code": 7}}}, errors.Ambiguous, "unknown_code"),
        ({"type": "status", "status": 400, "body": {"error": {"code": 7}}}, errors.Permanent, "unknown_code"),
        ({"type": "status", "status": 418, "body": ""}, errors.Permanent, "unknown_status"),
        ({"type": "status", "status": 302, "body": "", "headers": {"Location": "/x"}}, errors.AuthConfig, "wrong_url"),
        ({"type": "invalid_json", "body": "html"}, errors.Ambiguous, "no_message_id"),
        ({"type": "invalid_json", "body": "cut"}, errors.Ambiguous, "no_message_id"),
        ({"type": "invalid_json", "body": "empty"}, errors.Ambiguous, "no_message_id"),
        ({"type": "invalid_json", "body": "null"}, errors.Ambiguous, "no_message_id"),
        ({"type": "truncate", "bytes": 30}, errors.Ambiguous, "answer_cut"),
        ({"type": "drop"}, errors.Ambiguous, "connection_lost"),
        ({"type": "drop", "when": "after_accept"}, errors.Ambiguous, "connection_lost"),
    ],
    ids=lambda value: "-".join(map(str, value.values()))[:40] if isinstance(value, dict) else None,
)
def test_an_answer_that_says_nothing_is_unknown(send, sandbox, action, kind, code):
    sandbox.admin.add_fault(action)

    with pytest.raises(errors.ChatError) as caught:
        send()

    assert (type(caught.value), caught.value.code) == (kind, code)


# -- an upload sends nothing, so its failures are never unknown ------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ({"type": "drop"}, errors.Transient),
        ({"type": "drop", "when": "after_accept"}, errors.Transient),
        ({"type": "status", "preset": "nginx_504"}, errors.Transient),
        ({"type": "invalid_json"}, errors.Transient),
        ({"type": "truncate", "bytes": 5}, errors.Transient),
        ({"type": "status", "preset": "graph_131000"}, errors.Transient),
        ({"type": "status", "preset": "graph_131053"}, errors.Permanent),
        ({"type": "status", "preset": "graph_190"}, errors.AuthConfig),
    ],
    ids=lambda value: "-".join(map(str, value.values()))[:40] if isinstance(value, dict) else None,
)
def test_a_failed_upload_sent_nothing(send, sandbox, action, kind):
    sandbox.admin.add_fault(action, match={"op": "media"})

    with pytest.raises(errors.ChatError) as caught:
        send(part(media=media(MediaKind.IMAGE, "image/png", b"x")))

    assert type(caught.value) is kind
    assert [one["op"] for one in sandbox.admin.requests()] == ["media"]


class SlowExchange:
    """Answers every request with an id and takes two seconds of ``clock`` for it."""

    def __init__(self):
        self.clock_ms = 0
        self.totals_s = []

    def boot_ms(self):
        return self.clock_ms

    def now_ms(self):
        return self.clock_ms

    def request(self, method, url, *, headers, content, read_s, total_s):
        self.totals_s.append(total_s)
        self.clock_ms += 2_000
        return Answer(200, {}, b'{"id": "7", "messages": [{"id": "wamid.1"}]}')


def test_upload_and_message_share_one_deadline():
    slow = SlowExchange()
    endpoint = CloudEndpoint(base_url="http://127.0.0.1:1/v24.0", token="t")
    gateway = WhatsAppCloudGateway(lambda _: endpoint, clock=slow, exchange=slow)
    made = part(media=media(MediaKind.IMAGE, "image/png", b"x"))

    gateway.send(made, instance=Instance(name="cloud-1", phone_number_id=NUMBER_ID), timeout_s=5.0)

    assert slow.totals_s == [5.0, 3.0]


def test_a_message_for_which_no_time_is_left_is_not_sent(sandbox):
    gateway = make_gateway("whatsapp_cloud", Settings())

    with pytest.raises(errors.GatewayUnreachable) as caught:
        gateway.send(part(), instance=sandbox.cloud_instance(), timeout_s=0.0)

    gateway.close()
    assert not caught.value.request_written
    assert sandbox.admin.requests() == []


def test_a_link_that_flaked_is_tried_once_more(send, sandbox):
    gone = Media(kind=MediaKind.IMAGE, url="https://gone.invalid/a.png", mimetype="image/png", file_name="a.png")

    with pytest.raises(errors.Transient) as caught:
        send(part(media=gone))

    assert (caught.value.code, caught.value.max_attempts) == ("media_fetch", 2)
