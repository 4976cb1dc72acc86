"""Nothing ever goes to the wrong person: what Evolution makes of a number, and the rules for recipients.

Rules have the numbers of the list that this project was given; docs/gateways.md says what became of them.
"""

import pytest
from contracts.recipient_world import GROUP_JID, PERSON, PHONE, chosen, line, part, refused
from sandbox_fixture import Sandbox

from actors import errors
from actors.domain import CloudGroup, GroupJid, Lid, Phone, Quote
from actors.gateways.base import make_gateway
from actors.gateways.evolution_requests import send_request
from actors.gateways.jids import create_jid
from actors.settings import Settings

pytestmark = pytest.mark.contract

#: What Evolution 2.3.6 makes of a number, executed.
CREATED = [
    ("5511988887777", "5511988887777@s.whatsapp.net"),
    ("+55 (11) 98888-7777", "5511988887777@s.whatsapp.net"),
    ("5531991234567", "553191234567@s.whatsapp.net"),
    ("5215512345678", "525512345678@s.whatsapp.net"),
    ("5491112345678", "541112345678@s.whatsapp.net"),
    ("11987654321", "11987654321@s.whatsapp.net"),
    ("123456789012345", "123456789012345@s.whatsapp.net"),
    ("120363025246125486", "120363025246125486@g.us"),
    ("5517991234567-1396034900", "5517991234567-1396034900@g.us"),
    ("551799123456-1234567890", "5517991234561234567890@g.us"),
    ("15551234567-1396034900", "155512345671396034900@g.us"),
    ("5531991234567@s.whatsapp.net", "5531991234567@s.whatsapp.net"),
    ("5511988887777:12@s.whatsapp.net", "5511988887777@s.whatsapp.net"),
    ("120363025246125486@g.us", "120363025246125486@g.us"),
    ("123456789012345@lid", "123456789012345@lid"),
    ("+123@lid", "+123@lid"),
    ("1234@broadcast", "1234@broadcast"),
    ("", "@s.whatsapp.net"),
    ("abc", "@s.whatsapp.net"),
]


@pytest.fixture
def gateway():
    made = make_gateway("evolution", Settings())
    yield made
    made.close()


# -- what Evolution makes of a number ------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "jid"), CREATED)
def test_a_number_becomes_the_address_that_evolution_makes_of_it(number, jid):
    assert create_jid(number) == jid


def test_the_sandbox_delivers_where_evolution_would(sandbox: Sandbox):
    import httpx

    for _, jid in CREATED:
        if jid.endswith("@g.us"):
            sandbox.admin.put_group(jid, subject="G")
    with httpx.Client(base_url=sandbox.url, headers={"apikey": sandbox.apikey}, trust_env=False) as client:
        for number, _ in CREATED:
            client.post("/message/sendText/i1", json={"number": number, "text": number or "empty"})

    delivered = {one["requested_number"]: one["jid"] for one in sandbox.admin.deliveries()}
    # An address without digits is no account.
    assert delivered == {number: jid for number, jid in CREATED if jid != "@s.whatsapp.net"}


# -- rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        *((Phone, text) for text in ("5511988887777", "+0511988887777", "+1234567", "+1234567890123456", "+55 11", "")),
        *(
            (GroupJid, text)
            for text in ("120363025246125486", "+1@g.us", "1@g.us@g.us", "a@g.us", "1-2-3@g.us", "1@lid")
        ),
        *((Lid, text) for text in ("123", "+123@lid", "123@lid ", "123@s.whatsapp.net", "@lid")),
        *((CloudGroup, text) for text in ("120363025246125486@g.us", "Y2FwaV9ncm91cDo", "", "+5511988887777")),
    ],
)
def test_rule_1_recipients_are_a_closed_type(make, text):
    with pytest.raises(errors.BadRecipient):
        make(text)


@pytest.mark.parametrize("address", ["5511988887777", "11988887777", "123456789012345"])
def test_rule_1_a_number_without_plus_is_refused_without_a_region(address):
    assert refused(address, PERSON)


@pytest.mark.parametrize(
    ("recipient", "number"),
    [
        (PHONE, "5511988887777"),
        (Phone("+5531991234567"), "5531991234567"),
        (GROUP_JID, "120363025246125486@g.us"),
        (GroupJid("551799123456-1234567890@g.us"), "551799123456-1234567890@g.us"),
        (Lid("123456789012345@lid"), "123456789012345@lid"),
    ],
)
def test_rules_2_and_3_the_wire_form_is_the_stored_one_and_no_ninth_digit_is_guessed(recipient, number):
    assert send_request(part(recipient)).payload["number"] == number


@pytest.mark.parametrize(
    ("phone", "answered", "mismatch"),
    [
        ("+5511988887777", "5511988887777@s.whatsapp.net", False),
        ("+5531991234567", "553191234567@s.whatsapp.net", False),
        ("+553191234567", "5531991234567@s.whatsapp.net", False),
        ("+5215512345678", "525512345678@s.whatsapp.net", False),
        ("+5491112345678", "541112345678@s.whatsapp.net", False),
        ("+5511988887777", "5511988887777:3@s.whatsapp.net", False),
        ("+5511988887777", "998877665544332@lid", False),
        ("+5511988887777", "111111111111111@lid", True),
        ("+5511988887777", "5511988887778@s.whatsapp.net", True),
        ("+5511988887777", "5511988887777@g.us", True),
        ("+5521988887777", "5511988887777@s.whatsapp.net", True),
    ],
)
def test_rule_4_who_got_it_is_compared_with_who_was_meant(gateway, sandbox: Sandbox, phone, answered, mismatch):
    sandbox.admin.put_contact("5511988887777@s.whatsapp.net", exists=True, lid="998877665544332@lid")
    sandbox.admin.add_fault({"type": "wrong_jid", "jid": answered})

    receipt = gateway.send(part(Phone(phone)), instance=sandbox.instance(), timeout_s=5)

    assert receipt.provider_message_id
    assert receipt.mismatch is mismatch


@pytest.mark.parametrize(("known", "mismatch"), [("998877665544332@lid", False), ("111111111111111@lid", True)])
def test_rule_4_a_linked_id_is_known_as_evolution_names_it(gateway, sandbox: Sandbox, known, mismatch):
    sandbox.admin.add_fault({"type": "wrong_jid", "jid": "998877665544332@lid"}, match={"op": "sendText"})
    body = [{"jid": known, "exists": True, "number": "5511988887777", "lid": "lid"}]
    sandbox.admin.add_fault({"type": "status", "status": 200, "body": body}, match={"op": "whatsappNumbers"})

    assert gateway.send(part(), instance=sandbox.instance(), timeout_s=5).mismatch is mismatch


def test_rule_4_a_linked_id_that_cannot_be_looked_up_is_somebody_elses(gateway, sandbox: Sandbox):
    sandbox.admin.add_fault({"type": "wrong_jid", "jid": "998877665544332@lid"}, match={"op": "sendText"})
    sandbox.admin.add_fault({"type": "status", "preset": "nginx_502"}, match={"op": "whatsappNumbers"})

    assert gateway.send(part(), instance=sandbox.instance(), timeout_s=5).mismatch
    assert [one["status"] for one in sandbox.requests()] == [201, 502]


def test_rule_5_no_other_instance_stands_in():
    assert chosen(line("a"), line("b")) == "a"
    assert chosen(line("b")) is None
    assert chosen(line("a", is_active=False), line("b")) is None


def test_rule_5_where_it_was_asked_for_the_tenants_only_one_stands_in():
    assert chosen(line("a", is_active=False), line("b"), use_fallback=True) == "b"
    assert chosen(line("b"), line("c"), use_fallback=True) is None
    assert chosen(line("a", tenant_id="other"), line("b", tenant_id="other"), use_fallback=True) is None


@pytest.mark.parametrize("recipient", [PHONE, Phone("+5531991234567"), GROUP_JID, Lid("123456789012345@lid")])
def test_rule_6_a_quote_names_the_chat_that_it_is_sent_to(recipient):
    quote = Quote(provider_message_id="3EB0AA", from_me=False)

    payload = send_request(part(recipient, quote=quote)).payload

    assert payload["quoted"]["key"]["remoteJid"] == create_jid(payload["number"])
