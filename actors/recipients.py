"""Recipients: a closed type, parsed once, refused rather than repaired.

Stores keep the raw address; ``domain`` parses it by what the conversation is, gateways turn it into their wire form.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from actors.errors import BadRecipient

_PHONE = re.compile(r"\+[1-9]\d{7,14}", re.ASCII)
#: What nobody could take for a phone: ids of 18 digits and more, and the older ones with a hyphen.
_BARE_GROUP = re.compile(r"\d{18,}|\d+-\d+", re.ASCII)
_GROUP = re.compile(r"\d+(-\d+)?@g\.us", re.ASCII)
#: Base64 of "capi_group:…", as the Cloud API makes them.
_CLOUD_GROUP = re.compile(r"Y2FwaV9ncm91cDo[A-Za-z0-9_=+/-]{4,240}", re.ASCII)
_LID = re.compile(r"\d+@lid", re.ASCII)


@dataclass(frozen=True, slots=True)
class Phone:
    """A person by number, E.164 with ``+``."""

    number: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _PHONE.fullmatch(self.number):
            raise BadRecipient("the conversation's phone is not a number in international form (+ and 8 to 15 digits)")


@dataclass(frozen=True, slots=True)
class GroupJid:
    """A group by its full id, ``…@g.us``."""

    jid: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _GROUP.fullmatch(self.jid):
            raise BadRecipient("the conversation's group id is not of the form <digits>[-<digits>]@g.us")


@dataclass(frozen=True, slots=True)
class Lid:
    """A person by linked id, ``…@lid``: WhatsApp hides the number."""

    jid: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _LID.fullmatch(self.jid):
            raise BadRecipient("the conversation's linked id is not of the form <digits>@lid")


@dataclass(frozen=True, slots=True)
class CloudGroup:
    """A group of the WhatsApp Cloud API by the opaque id that the API gave it; never an ``@g.us`` address."""

    id: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _CLOUD_GROUP.fullmatch(self.id):
            raise BadRecipient("the conversation's group id is not one that the Cloud API gives (Y2FwaV9ncm91cDo…)")


Recipient = Phone | GroupJid | Lid | CloudGroup


class ConversationType(StrEnum):
    """What a conversation is, as the host's rows say it."""

    #: One person.
    INDIVIDUAL = "individual"
    #: A WhatsApp group.
    GROUP = "group"
    #: A broadcast list; nothing can be sent to it.
    BROADCAST = "broadcast"


#: Country calling codes for ``CHAT_DEFAULT_REGION``; extend when a host needs another.
CALLING_CODES = {"BR": "55", "PT": "351", "AR": "54", "MX": "52", "US": "1", "ES": "34", "CL": "56", "CO": "57"}
#: Digits of a number without its country, by region. One that is longer has its country already, one that is shorter no area.
NATIONAL_DIGITS = {
    "BR": (10, 11),
    "PT": (9,),
    "AR": (10, 11),
    "MX": (10, 11),
    "US": (10,),
    "ES": (9,),
    "CL": (9,),
    "CO": (10,),
}


def parse_recipient(
    address: str, conversation_type: ConversationType, *, default_region: str | None = None
) -> Recipient:
    """Recipient of a conversation.

    A group is ``…@g.us`` (a bare id gets the suffix where it cannot be a phone) or an id of the Cloud API; a person is
    ``+digits``, ``<digits>@s.whatsapp.net`` (a JID carries the country code) or ``<digits>@lid``. Digits without ``+``
    need ``default_region``.

    Raises:
        BadRecipient: empty, of the wrong kind, or without a country.
    """
    text = address.strip()
    if conversation_type is ConversationType.GROUP:
        if text.endswith(("@s.whatsapp.net", "@lid")) or text.startswith("+"):
            raise BadRecipient("the conversation is a group but its address is a person's")
        if _CLOUD_GROUP.fullmatch(text):
            return CloudGroup(text)
        return GroupJid(f"{text}@g.us" if _BARE_GROUP.fullmatch(text) else text)
    if conversation_type is ConversationType.BROADCAST:
        raise BadRecipient("a broadcast list cannot be sent to")
    if text.endswith("@g.us"):
        raise BadRecipient("the conversation is a person's but its address is a group's")
    if text.endswith("@lid"):
        return Lid(text)
    if text.endswith("@s.whatsapp.net"):
        return Phone("+" + text.removesuffix("@s.whatsapp.net"))
    return _phone(text, default_region=default_region)


def _phone(text: str, *, default_region: str | None) -> Phone:
    digits = re.sub(r"[\s().-]", "", text)
    if digits.startswith("+"):
        return Phone(digits)
    if default_region is None:
        raise BadRecipient(
            "the phone has no + and no country; store it as +<country><number> or set CHAT_DEFAULT_REGION"
        )
    if len(digits) not in NATIONAL_DIGITS[default_region]:
        raise BadRecipient(
            f"the phone has no + and not the length of a number of {default_region}; store it as +<country><number>"
        )
    return Phone(f"+{CALLING_CODES[default_region]}{digits}")
