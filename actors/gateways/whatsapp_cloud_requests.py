"""What is sent to the WhatsApp Cloud API for one part of a chat message. Pure.

``actors.gateways.whatsapp_cloud`` asks it. Whatever the API cannot do, or would refuse for its size, is refused here, before
any request. Source: docs/whatsapp-cloud.md, "The Cloud API".
"""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from actors.domain import (
    CloudGroup,
    ContactCard,
    GroupJid,
    Lid,
    Location,
    Media,
    MediaKind,
    OutgoingPart,
    Phone,
    Recipient,
    Template,
)
from actors.errors import BadPayload, Unsupported

#: Longest text, caption and reference, in characters.
MAX_TEXT_CHARS = 4_096
MAX_CAPTION_CHARS = 1_024
MAX_REFERENCE_CHARS = 512
_MB = 1024 * 1024
#: Largest file of each kind, in bytes.
MAX_MEDIA_BYTES = {
    MediaKind.IMAGE: 5 * _MB,
    MediaKind.VIDEO: 16 * _MB,
    MediaKind.AUDIO: 16 * _MB,
    MediaKind.VOICE: 16 * _MB,
    MediaKind.DOCUMENT: 100 * _MB,
}
_AUDIO_TYPES = frozenset({"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"})
#: Types that the API takes of each kind; a document may be anything.
MEDIA_TYPES = {
    MediaKind.IMAGE: frozenset({"image/jpeg", "image/png"}),
    MediaKind.VIDEO: frozenset({"video/mp4", "video/3gpp"}),
    MediaKind.AUDIO: _AUDIO_TYPES,
    MediaKind.VOICE: _AUDIO_TYPES,
}
_SOUNDS = (MediaKind.AUDIO, MediaKind.VOICE)
_UNSAID = {
    MediaKind.IMAGE: "image/jpeg",
    MediaKind.VIDEO: "video/mp4",
    MediaKind.AUDIO: "audio/ogg",
    MediaKind.VOICE: "audio/ogg",
    MediaKind.DOCUMENT: "application/octet-stream",
}
#: What people write for types that have another name.
_ALIASES = {"image/jpg": "image/jpeg", "audio/mp3": "audio/mpeg"}


def message(part: OutgoingPart, *, media_id: str | None = None) -> dict[str, Any]:
    """Body of ``POST …/messages`` for ``part``; ``media_id`` is its file's, where it was uploaded.

    Raises:
        Unsupported, BadPayload: see :func:`check`.
    """
    check(part)
    kind, content = _content(part, media_id)
    body = {
        "messaging_product": "whatsapp",
        "recipient_type": "group" if isinstance(part.recipient, CloudGroup) else "individual",
        "to": wire_recipient(part.recipient),
        "type": kind,
        kind: content,
        # Every status webhook gives it back: the only way to learn what became of a send without an answer.
        "biz_opaque_callback_data": part.reference,
    }
    if part.quote is not None:
        body["context"] = {"message_id": part.quote.provider_message_id}
    return body


def wire_recipient(recipient: Recipient) -> str:
    """``to`` of a request.

    Always with ``+``: without it Meta puts the country of the sending number in front, and somebody else gets the message.

    Raises:
        Unsupported: a group or linked id of WhatsApp's own clients.
    """
    if isinstance(recipient, Phone):
        return recipient.number
    if isinstance(recipient, CloudGroup):
        return recipient.id
    what = "groups of WhatsApp's own clients (@g.us)" if isinstance(recipient, GroupJid) else "linked ids (@lid)"
    raise Unsupported(f"the Cloud API cannot reach {what}; the conversation needs an Evolution instance")


def check(part: OutgoingPart) -> None:
    """Refuse what cannot go out whole.

    Raises:
        Unsupported: a recipient that the API cannot reach, or mentions, for which it has no field: the text alone would look
            like a mention and notify nobody.
        BadPayload: nothing to send, too long, too large, or of a type that the API does not take. Nothing is cut.
    """
    if isinstance(part.recipient, GroupJid | Lid):
        wire_recipient(part.recipient)
    if part.mentions or part.mention_everyone:
        raise Unsupported(f"part {part.reference} mentions people, for which the Cloud API has no field")
    if len(part.reference) > MAX_REFERENCE_CHARS:
        raise BadPayload(
            f"part {part.reference[:40]}… has a reference above {MAX_REFERENCE_CHARS} characters; use shorter ids",
            code="reference_too_long",
        )
    if part.media is not None:
        _check_media(part, part.media)
    elif part.extra is None:
        _check_text(part)


def _check_text(part: OutgoingPart) -> None:
    if not part.text.strip():
        raise BadPayload(f"part {part.reference} has neither a text nor a file", code="empty")
    if len(part.text) > MAX_TEXT_CHARS:
        raise BadPayload(
            f"part {part.reference} has {len(part.text)} characters; the Cloud API takes {MAX_TEXT_CHARS}",
            code="text_too_long",
        )


def _check_media(part: OutgoingPart, media: Media) -> None:
    if media.kind in _SOUNDS and part.text:
        raise BadPayload(
            f"part {part.reference} has a text with a sound, which would be lost; send the text as a part of its own",
            code="caption_on_sound",
        )
    if len(part.text) > MAX_CAPTION_CHARS:
        raise BadPayload(
            f"part {part.reference} has a caption of {len(part.text)} characters; the Cloud API takes {MAX_CAPTION_CHARS}",
            code="caption_too_long",
        )
    if base_type(media) not in MEDIA_TYPES.get(media.kind, frozenset({base_type(media)})):
        raise BadPayload(
            f"part {part.reference} has a file that the Cloud API does not take as {media.kind}; send it as a document",
            code="media_type",
        )
    if media.content is None:
        if not re.match(r"https?://[^/]", media.url):
            raise BadPayload(f"the file of part {part.reference} has no http(s) URL", code="media_url")
    elif not 0 < len(media.content) <= MAX_MEDIA_BYTES[media.kind]:
        raise BadPayload(
            f"part {part.reference} has a file of {len(media.content)} bytes; the Cloud API takes 1 to "
            f"{MAX_MEDIA_BYTES[media.kind]} as {media.kind}",
            code="media_too_large" if media.content else "empty",
        )


def base_type(media: Media) -> str:
    """MIME type without parameters, in lower case; by the kind where the row says none."""
    said = media.mimetype.partition(";")[0].strip().lower()
    return _ALIASES.get(said, said) or _UNSAID[media.kind]


def file_name(media: Media) -> str:
    """Last part of the file's name."""
    return PurePosixPath(media.file_name.replace("\\", "/")).name or "file"


def _content(part: OutgoingPart, media_id: str | None) -> tuple[str, dict[str, Any] | list[dict[str, Any]]]:
    """``type`` of the message, and the field of that name."""
    if part.media is not None:
        return _media(part, part.media, media_id)
    if part.extra is not None:
        return _EXTRAS[type(part.extra)](part.extra)
    return "text", {"preview_url": re.search(r"https?://\S", part.text) is not None, "body": part.text}


def _media(part: OutgoingPart, media: Media, media_id: str | None) -> tuple[str, dict[str, Any]]:
    content: dict[str, Any] = {"link": media.url} if media_id is None else {"id": media_id}
    if media.kind in _SOUNDS:
        # Only ogg/opus can be a voice note; any other sound is a file to be played, rather than refused.
        if media.kind is MediaKind.VOICE and base_type(media) == "audio/ogg":
            content["voice"] = True
        return "audio", content
    if part.text:
        content["caption"] = part.text
    if media.kind is MediaKind.DOCUMENT:
        content["filename"] = file_name(media)
    return str(media.kind), content


def _location(place: Location) -> tuple[str, dict[str, Any]]:
    told = {"name": place.name, "address": place.address}
    # Texts in Meta's own examples; eight decimals are a millimetre.
    degrees = {"latitude": f"{place.latitude:.8f}", "longitude": f"{place.longitude:.8f}"}
    return "location", degrees | {name: text for name, text in told.items() if text}


def _contact(card: ContactCard) -> tuple[str, list[dict[str, Any]]]:
    # Besides the full name one more is needed.
    name = {"formatted_name": card.full_name, "first_name": card.full_name}
    contact: dict[str, Any] = {"name": name, "phones": [{"phone": card.phone, "type": "CELL"}]}
    return "contacts", [contact | ({"org": {"company": card.organization}} if card.organization else {})]


def _template(template: Template) -> tuple[str, dict[str, Any]]:
    content: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    return "template", content | ({"components": list(template.components)} if template.components else {})


_EXTRAS: dict[type, Callable[[Any], tuple[str, Any]]] = {
    Location: _location,
    ContactCard: _contact,
    Template: _template,
}
