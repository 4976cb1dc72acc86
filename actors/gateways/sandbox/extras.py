"""The routes of Evolution that deliver a place or a contact card.

``evolution`` lists :data:`OPERATIONS`. Schemas and content as Evolution 2.3.6 has them: ``src/validate/message.schema.ts:227-286``,
``locationMessage`` and ``contactMessage`` of ``whatsapp.baileys.service.ts:3250-3330``.
"""

from functools import partial
from typing import Any

from actors.gateways.jids import create_jid
from actors.gateways.sandbox import schemas, sends, validators
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.operations import Operation, of_body
from actors.gateways.sandbox.state import State

LOCATION = schemas.body(
    {
        "number": schemas.NUMBER,
        "latitude": schemas.FLOAT,
        "longitude": schemas.FLOAT,
        **dict.fromkeys(("name", "address"), schemas.STRING),
        **schemas.OPTIONS,
    },
    required=("number", "latitude", "longitude", "name", "address"),
)
_CARD: schemas.Schema = {
    "type": "object",
    "properties": {
        "fullName": schemas.STRING,
        "wuid": {
            "type": "string",
            "minLength": 10,
            "pattern": r"\d+",
            "description": '"wuid" must be a numeric string',
        },
        "phoneNumber": {"type": "string", "minLength": 10},
        **dict.fromkeys(("organization", "email", "url"), schemas.STRING),
    },
    "required": ("fullName", "phoneNumber"),
    "not_empty": ("fullName",),
}
CONTACT = schemas.body(
    {"number": schemas.NUMBER, "contact": {"type": "array", "items": _CARD, "minItems": 1, "uniqueItems": True}},
    required=("number", "contact"),
)


def check_location(body: dict[str, Any]) -> None:
    """``sendLocation``; name and address are required and may be empty."""
    validators.check_schema(body, LOCATION)


def check_contact(body: dict[str, Any]) -> None:
    """``sendContact``."""
    validators.check_schema(body, CONTACT)


def _place(_: State, call: Call) -> tuple[str, dict[str, Any]]:
    body = call.fields
    place = {
        "degreesLatitude": body["latitude"],
        "degreesLongitude": body["longitude"],
        "name": body["name"],
        "address": body["address"],
    }
    return "locationMessage", {"locationMessage": place}


def _cards(_: State, call: Call) -> tuple[str, dict[str, Any]]:
    cards = [{"displayName": card["fullName"], "vcard": _vcard(card)} for card in call.fields["contact"]]
    if len(cards) == 1:
        return "contactMessage", {"contactMessage": cards[0]}
    return "contactsArrayMessage", {
        "contactsArrayMessage": {"displayName": f"{len(cards)} contacts", "contacts": cards}
    }


def _vcard(card: dict[str, str]) -> str:
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:{card['fullName']}", f"FN:{card['fullName']}"]
    lines += [f"ORG:{card['organization']};"] if card.get("organization") else []
    lines += [f"EMAIL:{card['email']}"] if card.get("email") else []
    lines += [f"URL:{card['url']}"] if card.get("url") else []
    # Without one it makes the whole address of the number, which no phone reads as an account.
    wuid = card.get("wuid") or create_jid(card["phoneNumber"])
    return "\n".join([*lines, f"item1.TEL;waid={wuid}:{card['phoneNumber']}", "item1.X-ABLabel:Celular", "END:VCARD"])


OPERATIONS = tuple(
    Operation(
        op,
        "POST",
        "message",
        partial(sends.send, compose=compose),
        check=of_body(check),
        unloaded=unloaded,
        is_send=True,
    )
    for op, compose, check, unloaded in (
        ("sendLocation", _place, check_location, "locationMessage"),
        ("sendContact", _cards, check_contact, "contactMessage"),
    )
)
