"""Recipients are refused rather than repaired."""

import pytest

from actors.errors import BadRecipient
from actors.recipients import CloudGroup, ConversationType, GroupJid, Lid, Phone, parse_recipient

PERSON, GROUP, BROADCAST = ConversationType.INDIVIDUAL, ConversationType.GROUP, ConversationType.BROADCAST

#: As the Cloud API makes them.
CLOUD_GROUP = "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM"


@pytest.mark.parametrize(
    ("address", "kind", "recipient"),
    [
        ("+5511988887777", PERSON, Phone("+5511988887777")),
        (" +55 (11) 98888-7777 ", PERSON, Phone("+5511988887777")),
        ("5511988887777@s.whatsapp.net", PERSON, Phone("+5511988887777")),
        ("123456789012345@lid", PERSON, Lid("123456789012345@lid")),
        ("120363025246125486@g.us", GROUP, GroupJid("120363025246125486@g.us")),
        ("120363025246125486", GROUP, GroupJid("120363025246125486@g.us")),
        (CLOUD_GROUP, GROUP, CloudGroup(CLOUD_GROUP)),
        ("551799123456-1234567890", GROUP, GroupJid("551799123456-1234567890@g.us")),
    ],
)
def test_an_address_is_what_the_conversation_says_it_is(address, kind, recipient):
    assert parse_recipient(address, kind) == recipient


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("", PERSON),
        ("abc", PERSON),
        ("11987654321", PERSON),
        ("+0123456789", PERSON),
        ("+55119", PERSON),
        ("+1234567890123456", PERSON),
        ("120363025246125486@g.us", PERSON),
        ("+123@lid", PERSON),
        ("+٥٥١١٩٨٨٨٨٧٧٧٧", PERSON),
        ("5511988887777@s.whatsapp.net", GROUP),
        ("+5511988887777", GROUP),
        ("123@lid", GROUP),
        ("bm90IGEgZ3JvdXA6MTIzNDU2Nzg5MA", GROUP),
        (CLOUD_GROUP, PERSON),
        ("", GROUP),
        ("status@broadcast", BROADCAST),
    ],
)
def test_what_could_reach_somebody_else_is_refused_without_quoting_it(address, kind):
    with pytest.raises(BadRecipient) as refused:
        parse_recipient(address, kind)

    assert not any(digits in str(refused.value) for digits in (address, address.strip("+")) if len(digits) > 3)


def test_a_number_without_country_needs_a_region():
    assert parse_recipient("(11) 98888-7777", PERSON, default_region="BR") == Phone("+5511988887777")


def test_no_repr_shows_a_number():
    assert "5511" not in repr(Phone("+5511988887777"))
