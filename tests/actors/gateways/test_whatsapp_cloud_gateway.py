"""The Cloud API client against a live sandbox: what is written, who is named in the answer, and what asks nobody."""

import hashlib
import logging

import pytest
from cloud_sends import GROUP, PERSON, gateway, media, part, sandbox, send
from sandbox_fixture import NUMBER_ID

from actors import errors
from actors.domain import ContactCard, GroupJid, Instance, Lid, Location, MediaKind, Phone, Quote, Template
from actors.gateways.base import Ability, make_gateway
from actors.settings import Hidden, Settings

__all__ = ["gateway", "sandbox", "send"]

pytestmark = pytest.mark.contract


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
