"""A host's rows as plain values, and what the work makes of them.

Every store reads its rows into these and lets the functions below decide, so that all backends agree. Names are those of
a usual chat product's columns; a host with other names maps them (``field_map``). Seeding a store takes the same values.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from actors.domain import (
    ChatMessage,
    Conversation,
    ConversationType,
    Instance,
    KnownMessage,
    Media,
    MediaKind,
    MessageStatus,
    Quote,
    Route,
)
from actors.errors import Permanent
from actors.stores.extras import to_extra
from actors.stores.file_names import file_name

logger = logging.getLogger(__name__)

E = TypeVar("E", bound=StrEnum)

OUTGOING = "outgoing"
#: What an instance's ``integration_type`` says → gateway backend. Another value names a backend itself.
BACKEND_OF = {"evolution": "evolution", "meta_cloud": "whatsapp_cloud"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """A connected number. ``evolution_instance_name`` is its name on the wire where it differs.

    ``integration_type`` empty leaves the gateway to ``CHAT_GATEWAY``. ``pace`` overrides numbers of ``actors.pace``.
    """

    instance_name: str
    tenant_id: str | None = None
    evolution_instance_name: str = ""
    integration_type: str = ""
    api_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    phone_number_id: str | None = None
    access_token: str | None = field(default=None, repr=False)
    is_active: bool = True
    pace: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRow:
    """A thread. A group's address is ``group_metadata["group_id"]``, else ``contact_phone``."""

    id: str
    contact_phone: str = field(repr=False)
    conversation_type: str = ConversationType.INDIVIDUAL
    tenant_id: str | None = None
    instance_name: str | None = None
    contact_name: str = field(default="", repr=False)
    profile_pic_url: str | None = field(default=None, repr=False)
    group_metadata: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A chat message. ``message_id`` is the provider's id, as the adopting product calls it.

    Of ``metadata`` are read: flow_prefer_instance_name, reply_to, mentions, mention_everyone, attachment_urls, and what
    ``extras`` reads.
    """

    id: str
    conversation_id: str
    created_at_ms: int
    direction: str = OUTGOING
    content: str = field(default="", repr=False)
    status: str = MessageStatus.PENDING
    message_id: str | None = None
    evolution_status: str = ""
    error_message: str = ""
    is_internal: bool = False
    is_deleted: bool = False
    sender_phone: str = field(default="", repr=False)
    metadata: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRow:
    """A file of a chat message. ``short_url`` is preferred: gateways refuse long presigned URLs."""

    message_id: str
    created_at_ms: int
    mime_type: str = ""
    original_filename: str = field(default="", repr=False)
    file_url: str = field(default="", repr=False)
    short_url: str | None = field(default=None, repr=False)


Row = InstanceRow | ConversationRow | MessageRow | AttachmentRow


def to_known(row: MessageRow, route: Route) -> KnownMessage:
    """What is known of a row without its content."""
    return KnownMessage(route=route, status=row.status, provider_message_id=row.message_id or None)


def to_chat_message(
    message: MessageRow, conversation: ConversationRow, attachments: Iterable[AttachmentRow], quoted: MessageRow | None
) -> ChatMessage:
    """The chat message as the work sees it; ``attachments`` in their order, ``quoted`` of the same conversation or None.

    Raises:
        Permanent: it cannot be sent: ``not_outgoing``, ``message_deleted``, or ``bad_row`` for a value nobody knows.
    """
    if message.direction != OUTGOING:
        raise Permanent(f"message {message.id} is not outgoing; nothing was sent", code="not_outgoing")
    if message.is_deleted:
        raise Permanent(f"message {message.id} was deleted before it was sent", code="message_deleted")
    metadata = _table(message.metadata)
    files = list(attachments)
    thread = to_conversation(conversation)
    is_group = thread.conversation_type is ConversationType.GROUP
    quote = to_quote(quoted, is_group=is_group)
    if quote is None and reply_target(metadata):
        # A reply without its quote still says what its author wanted to say.
        logger.warning("message.quote_dropped", extra={"chat_message_id": message.id})
    return ChatMessage(
        id=message.id,
        conversation_id=message.conversation_id,
        tenant_id=conversation.tenant_id,
        instance_name=preferred_instance(metadata, conversation.instance_name),
        conversation_type=thread.conversation_type,
        recipient_address=thread.recipient_address,
        text=message.content,
        # A file without a URL is announced but not there, so the message is not sent without it.
        media=tuple(to_media(row) for row in files if row.short_url or row.file_url),
        extra=to_extra(metadata, owner=f"message {message.id}"),
        announced_media=max(_announced(metadata), len(files)),
        quote=quote,
        mentions=to_mentions(metadata.get("mentions")) if is_group else (),
        mention_everyone=is_group and metadata.get("mention_everyone") is True,
        status=_member(MessageStatus, message.status, what="status", owner=f"message {message.id}"),
        provider_message_id=message.message_id or None,
        is_internal=message.is_internal,
        created_at_ms=message.created_at_ms,
    )


def to_conversation(row: ConversationRow) -> Conversation:
    """The thread as the fetches see it.

    Raises:
        Permanent: ``bad_row``: its type is none that is known, or its group's metadata is no table.
    """
    kind = _member(ConversationType, row.conversation_type, what="conversation_type", owner=f"conversation {row.id}")
    if kind is ConversationType.GROUP and not isinstance(row.group_metadata, dict):
        # Who it goes to stands in there.
        found = type(row.group_metadata).__name__
        text = (
            f"conversation {row.id} has a group_metadata that is no table (JSON object) but a {found}; correct the row"
        )
        raise Permanent(text, code="bad_row")
    group_id = row.group_metadata.get("group_id") if kind is ConversationType.GROUP else None
    return Conversation(
        id=row.id,
        tenant_id=row.tenant_id,
        instance_name=row.instance_name or None,
        conversation_type=kind,
        recipient_address=str(group_id or row.contact_phone or ""),
        picture_url=row.profile_pic_url or None,
    )


def to_instance(row: InstanceRow) -> Instance:
    """The instance under its name on the wire, with the credentials of its own kind of gateway."""
    backend = BACKEND_OF.get(row.integration_type, row.integration_type) or None
    is_cloud = backend == "whatsapp_cloud"
    return Instance(
        name=row.evolution_instance_name or row.instance_name,
        aliases=tuple(name for name in _names(row) if name),
        pace=row.pace,
        tenant_id=row.tenant_id,
        backend=backend,
        # An Evolution URL on a Cloud row is a leftover of an earlier integration.
        base_url=None if is_cloud else row.api_url or None,
        api_key=(row.access_token if is_cloud else row.api_key) or None,
        phone_number_id=row.phone_number_id or None,
        is_active=row.is_active,
    )


def preferred_instance(metadata: Mapping[str, Any], conversation_instance: str | None) -> str | None:
    """Name that a message wants to leave from: its own preference, then its conversation's."""
    return str(_table(metadata).get("flow_prefer_instance_name") or conversation_instance or "") or None


def find_instance(
    rows: Iterable[InstanceRow], name: str | None, *, tenant_id: str | None, use_fallback: bool
) -> Instance | None:
    """The active instance ``name`` of the tenant or of nobody; see ``Store.load_instance`` for when another may stand in.

    The tenant's own comes before nobody's, an instance's first name before its others.
    """

    def rank(row: InstanceRow) -> tuple[bool, int]:
        return row.tenant_id != tenant_id, _names(row).index(str(name))

    usable = [row for row in rows if row.is_active and row.tenant_id in (tenant_id, None)]
    named = [row for row in usable if name and name in _names(row)]
    if named:
        return to_instance(min(named, key=rank))
    own = [row for row in usable if row.tenant_id == tenant_id]
    stands_in = len(own) == 1 and (use_fallback or not name)
    return to_instance(own[0]) if stands_in else None


def _names(row: InstanceRow) -> list[str | None]:
    return [row.instance_name, row.evolution_instance_name, row.phone_number_id]


def to_media(row: AttachmentRow) -> Media:
    """The file as a gateway needs it."""
    mimetype = row.mime_type.strip().lower() or "application/octet-stream"
    return Media(
        kind=MediaKind.of(mimetype),
        url=row.short_url or row.file_url,
        mimetype=mimetype,
        file_name=file_name(row.original_filename, mimetype=mimetype),
    )


def reply_target(metadata: Mapping[str, Any]) -> str | None:
    """Id of the chat message that this one answers."""
    return str(_table(metadata).get("reply_to") or "") or None


def to_quote(row: MessageRow | None, *, is_group: bool) -> Quote | None:
    """The quoted message; None when the gateway never knew it. In a group the author of an incoming one is named."""
    if row is None or not row.message_id:
        return None
    from_me = row.direction == OUTGOING
    author = to_mentions([row.sender_phone]) if is_group and not from_me else ()
    participant = None if not author else author[0] if "@" in author[0] else f"{author[0]}@s.whatsapp.net"
    # What was taken back is not said again.
    text = "" if row.is_deleted else row.content
    return Quote(provider_message_id=row.message_id, from_me=from_me, participant=participant, text=text)


def to_mentions(value: Any) -> tuple[str, ...]:
    """Digits of phones, and linked ids whole, each once; entries are text, or dicts with ``phone`` or ``jid``."""
    found: dict[str, None] = {}
    for entry in value if isinstance(value, list) else []:
        address = entry.get("phone") or entry.get("jid") if isinstance(entry, dict) else entry
        text = str(address or "").strip().removesuffix("@s.whatsapp.net").lstrip("+")
        digits = "".join(character for character in text.removesuffix("@lid") if character in "0123456789")
        if digits and (text.endswith("@lid") or "@" not in text):
            found[f"{digits}@lid" if text.endswith("@lid") else digits] = None
    return tuple(found)


def _announced(metadata: Mapping[str, Any]) -> int:
    urls = metadata.get("attachment_urls")
    return len(urls) if isinstance(urls, list) else 0


def _table(value: Any) -> Mapping[str, Any]:
    """What a JSON column holds when it is an object, nothing otherwise."""
    return value if isinstance(value, dict) else {}


def _member(kind: type[E], value: str, *, what: str, owner: str) -> E:
    try:
        return kind(value)
    except ValueError as error:
        raise Permanent(f"{owner} has a {what} that is none of {', '.join(kind)}", code="bad_row") from error
