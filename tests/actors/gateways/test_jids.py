"""Addresses as Evolution 2.3 makes them, and which of them mean the same person.

The table of addresses itself stands in ``tests/contracts/test_recipient_rules.py``.
"""

import pytest

from actors.domain import GroupJid, Lid, Phone
from actors.gateways.jids import create_jid, is_same, possible_jids, wire_number


@pytest.mark.parametrize(
    ("number", "jid"),
    [
        # The subscriber number begins below 7: Evolution leaves it alone.
        ("5531961234567", "5531961234567@s.whatsapp.net"),
        ("525512345678", "525512345678@s.whatsapp.net"),
    ],
)
def test_a_number_beside_the_table_becomes_the_address_that_evolution_makes_of_it(number, jid):
    assert create_jid(number) == jid


@pytest.mark.parametrize(
    ("recipient", "wire"),
    [
        (Phone("+5511988887777"), "5511988887777"),
        (GroupJid("120363025246125486@g.us"), "120363025246125486@g.us"),
        (Lid("123456789012345@lid"), "123456789012345@lid"),
    ],
)
def test_phones_go_out_as_digits_and_everything_else_in_full(recipient, wire):
    assert wire_number(recipient) == wire


@pytest.mark.parametrize(
    ("phone", "jids"),
    [
        ("+5531991234567", ("553191234567@s.whatsapp.net", "5531991234567@s.whatsapp.net")),
        ("+553191234567", ("553191234567@s.whatsapp.net", "5531991234567@s.whatsapp.net")),
        ("+5511988887777", ("5511988887777@s.whatsapp.net", "551188887777@s.whatsapp.net")),
        ("+5215512345678", ("525512345678@s.whatsapp.net", "5215512345678@s.whatsapp.net")),
        ("+525512345678", ("525512345678@s.whatsapp.net", "5215512345678@s.whatsapp.net")),
        ("+5491112345678", ("541112345678@s.whatsapp.net", "5491112345678@s.whatsapp.net")),
        ("+551132123456", ("551132123456@s.whatsapp.net",)),
        ("+15551234567", ("15551234567@s.whatsapp.net",)),
    ],
)
def test_a_number_of_brazil_mexico_or_argentina_has_two_addresses(phone, jids):
    assert possible_jids(Phone(phone)) == jids


def test_another_person_another_group_and_a_group_for_a_person_are_not_the_same():
    phone = Phone("+5511988887777")

    assert is_same("551188887777:3@s.whatsapp.net", phone)
    assert not is_same("5511988887778@s.whatsapp.net", phone)
    assert not is_same("5511988887777@g.us", phone)
    assert not is_same("123456789012345@lid", phone)
    assert not is_same("1@g.us", GroupJid("2@g.us"))
