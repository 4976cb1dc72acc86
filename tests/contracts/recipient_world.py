"""People, groups and lines that a message may be for, and what becomes of an address and of a choice."""

from actors import errors
from actors.domain import CloudGroup, ConversationType, GroupJid, OutgoingPart, Phone, parse_recipient
from actors.stores.rows import InstanceRow, find_instance

PERSON, GROUP = ConversationType.INDIVIDUAL, ConversationType.GROUP
PHONE = Phone("+5511988887777")
GROUP_JID = GroupJid("120363025246125486@g.us")
CLOUD_GROUP = CloudGroup("Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM")


def part(recipient=PHONE, text="oi", **fields) -> OutgoingPart:
    return OutgoingPart(message_id="m1", part=0, recipient=recipient, text=text, **fields)


def refused(address: str, kind: ConversationType, region: str | None = None) -> bool:
    try:
        parse_recipient(address, kind, default_region=region)
    except errors.BadRecipient:
        return True
    return False


def line(name: str, tenant_id: str | None = "t", **fields) -> InstanceRow:
    return InstanceRow(instance_name=name, tenant_id=tenant_id, api_url="http://evo", api_key="k", **fields)


def chosen(*rows: InstanceRow, name: str | None = "a", use_fallback: bool = False) -> str | None:
    found = find_instance(rows, name, tenant_id="t", use_fallback=use_fallback)
    return found.name if found else None
