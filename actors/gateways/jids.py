"""WhatsApp addresses as Evolution 2.3 writes them. Pure.

The Evolution client uses it to know which address an answer may name; the sandbox uses it to answer as Evolution does.
"""

import re

from actors.domain import CloudGroup, GroupJid, Lid, Phone, Recipient
from actors.errors import BadRecipient

_COMPLETE = ("@s.whatsapp.net", "@g.us", "@lid", "@broadcast")
_DEVICE = re.compile(r":\d+", re.ASCII)
#: Mobile numbers of Brazil: country, area code, the ninth digit, eight digits.
_BRAZIL_LONG = re.compile(r"(55)(\d\d)(\d)(\d{8})", re.ASCII)
#: Countries whose mobile prefix (Mexico 1, Argentina 9) stands after the two digits of the country code.
_MOBILE_PREFIX = {"52": "1", "54": "9"}
#: Group ids without suffix: this many digits, or this many characters with a hyphen, are taken for a group.
_GROUP_DIGITS = 18
_GROUP_LENGTH = 24


def create_jid(number: str) -> str:
    """Address that Evolution makes of a request's ``number``; never empty, not always valid.

    It adds no country code, takes a bare linked id for a phone and glues short legacy group ids together: callers send
    ``…@g.us`` and ``…@lid`` in full.

    Source: docs/gateways.md, "createJid", executed against Evolution 2.3.6.
    """
    number = _DEVICE.sub("", number, count=1)
    if any(suffix in number for suffix in _COMPLETE):
        return number
    bare = re.sub(r"[\s+()]", "", number).partition(":")[0].partition("@")[0]
    if "-" in bare and len(bare) >= _GROUP_LENGTH:
        return re.sub(r"[^\d-]", "", bare, flags=re.ASCII) + "@g.us"
    digits = re.sub(r"\D", "", bare, flags=re.ASCII)
    if len(digits) >= _GROUP_DIGITS:
        return f"{digits}@g.us"
    return f"{_drop_ninth_digit(_drop_mobile_prefix(digits))}@s.whatsapp.net"


def _drop_mobile_prefix(digits: str) -> str:
    if digits[:2] in _MOBILE_PREFIX and len(digits) == 13:  # country, prefix, ten digits
        return digits[:2] + digits[3:]
    return digits


def _drop_ninth_digit(digits: str) -> str:
    match = _BRAZIL_LONG.fullmatch(digits)
    # Area codes below 31 keep the ninth digit; so do subscriber numbers that cannot be mobile.
    if match is None or int(match[2]) < 31 or int(match[4][0]) < 7:
        return digits
    return match[1] + match[2] + match[4]


def wire_number(recipient: Recipient) -> str:
    """``number`` of a request: digits of a phone, the whole address of a group or linked id.

    Raises:
        BadRecipient: a group of the Cloud API, which Evolution cannot reach.
    """
    if isinstance(recipient, CloudGroup):
        raise BadRecipient("the group is one of the Cloud API, which an Evolution instance cannot reach")
    return recipient.number.removeprefix("+") if isinstance(recipient, Phone) else recipient.jid


def possible_jids(recipient: Recipient) -> tuple[str, ...]:
    """Addresses that mean ``recipient``, the one Evolution would choose first.

    A phone of Brazil, Mexico or Argentina has two, with and without the digit that its country added later.
    """
    if isinstance(recipient, GroupJid | Lid):
        return (recipient.jid,)
    if isinstance(recipient, CloudGroup):
        return ()
    digits = wire_number(recipient)
    jids = [create_jid(digits), *(f"{variant}@s.whatsapp.net" for variant in (digits, *_variants(digits)))]
    return tuple(dict.fromkeys(jids))


def _variants(digits: str) -> list[str]:
    country, rest = digits[:2], digits[2:]
    if country == "55":
        if re.fullmatch(r"\d\d9[6-9]\d{7}", rest, re.ASCII):
            return [country + rest[:2] + rest[3:]]
        if re.fullmatch(r"\d\d[6-9]\d{7}", rest, re.ASCII):
            return [f"{country}{rest[:2]}9{rest[2:]}"]
    prefix = _MOBILE_PREFIX.get(country)
    if prefix is not None and re.fullmatch(rf"{prefix}\d{{10}}", rest, re.ASCII):
        return [country + rest[1:]]
    if prefix is not None and re.fullmatch(r"\d{10}", rest, re.ASCII):
        return [country + prefix + rest]
    return []


def is_same(jid: str, recipient: Recipient) -> bool:
    """Whether an address named by a gateway means ``recipient``; the device suffix does not count."""
    return _DEVICE.sub("", jid, count=1) in possible_jids(recipient)
