"""A place, a contact card, a template: read whole or refused, never half."""

import pytest

from actors.content import ContactCard, Location, Template
from actors.errors import Permanent
from actors.stores.extras import to_extra


@pytest.mark.parametrize(
    ("metadata", "extra"),
    [
        ({}, None),
        ({"location_message": None, "contact_message": {}}, None),
        (
            {"location_message": {"latitude": "-23.55", "longitude": -46.63, "name": " Sé ", "address": "Praça"}},
            Location(latitude=-23.55, longitude=-46.63, name="Sé", address="Praça"),
        ),
        (
            {"contact_message": {"fullName": "Ana", "phoneNumber": "5511988887777", "organization": "Desk"}},
            ContactCard(full_name="Ana", phone="+5511988887777", organization="Desk"),
        ),
        (
            {"contact_message": {"phone": "+5511988887777"}},
            ContactCard(full_name="+5511988887777", phone="+5511988887777"),
        ),
        (
            {"template": {"name": "hello", "language": "pt_BR", "components": [{"type": "body"}]}},
            Template(name="hello", language="pt_BR", components=({"type": "body"},)),
        ),
    ],
)
def test_what_the_metadata_names_is_read(metadata, extra):
    assert to_extra(metadata, owner="message 7") == extra


@pytest.mark.parametrize(
    "metadata",
    [
        {"location_message": [1, 2]},
        {"location_message": {"latitude": 91, "longitude": 0}},
        {"location_message": {"latitude": 10**400, "longitude": 0}},
        {"location_message": {"latitude": "nan", "longitude": 0}},
        {"location_message": {"latitude": True, "longitude": 0}},
        {"location_message": {"latitude": 1}},
        {"contact_message": {"fullName": "Ana"}},
        {"contact_message": {"fullName": "Ana", "phone": "98-7777"}},
        {"template": {"name": "hello"}},
        {"template": {"name": "hello", "language": "pt_BR", "components": "body"}},
    ],
)
def test_what_cannot_be_read_whole_fails_the_message(metadata):
    with pytest.raises(Permanent, match="message 7") as refused:
        to_extra(metadata, owner="message 7")

    assert refused.value.code == "bad_row"
    assert "7777" not in str(refused.value)
