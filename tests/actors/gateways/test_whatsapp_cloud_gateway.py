"""The Cloud API client against a live sandbox: what is written, what each refusal means, and what asks nobody."""

import hashlib
import logging

import pytest
from sandbox_fixture import NUMBER_ID

from actors import errors
from actors.domain import (
    CloudGroup,
    ContactCard,
    GroupJid,
    Instance,
    Lid,
    Location,
    Media,
    MediaKind,
    OutgoingPart,
    Phone,
    Quote,
    Template,
)
from actors.gateways.base import Ability, make_gateway
from actors.gateways.exchange import Answer
from actors.gateways.sandbox.cloud_replies import CODES
from actors.gateways.whatsapp_cloud import WhatsAppCloudGateway
from actors.gateways.whatsapp_cloud_endpoint import CloudEndpoint
from actors.settings import Hidden, Settings

pytestmark = pytest.mark.contract

PERSON = Phone("+5511988887777")
GROUP = CloudGroup("Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD")


@pytest.fixture
def sandbox(emptied_sandbox):
    return emptied_sandbox


@pytest.fixture
def gateway():
    made = make_gateway("whatsapp_cloud", Settings())
    yield made
    made.close()


def part(text="oi", recipient=PERSON, **fields):
    return OutgoingPart(message_id="m1", part=0, sequence=7, recipient=recipient, text=text, **fields)


def media(kind, mimetype, content=None, name="a.bin"):
    return Media(kind=kind, url="https://files.example/f", mimetype=mimetype, file_name=name, content=content)


@pytest.fixture
def send(gateway, sandbox):
    def send(made=None, *, instance=None, timeout_s=5.0):
        return gateway.send(made or part(), instance=instance or sandbox.cloud_instance(), timeout_s=timeout_s)

    return send


# -- what is written -------------------------------------------------------------------------------------------------


def test_a_message_goes_to_the_number_id_of_the_configured_version(send, sandbox):
    receipt = send()

    [request] = sandbox.admin.requests()
    assert (request["method"], request["target"]) == ("POST", f"/v24.0/{NUMBER_ID}/messages")
    [one] = sandbox.admin.deliveries()
    assert (one["requested_number"], one["jid"]) == ("+5511988887777", "5511988887777@s.whatsapp.net")
    assert (one["client_ref"], one["client_seq"]) == ("m1:0", 7)
    assert receipt.provider_message_id == one["key_id"]
    assert receipt.provider_message_id.startswith("wamid.")
    assert receipt.recipient_jid == "5511988887777@s.whatsapp.net"
    assert not receipt.mismatch


def test_the_version_is_a_setting(sandbox):
    gateway = make_gateway("whatsapp_cloud", Settings(whatsapp_cloud_version="v25.0"))

    gateway.send(part(), instance=sandbox.cloud_instance(), timeout_s=5)
    gateway.close()

    assert sandbox.admin.requests()[0]["target"].startswith("/v25.0/")


def test_without_its_plus_a_number_would_be_somebody_elses(send, sandbox):
    """What the sandbox does with a number that lost its plus, so that the test above proves something."""
    import httpx

    body = {"messaging_product": "whatsapp", "to": "16315551234", "type": "text", "text": {"body": "oi"}}
    headers = {"Authorization": f"Bearer {sandbox.apikey}"}
    httpx.post(f"{sandbox.url}/v24.0/{NUMBER_ID}/messages", json=body, headers=headers, trust_env=False)
    send(part(recipient=Phone("+16315551234")))

    assert [one["jid"].partition("@")[0] for one in sandbox.admin.deliveries()] == ["9116315551234", "16315551234"]


def test_a_group_goes_as_a_group(send, sandbox):
    sandbox.admin.put_group(GROUP.id)

    receipt = send(part(recipient=GROUP))

    [one] = sandbox.admin.deliveries()
    assert one["jid"] == GROUP.id
    assert (receipt.recipient_jid, receipt.mismatch) == (GROUP.id, False)


def test_a_file_of_ours_is_uploaded_first_and_sent_by_its_id(send, sandbox):
    content = bytes(range(256)) * 2_000

    send(part("veja", media=media(MediaKind.DOCUMENT, "application/pdf", content, name="Ofício 1.pdf")))

    assert [one["op"] for one in sandbox.admin.requests()] == ["media", "messages"]
    [one] = sandbox.admin.deliveries()
    assert (one["type"], one["caption"], one["content"]["filename"]) == ("document", "veja", "Ofício 1.pdf")
    assert one["media"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (one["media"]["bytes"], one["media"]["mimetype"]) == (len(content), "application/pdf")
    assert "link" not in one["content"]


def test_a_file_elsewhere_goes_by_its_link_alone(send, sandbox):
    send(part("veja", media=media(MediaKind.IMAGE, "image/png")))

    assert [one["op"] for one in sandbox.admin.requests()] == ["messages"]
    assert sandbox.admin.deliveries()[0]["content"] == {"link": "https://files.example/f", "caption": "veja"}


def test_a_voice_note_is_one(send, sandbox):
    send(part("", media=media(MediaKind.VOICE, "audio/ogg; codecs=opus", b"OggS")))

    [one] = sandbox.admin.deliveries()
    assert (one["type"], one["media"]["voice"], one["media"]["mimetype"]) == ("audio", True, "audio/ogg")


def test_a_place_a_contact_card_and_a_template(send, sandbox):
    send(part("", extra=Location(latitude=-23.5, longitude=-46.6, name="Sé")))
    send(part("", extra=ContactCard(full_name="Ana Lima", phone="+5511977776666")))
    send(part("", extra=Template(name="hi", language="pt_BR", components=({"type": "body", "parameters": []},))))

    place, card, template = sandbox.admin.deliveries()
    assert (place["type"], place["content"]["name"]) == ("location", "Sé")
    assert card["content"][0]["phones"][0]["phone"] == "+5511977776666"
    assert (template["content"]["name"], template["content"]["language"]) == ("hi", {"code": "pt_BR"})


def test_a_reply_quotes_a_message_that_is_there(send, sandbox):
    first = send()
    send(part(quote=Quote(provider_message_id=first.provider_message_id, from_me=True)))
    send(part(quote=Quote(provider_message_id="wamid.gone", from_me=False)))

    kept = [(one["quoted_id"] is not None, one["quote_lost"]) for one in sandbox.admin.deliveries()]
    assert kept == [(False, False), (True, False), (True, True)]


# -- who is named in the answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "named", "mismatch"),
    [
        ("+5511988887777", "5511988887777", False),
        ("+5531991234567", "553191234567", False),
        ("+553191234567", "5531991234567", False),
        ("+5215512345678", "525512345678", False),
        ("+525512345678", "5215512345678", False),
        ("+5491112345678", "541112345678", False),
        ("+541112345678", "5491112345678", False),
        ("+5511988887777", "5511988887778", True),
        ("+5511988887777", "911188887777", True),
        ("+16315551234", "9116315551234", True),
        ("+5531991234567", "553191234568", True),
        ("+5511988887777", "BR.1234", False),
    ],
)
def test_another_form_of_the_number_is_the_same_person_and_another_number_is_not(send, sandbox, asked, named, mismatch):
    sandbox.admin.add_fault({"type": "wrong_jid", "jid": f"{named}@s.whatsapp.net"})

    assert send(part(recipient=Phone(asked))).mismatch is mismatch


def test_a_mismatch_is_logged_with_ids_only(send, sandbox, caplog):
    sandbox.admin.add_fault({"type": "wrong_jid", "jid": "5511900000000@s.whatsapp.net"})

    with caplog.at_level(logging.ERROR):
        send()

    [record] = caplog.records
    assert record.message == "gateway.recipient_mismatched"
    assert (record.message_id, record.instance) == ("m1", "cloud-1")


def test_another_group_than_was_asked_is_a_mismatch(send, sandbox):
    sandbox.admin.put_group(GROUP.id)
    sandbox.admin.add_fault({"type": "wrong_jid", "jid": f"{GROUP.id}X"})

    assert send(part(recipient=GROUP)).mismatch


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


# -- what asks nobody ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        part(recipient=GroupJid("120363025246125486@g.us")),
        part(recipient=Lid("123456789012345@lid")),
        part(recipient=GroupJid("120363025246125486@g.us"), media=media(MediaKind.IMAGE, "image/png", b"x")),
        part("@todos", GROUP, mention_everyone=True),
        part("@5511977776666", GROUP, mentions=("+5511977776666",)),
    ],
    ids=["g.us", "lid", "file", "everyone", "mention"],
)
def test_what_the_cloud_cannot_do_is_unsupported_and_asks_nobody(send, sandbox, made):
    with pytest.raises(errors.Unsupported) as caught:
        send(made)

    assert (caught.value.code, caught.value.request_written) == ("unsupported", False)
    assert sandbox.admin.requests() == []


@pytest.mark.parametrize(
    "made",
    [
        part("x" * 4_097),
        part("x" * 1_025, media=media(MediaKind.IMAGE, "image/png")),
        part(media=media(MediaKind.IMAGE, "image/gif")),
        part(media=media(MediaKind.IMAGE, "image/png", bytes(5 * 1024 * 1024 + 1))),
    ],
    ids=["text", "caption", "type", "size"],
)
def test_what_is_too_much_is_refused_and_asks_nobody(send, sandbox, made):
    with pytest.raises(errors.BadPayload):
        send(made)

    assert sandbox.admin.requests() == []


def test_pictures_and_foreign_groups_are_unsupported_and_ask_nobody(gateway, sandbox):
    instance = sandbox.cloud_instance()

    with pytest.raises(errors.Unsupported):
        gateway.fetch_profile_picture(PERSON, instance=instance)
    with pytest.raises(errors.Unsupported):
        gateway.fetch_group_info(GroupJid("120363025246125486@g.us"), instance=instance)
    with pytest.raises(errors.Unsupported):
        gateway.find_sent(part(), instance=instance, since_ms=0, until_ms=1, bound_ids=())

    with pytest.raises(errors.Unsupported):
        gateway.edit_message("wamid.1", "novo", instance=instance)

    assert sandbox.admin.requests() == []
    assert not {Ability.FETCH_PROFILE_PIC, Ability.MENTIONS, Ability.RECONCILE} & gateway.supports


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"api_key": None}, errors.NoCredentials, "no_credentials"),
        ({"phone_number_id": None}, errors.NoCredentials, "no_credentials"),
        ({"phone_number_id": "+5511988887777"}, errors.AuthConfig, "phone_number_id"),
        ({"phone_number_id": "1/../2"}, errors.AuthConfig, "phone_number_id"),
        ({"api_key": "two words"}, errors.AuthConfig, "bad_key"),
        ({"api_key": "chave-ção"}, errors.AuthConfig, "bad_key"),
        ({"base_url": "ftp://x"}, errors.AuthConfig, "wrong_url"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_half_a_pair_asks_nobody(sandbox, fields, kind, code):
    own = {"base_url": sandbox.url, "api_key": sandbox.apikey, "phone_number_id": NUMBER_ID, **fields}
    # The operator's token is there, and not for a server that a row names.
    settings = Settings(whatsapp_cloud_url=sandbox.url, whatsapp_cloud_token=Hidden("operators-token"))
    gateway = make_gateway("whatsapp_cloud", settings)

    with pytest.raises(kind) as caught:
        gateway.send(part(), instance=Instance(name="cloud-1", **own), timeout_s=5)

    gateway.close()
    assert caught.value.code == code
    assert "operators-token" not in str(caught.value)
    assert sandbox.admin.requests() == []


def test_the_token_of_the_settings_serves_rows_without_one_and_a_rows_own_comes_first(sandbox):
    sandbox.admin.put_instance("222", token="row-token")
    settings = Settings(whatsapp_cloud_url=sandbox.url, whatsapp_cloud_token=Hidden(sandbox.apikey))
    gateway = make_gateway("whatsapp_cloud", settings)

    gateway.send(part(), instance=Instance(name="a", phone_number_id=NUMBER_ID), timeout_s=5)
    gateway.send(part(), instance=Instance(name="b", phone_number_id="222", api_key="row-token"), timeout_s=5)
    with pytest.raises(errors.AuthConfig) as caught:
        gateway.send(part(), instance=Instance(name="c", phone_number_id=NUMBER_ID, api_key="row-token"), timeout_s=5)

    gateway.close()
    assert caught.value.code == "token_refused"
    assert [one["instance"] for one in sandbox.admin.deliveries()] == [NUMBER_ID, "222"]


def test_without_any_token_nobody_is_asked():
    gateway = make_gateway("whatsapp_cloud", Settings())

    with pytest.raises(errors.NoCredentials):
        gateway.send(part(), instance=Instance(name="a", phone_number_id=NUMBER_ID), timeout_s=5)
    gateway.close()


# -- read marks, groups, and the doctor ------------------------------------------------------------------------------


def test_a_read_mark_is_no_message(gateway, sandbox):
    gateway.mark_read("wamid.1", instance=sandbox.cloud_instance())

    assert [one["op"] for one in sandbox.admin.requests()] == ["read"]
    assert sandbox.admin.deliveries() == []


@pytest.mark.parametrize(
    ("message_id", "action", "kind", "code"),
    [
        ("3EB0", None, errors.BadPayload, "bad_payload"),
        ("wamid.1", {"type": "drop"}, errors.Transient, "connection_lost"),
        ("wamid.1", {"type": "status", "preset": "nginx_504"}, errors.Transient, "bad_gateway"),
        ("wamid.1", {"type": "status", "status": 200, "body": {"success": False}}, errors.Transient, "not_json"),
    ],
)
def test_a_read_mark_may_be_made_again(gateway, sandbox, message_id, action, kind, code):
    if action is not None:
        sandbox.admin.add_fault(action)

    with pytest.raises(errors.ChatError) as caught:
        gateway.mark_read(message_id, instance=sandbox.cloud_instance())

    assert (type(caught.value), caught.value.code) == (kind, code)


def test_a_groups_info_is_what_the_api_says_and_no_more(gateway, sandbox):
    sandbox.admin.put_group(GROUP.id, subject="Vendas", desc="d", participants=[{"wa_id": "5511988887777"}])

    info = gateway.fetch_group_info(GROUP, instance=sandbox.cloud_instance())

    assert (info.jid, info.subject, info.description, info.size) == (GROUP.id, "Vendas", "d", 1)
    assert info.participants == ({"wa_id": "5511988887777"},)
    assert (info.owner, info.picture_url) == (None, None)


@pytest.mark.parametrize(
    ("fixture", "kind", "code"),
    [
        (None, errors.NotFound, "group_missing"),
        ({"error": "item-not-found"}, errors.Permanent, "group_refused"),
        ({"error": "forbidden"}, errors.Permanent, "group_refused"),
        ({"error": "rate-overlimit"}, errors.Throttled, "rate_limited"),
    ],
)
def test_a_group_that_cannot_be_read(gateway, sandbox, fixture, kind, code):
    if fixture is not None:
        sandbox.admin.put_group(GROUP.id, **fixture)

    with pytest.raises(errors.ChatError) as caught:
        gateway.fetch_group_info(GROUP, instance=sandbox.cloud_instance())

    assert (type(caught.value), caught.value.code) == (kind, code)


def test_the_info_of_another_group_is_not_taken(gateway, sandbox):
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": {"id": "other", "subject": "x"}})

    with pytest.raises(errors.Transient) as caught:
        gateway.fetch_group_info(GROUP, instance=sandbox.cloud_instance())

    assert caught.value.code == "unreadable_answer"


def test_the_doctor_hears_whether_the_default_token_is_taken(sandbox):
    settings = Settings(whatsapp_cloud_url=sandbox.url, whatsapp_cloud_token=Hidden(sandbox.apikey))
    gateway = make_gateway("whatsapp_cloud", settings)

    assert gateway.check() == "the Cloud API at 127.0.0.1 takes the default token"
    sandbox.admin.add_fault({"type": "status", "preset": "graph_190"})
    with pytest.raises(errors.AuthConfig):
        gateway.check()
    gateway.close()


def test_the_doctor_hears_of_the_numbers_quality(gateway, sandbox):
    line = gateway.check(sandbox.cloud_instance())

    assert line == "the number of instance 'cloud-1' is known to the Cloud API, quality green"
