"""Read a place, a contact card or a template out of a message row's metadata. Pure.

Keys are those of the adopting product: ``location_message``, ``contact_message``; ``template`` names what Meta approved.
"""

import math
from collections.abc import Mapping
from typing import Any

from actors.content import ContactCard, Extra, Location, Template
from actors.errors import BadRecipient, Permanent
from actors.recipients import Phone

_NAMES = ("full_name", "fullName", "display_name", "name")
_PHONES = ("phone", "phoneNumber", "phone_number")


def to_extra(metadata: Mapping[str, Any], *, owner: str) -> Extra | None:
    """What goes out instead of a text or a file; None when the metadata names nothing of the kind.

    Raises:
        Permanent: ``bad_row``: it names one that cannot be read.
    """
    if metadata.get("location_message"):
        return _location(_table(metadata["location_message"], owner=owner), owner=owner)
    if metadata.get("contact_message"):
        return _contact(_table(metadata["contact_message"], owner=owner), owner=owner)
    if metadata.get("template"):
        return _template(_table(metadata["template"], owner=owner), owner=owner)
    return None


def _location(table: Mapping[str, Any], *, owner: str) -> Location:
    latitude, longitude = _degrees(table.get("latitude"), 90), _degrees(table.get("longitude"), 180)
    if latitude is None or longitude is None:
        raise Permanent(f"{owner} has a place without latitude and longitude in degrees", code="bad_row")
    return Location(
        latitude=latitude, longitude=longitude, name=_text(table.get("name")), address=_text(table.get("address"))
    )


def _contact(table: Mapping[str, Any], *, owner: str) -> ContactCard:
    name = next((_text(table[key]) for key in _NAMES if table.get(key)), "")
    address = next((_text(table[key]) for key in _PHONES if table.get(key)), "")
    try:
        phone = Phone(address if address.startswith("+") else f"+{address}")
    except BadRecipient as error:
        raise Permanent(f"{owner} has a contact card without a number in international form", code="bad_row") from error
    return ContactCard(
        full_name=name or phone.number, phone=phone.number, organization=_text(table.get("organization"))
    )


def _template(table: Mapping[str, Any], *, owner: str) -> Template:
    name, language = _text(table.get("name")), _text(table.get("language"))
    components = table.get("components", [])
    if not name or not language or not isinstance(components, list) or not all(isinstance(c, dict) for c in components):
        raise Permanent(f"{owner} has a template without name, language and a list of components", code="bad_row")
    return Template(name=name, language=language, components=tuple(components))


def _table(value: Any, *, owner: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Permanent(f"{owner} has metadata that is no table where one is expected", code="bad_row")
    return value


def _degrees(value: Any, most: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        degrees = float(value)
    except (ValueError, OverflowError):
        return None
    return degrees if math.isfinite(degrees) and abs(degrees) <= most else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
