"""Nothing ever goes to the wrong person: every way in which the product before us did it.

Hazards have the numbers of the list that this project was given; docs/gateways.md says what became of them.
"""

import pytest
from contracts.recipient_world import CLOUD_GROUP, GROUP, GROUP_JID, PERSON, PHONE, chosen, line, part, refused
from sandbox_fixture import Sandbox

from actors import errors
from actors.domain import ChatMessage, Instance, Media, MediaKind, Phone, Quote, parse_recipient
from actors.gateways.base import Ability, make_gateway
from actors.gateways.evolution_endpoint import resolve
from actors.gateways.evolution_requests import send_request
from actors.gateways.jids import wire_number
from actors.parts import outgoing_parts
from actors.recipients import CALLING_CODES, NATIONAL_DIGITS
from actors.settings import Settings

pytestmark = pytest.mark.contract


@pytest.fixture
def gateway():
    made = make_gateway("evolution", Settings())
    yield made
    made.close()


def test_hazard_1_the_first_active_instance_is_nobodys_choice():
    assert chosen(line("b"), line("c"), name=None) is None
    assert chosen(line("b"), line("c"), name="a") is None


@pytest.mark.parametrize(
    "address", ["+5511988887777", "5511988887777", "11988887777", "abc", "1@g.us@g.us", "+1@g.us", "1@lid"]
)
def test_hazard_2_a_suffix_is_not_glued_to_just_anything(address):
    assert refused(address, GROUP)


def test_hazard_2_a_linked_id_gets_no_plus():
    assert wire_number(parse_recipient("123456789012345@lid", PERSON)) == "123456789012345@lid"


@pytest.mark.parametrize(
    "address", ["123456789012345@lid", "5511988887777@s.whatsapp.net", "123456789012345", "+123456789012345"]
)
def test_hazard_3_a_persons_address_is_no_group(address):
    assert refused(address, GROUP)


def test_hazard_3_a_groups_address_is_no_person():
    assert refused(GROUP_JID.jid, PERSON)
    assert refused("120363025246125486", PERSON, region="BR")


def test_hazard_4_a_group_keeps_its_suffix_and_its_quote_is_in_the_group():
    quote = Quote(provider_message_id="3EB0AA", from_me=False, participant="1@lid")

    payload = send_request(part(GROUP_JID, quote=quote)).payload

    assert payload["number"] == GROUP_JID.jid
    assert payload["quoted"]["key"]["remoteJid"] == GROUP_JID.jid


def test_hazard_5_the_plus_is_part_of_a_number_and_groups_of_one_provider_are_not_the_others(gateway):
    assert parse_recipient("5511988887777@s.whatsapp.net", PERSON).number == "+5511988887777"
    with pytest.raises(errors.BadRecipient):
        # No instance is asked: nothing is requested.
        gateway.send(part(CLOUD_GROUP), instance=Instance(name="i1"), timeout_s=1)


@pytest.mark.parametrize(
    ("address", "region", "number"),
    [
        ("11988887777", "BR", "+5511988887777"),
        ("(55) 99123-4567", "BR", "+5555991234567"),
        ("+1 631 555 1234", "BR", "+16315551234"),
        ("912345678", "PT", "+351912345678"),
        ("6315551234", "US", "+16315551234"),
    ],
)
def test_hazard_6_a_country_is_added_where_none_is_and_the_region_says_which(address, region, number):
    assert parse_recipient(address, PERSON, default_region=region) == Phone(number)


@pytest.mark.parametrize(
    ("address", "region"),
    [
        ("5511988887777", "BR"),  # with its country, without its +
        ("551188887777", "BR"),
        ("988887777", "BR"),
        ("16315551234", "US"),
        ("351912345678", "PT"),
        ("011988887777", "BR"),
    ],
)
def test_hazard_6_no_country_is_added_to_what_may_have_one(address, region):
    assert refused(address, PERSON, region)


def test_hazard_6_every_region_has_its_lengths():
    assert NATIONAL_DIGITS.keys() == CALLING_CODES.keys()


@pytest.mark.parametrize(
    "instance",
    [
        Instance(name="i", base_url="http://own.example"),
        Instance(name="i", api_key="own"),
    ],
)
def test_hazard_7_key_and_url_are_never_of_two_sources(instance):
    with pytest.raises(errors.NoCredentials):
        resolve(instance, default_url="http://default.example", default_key="default")


def test_hazard_7_the_global_key_does_not_win_over_an_instances_own():
    own = Instance(name="i", base_url="http://own.example", api_key="own")

    endpoint = resolve(own, default_url="http://default.example", default_key="default")

    assert (endpoint.base_url, endpoint.api_key) == ("http://own.example", "own")


def test_hazard_8_a_picture_of_somebody_else_is_not_stored(gateway, sandbox: Sandbox):
    body = {"wuid": "5511900000000@s.whatsapp.net", "profilePictureUrl": "https://pps.whatsapp.net/p.jpg"}
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": body}, match={"op": "fetchProfilePictureUrl"})

    assert gateway.fetch_profile_picture(PHONE, instance=sandbox.instance()) is None


def test_hazards_9_and_10_nothing_is_edited_or_receipted_so_no_instance_or_suffix_is_guessed_for_it():
    assert not [ability for ability in Ability if "edit" in ability or "read" in ability]


def test_hazard_10_a_group_is_asked_for_by_its_whole_id(gateway, sandbox: Sandbox):
    sandbox.admin.put_group(GROUP_JID.jid, subject="G")

    gateway.fetch_group_info(GROUP_JID, instance=sandbox.instance())

    assert sandbox.requests()[0]["target"] == "/group/findGroupInfos/i1?groupJid=120363025246125486%40g.us"


def test_hazard_11_a_post_that_nobody_answered_is_not_repeated(gateway, sandbox: Sandbox):
    sandbox.admin.add_fault({"type": "hang", "when": "after_accept", "max_s": 3}, match={"op": "sendText"})

    with pytest.raises(errors.Ambiguous):
        gateway.send(part(), instance=sandbox.instance(), timeout_s=0.5)

    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize("preset", ["conn_closed_400", "conn_closed_500"])
def test_hazard_11_a_closed_session_is_no_fault_of_the_message(gateway, sandbox: Sandbox, preset):
    sandbox.admin.add_fault({"type": "status", "preset": preset}, match={"op": "sendText"})

    with pytest.raises(errors.InstanceUnavailable) as caught:
        gateway.send(part(), instance=sandbox.instance(), timeout_s=5)

    assert not caught.value.permanent


def test_hazard_11_the_state_is_read_where_it_stands(gateway, sandbox: Sandbox):
    assert "is open" in gateway.check(sandbox.instance())
    sandbox.admin.put_instance("i1", state="close")
    with pytest.raises(errors.InstanceUnavailable):
        gateway.check(sandbox.instance())


def test_hazard_12_an_absent_account_and_a_failing_server_are_seen(gateway, sandbox: Sandbox):
    sandbox.admin.put_contact("5511988887777@s.whatsapp.net", exists=False)
    with pytest.raises(errors.NotOnWhatsApp):
        gateway.send(part(), instance=sandbox.instance(), timeout_s=5)
    sandbox.admin.add_fault({"type": "status", "preset": "nginx_502"}, match={"op": "sendText"})
    with pytest.raises(errors.Ambiguous):
        gateway.send(part(), instance=sandbox.instance(), timeout_s=5)


def test_hazard_13_every_attachment_has_an_attempt_of_its_own():
    files = tuple(
        Media(kind=MediaKind.IMAGE, url=f"https://f.example/{n}.png", mimetype="image/png", file_name=f"{n}.png")
        for n in range(3)
    )
    chat_message = ChatMessage(
        id="m1",
        conversation_id="c1",
        tenant_id="t",
        instance_name="i1",
        conversation_type=PERSON,
        recipient_address=PHONE.number,
        text="caption",
        media=files,
    )

    parts = outgoing_parts(chat_message, PHONE)

    assert [one.reference for one in parts] == ["m1:0", "m1:1", "m1:2"]
    assert [one.text for one in parts] == ["caption", "", ""]
