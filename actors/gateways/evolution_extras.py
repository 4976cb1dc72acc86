"""Places and contact cards as Evolution 2.3 takes them, and as they are known again among what it sent. Pure.

``evolution_requests`` sends them, ``evolution_search`` compares. Source, read in Evolution 2.3.6:
``src/validate/message.schema.ts:227-286`` (schemas), ``src/api/dto/sendMessage.dto.ts:123-164``,
``src/api/routes/sendMessage.router.ts:125-144`` (201), ``locationMessage`` and ``contactMessage`` of
``src/api/integrations/channel/whatsapp/whatsapp.baileys.service.ts:3250-3330``. The schema of a place requires ``name`` and
``address``, which may be empty. The handler of a card ignores ``quoted``, ``mentioned`` and ``delay``.
"""

import re
from collections.abc import Mapping
from typing import Any

from actors.domain import ContactCard, Extra, Location, Template
from actors.errors import BadPayload, Unsupported
from actors.gateways.evolution_answers import Operation

#: Least length of ``wuid`` in the schema.
MIN_DIGITS = 10
#: Degrees that count as the same place: a centimetre.
SAME_DEGREES = 1e-7


def extra_fields(extra: Extra, *, owner: str) -> tuple[Operation, dict[str, Any], bool]:
    """What is asked, its fields, and whether the endpoint takes a reply.

    Raises:
        Unsupported: a template; only the Cloud API has them.
        BadPayload: ``contact_number``: Evolution refuses numbers this short.
    """
    if isinstance(extra, Template):
        raise Unsupported(
            f"{owner} is a template, which only the WhatsApp Cloud API sends; use an instance of that kind, or write a text"
        )
    if isinstance(extra, Location):
        return Operation.SEND_LOCATION, _location(extra), True
    return Operation.SEND_CONTACT, {"contact": [_contact(extra, owner=owner)]}, False


def is_same_extra(extra: Extra, message: Mapping[str, Any]) -> bool:
    """Whether the ``message`` of a record is ``extra``."""
    if isinstance(extra, Location):
        found = message.get("locationMessage")
        return isinstance(found, dict) and _is_place(extra, found)
    if isinstance(extra, ContactCard):
        found = message.get("contactMessage")
        return isinstance(found, dict) and _is_card(extra, found)
    return False


def _location(place: Location) -> dict[str, Any]:
    return {
        "latitude": place.latitude,
        "longitude": place.longitude,
        "name": place.name,
        "address": place.address,
    }


def _contact(card: ContactCard, *, owner: str) -> dict[str, str]:
    digits = card.phone.removeprefix("+")
    if len(digits) < MIN_DIGITS:
        raise BadPayload(
            f"{owner}: Evolution takes contact cards of numbers with {MIN_DIGITS} digits or more; send the number as a text",
            code="contact_number",
        )
    # Without wuid Evolution would make one of the number, as a whole address and without the ninth digit.
    fields = {"fullName": _line(card.full_name) or card.phone, "wuid": digits, "phoneNumber": card.phone}
    return fields | ({"organization": _line(card.organization)} if _line(card.organization) else {})


def _line(text: str) -> str:
    """``text`` on one line: Evolution writes it into a vCard as it is, where a line of its own would be another field."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()


def _is_place(place: Location, found: Mapping[str, Any]) -> bool:
    is_there = _is_near(found.get("degreesLatitude"), place.latitude)
    is_there = is_there and _is_near(found.get("degreesLongitude"), place.longitude)
    return is_there and (found.get("name") or "") == place.name and (found.get("address") or "") == place.address


def _is_near(theirs: Any, ours: float) -> bool:
    is_degrees = isinstance(theirs, int | float) and not isinstance(theirs, bool) and -180 <= theirs <= 180
    return is_degrees and abs(theirs - ours) <= SAME_DEGREES


def _is_card(card: ContactCard, found: Mapping[str, Any]) -> bool:
    name, vcard = found.get("displayName"), found.get("vcard")
    waid = f"waid={card.phone.removeprefix('+')}:"
    return name == (_line(card.full_name) or card.phone) and isinstance(vcard, str) and waid in vcard
