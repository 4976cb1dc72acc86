"""Places and contact cards: what is sent, to the field, and what is known again."""

import pytest
from sandbox_fixture import Sandbox, sandbox

from actors import errors
from actors.domain import ContactCard, GroupJid, Location, OutgoingPart, Phone, Quote, Template
from actors.gateways.base import make_gateway
from actors.gateways.evolution_extras import is_same_extra
from actors.gateways.evolution_requests import send_request
from actors.gateways.sandbox import extras
from actors.gateways.sandbox.replies import Refused
from actors.settings import Settings

__all__ = ["sandbox"]

PLACE = Location(latitude=-23.561414, longitude=-46.655881, name="MASP", address="Av. Paulista, 1578")
CARD = ContactCard(full_name="Ana Souza", phone="+5531991234567", organization="Oficina")
QUOTE = Quote(provider_message_id="3EB0AA", from_me=False)
NUMBER = {"number": "5511988887777"}


def part(extra, **fields):
    return OutgoingPart(message_id="m-1", part=0, recipient=Phone("+5511988887777"), extra=extra, **fields)


def test_a_place_has_all_that_the_schema_requires():
    request = send_request(part(Location(latitude=0.0, longitude=10.5)))

    assert request.operation == "sendLocation"
    assert request.payload == {**NUMBER, "latitude": 0.0, "longitude": 10.5, "name": "", "address": ""}


def test_a_place_may_be_a_reply_and_a_card_may_not():
    assert send_request(part(PLACE, quote=QUOTE)).payload["quoted"]["key"]["id"] == "3EB0AA"
    assert "quoted" not in send_request(part(CARD, quote=QUOTE)).payload


def test_a_card_keeps_the_number_to_the_digit():
    [card] = send_request(part(CARD)).payload["contact"]

    assert card == {
        "fullName": "Ana Souza",
        "wuid": "5531991234567",
        "phoneNumber": "+5531991234567",
        "organization": "Oficina",
    }


@pytest.mark.parametrize("name", ["Ana\nTEL:+1666", "Ana\r\nTEL:+1666", "Ana\u2028TEL:+1666", "Ana\x00TEL:+1666"])
def test_a_name_adds_no_line_to_the_card(name):
    [card] = send_request(part(ContactCard(full_name=name, phone="+5531991234567"))).payload["contact"]

    assert card["fullName"] == "Ana TEL:+1666"


def test_a_card_without_a_name_shows_the_number():
    [card] = send_request(part(ContactCard(full_name=" ", phone="+5531991234567"))).payload["contact"]

    assert card["fullName"] == "+5531991234567"


@pytest.mark.parametrize(
    ("extra", "kind", "code"),
    [
        (Template(name="welcome", language="pt_BR"), errors.Unsupported, "unsupported"),
        (ContactCard(full_name="Ana", phone="+29012345"), errors.BadPayload, "contact_number"),
    ],
)
def test_what_evolution_cannot_send_is_refused_before_any_request(sandbox: Sandbox, extra, kind, code):
    gateway = make_gateway("evolution", Settings())
    with pytest.raises(kind) as caught:
        gateway.send(part(extra), instance=sandbox.instance(), timeout_s=5)
    gateway.close()

    assert caught.value.code == code
    assert "+29012345" not in str(caught.value)
    assert sandbox.admin.requests() == []


def test_the_sandbox_shows_what_the_phone_shows(sandbox: Sandbox):
    gateway = make_gateway("evolution", Settings())
    for extra in (PLACE, CARD):
        gateway.send(part(extra), instance=sandbox.instance(), timeout_s=5)
    gateway.close()

    place, card = sandbox.admin.deliveries()
    assert place["content"]["locationMessage"] == {
        "degreesLatitude": -23.561414,
        "degreesLongitude": -46.655881,
        "name": "MASP",
        "address": "Av. Paulista, 1578",
    }
    assert "item1.TEL;waid=5531991234567:+5531991234567\n" in card["content"]["contactMessage"]["vcard"]
    assert place["fingerprint"] != card["fingerprint"]


FOUND_PLACE = {"degreesLatitude": -23.561414, "degreesLongitude": -46.655881, "name": "MASP"}
FOUND_CARD = {"displayName": "Ana Souza", "vcard": "item1.TEL;waid=5531991234567:+5531991234567"}


@pytest.mark.parametrize(
    ("extra", "message", "same"),
    [
        (PLACE, {"locationMessage": {**FOUND_PLACE, "address": "Av. Paulista, 1578"}}, True),
        (PLACE, {"locationMessage": FOUND_PLACE}, False),
        (
            PLACE,
            {"locationMessage": {**FOUND_PLACE, "address": "Av. Paulista, 1578", "degreesLatitude": 10**400}},
            False,
        ),
        (PLACE, {"locationMessage": {**FOUND_PLACE, "address": "Av. Paulista, 1578", "degreesLatitude": True}}, False),
        (PLACE, {"locationMessage": {**FOUND_PLACE, "address": "Av. Paulista, 1578", "degreesLatitude": "x"}}, False),
        (PLACE, {"locationMessage": []}, False),
        (PLACE, {"contactMessage": FOUND_CARD}, False),
        (CARD, {"contactMessage": FOUND_CARD}, True),
        (CARD, {"contactMessage": {**FOUND_CARD, "displayName": "Ana"}}, False),
        (CARD, {"contactMessage": {**FOUND_CARD, "vcard": "item1.TEL;waid=5531991234568:+5531991234567"}}, False),
        (CARD, {"contactMessage": {"displayName": "Ana Souza"}}, False),
        (CARD, {"conversation": "Ana Souza"}, False),
        (Template(name="x", language="pt_BR"), {"conversation": "x"}, False),
    ],
)
def test_what_went_out_is_known_again(extra, message, same):
    assert is_same_extra(extra, message) is same


GOOD_PLACE = {**NUMBER, "latitude": 1, "longitude": 2.5, "name": "", "address": ""}
GOOD_CARD = {"fullName": "Ana", "phoneNumber": "+5531991234567"}


@pytest.mark.parametrize(
    ("check", "body"),
    [
        (extras.check_location, {**GOOD_PLACE, "latitude": "1"}),
        (extras.check_location, {**GOOD_PLACE, "longitude": True}),
        (extras.check_location, {**GOOD_PLACE, "name": None}),
        *((extras.check_location, {k: v for k, v in GOOD_PLACE.items() if k != left_out}) for left_out in GOOD_PLACE),
        (extras.check_contact, NUMBER),
        (extras.check_contact, {**NUMBER, "contact": GOOD_CARD}),
        (extras.check_contact, {**NUMBER, "contact": []}),
        (extras.check_contact, {**NUMBER, "contact": ["x"]}),
        (extras.check_contact, {**NUMBER, "contact": [GOOD_CARD, GOOD_CARD]}),
        (extras.check_contact, {**NUMBER, "contact": [{**GOOD_CARD, "phoneNumber": "+29012345"}]}),
        (extras.check_contact, {**NUMBER, "contact": [{**GOOD_CARD, "wuid": "29012345"}]}),
        (extras.check_contact, {**NUMBER, "contact": [{"fullName": "Ana"}]}),
        (extras.check_contact, {**NUMBER, "contact": [{**GOOD_CARD, "email": 1}]}),
    ],
)
def test_the_sandbox_refuses_what_the_schemas_refuse(check, body):
    with pytest.raises(Refused):
        check(body)


def test_the_sandbox_takes_what_the_schemas_take():
    extras.check_location(GOOD_PLACE)
    extras.check_contact({**NUMBER, "contact": [GOOD_CARD, {**GOOD_CARD, "fullName": "Bia", "wuid": "5531991234567"}]})


def test_a_group_gets_a_place_as_well(sandbox: Sandbox):
    group = GroupJid("120363025246125486@g.us")
    sandbox.admin.put_group(group.jid, subject="G")
    gateway = make_gateway("evolution", Settings())
    wanted = OutgoingPart(message_id="m-1", part=0, recipient=group, extra=PLACE)
    gateway.send(wanted, instance=sandbox.instance(), timeout_s=5)
    gateway.close()

    assert [one["jid"] for one in sandbox.admin.deliveries()] == [group.jid]


@pytest.mark.parametrize(("loaded", "extra"), [(False, PLACE), (False, CARD)])
def test_an_instance_that_is_not_loaded_costs_no_attempt(sandbox: Sandbox, loaded, extra):
    sandbox.admin.put_instance("i1", loaded=loaded)
    gateway = make_gateway("evolution", Settings())
    with pytest.raises(errors.InstanceUnavailable) as caught:
        gateway.send(part(extra), instance=sandbox.instance(), timeout_s=5)
    gateway.close()

    assert caught.value.code == "instance_not_loaded"
