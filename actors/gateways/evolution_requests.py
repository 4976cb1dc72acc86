"""What is sent to Evolution 2.3 for one part of a chat message. Pure.

``actors.gateways.evolution`` asks it; ``evolution_search`` compares with it. Source: docs/gateways.md, "Send".
"""

import base64
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from actors.domain import GroupJid, Media, MediaKind, OutgoingPart, Quote, Recipient
from actors.errors import BadPayload
from actors.gateways.evolution_answers import Operation
from actors.gateways.evolution_extras import extra_fields
from actors.gateways.jids import possible_jids, wire_number

#: Waiting for the answer to a question takes this long at most, in seconds.
READ_S = 15.0
#: The same for a text.
TEXT_READ_S = 60.0
#: Files are fetched and converted first, groups are asked for their members first: Evolution was seen to take 30 s.
SLOW_READ_S = 120.0

#: WhatsApp's own limit; Evolution has none and would let the phone decide what becomes of the rest.
MAX_TEXT_CHARS = 65_536

#: Extensions of types that the standard library lacks or names by another one; the first is the one we give.
_EXTENSIONS = {
    "image/jpeg": ("jpg", "jpeg"),
    "image/webp": ("webp",),
    "video/mp4": ("mp4",),
    "video/3gpp": ("3gp",),
    "video/quicktime": ("mov",),
    "audio/ogg": ("ogg", "oga", "opus"),
    "audio/mpeg": ("mp3",),
    "audio/mp4": ("m4a", "mp4"),
    "audio/aac": ("aac",),
    "audio/amr": ("amr",),
    "audio/wav": ("wav",),
    "text/plain": ("txt",),
    "text/csv": ("csv",),
    "text/vcard": ("vcf",),
    "application/zip": ("zip",),
}
_UNSAID = ("", "application/octet-stream", "binary/octet-stream")
# Without the machine's own files, which differ from host to host.
_TYPES = mimetypes.MimeTypes(filenames=())
_MENTION = re.compile(r"\d+(@lid)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: what is asked, and how long the next bytes of the answer may take."""

    operation: Operation
    payload: Mapping[str, Any] | None = field(default=None, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    read_s: float = READ_S
    to_group: bool = False


def send_request(part: OutgoingPart, *, quote_is_kept: bool = True) -> Request:
    """The request for ``part``; what it quotes is told along where Evolution has not kept it.

    Raises:
        BadPayload: there is nothing to send, or it cannot be sent whole; nothing was requested.
    """
    is_group = isinstance(part.recipient, GroupJid)
    operation, fields = _content(part)
    if "quoted" in fields and part.quote is not None and not quote_is_kept:
        fields["quoted"]["message"] = {"conversation": part.quote.text}
    is_slow = is_group or operation is not Operation.SEND_TEXT
    # The real Evolution ignores both headers; the sandbox tells duplicates and order by them.
    headers = {"X-Client-Ref": quote(part.reference, safe=":")}
    if part.sequence > 0:
        headers["X-Client-Seq"] = str(part.sequence)
    return Request(
        operation,
        payload={"number": wire_number(part.recipient), **fields},
        headers=headers,
        read_s=SLOW_READ_S if is_slow else TEXT_READ_S,
        to_group=is_group,
    )


def may_tell(quote: Quote, recipient: Recipient) -> bool:
    """Whether a quote can be told along: it says something, and in a group its author is known, else it would be the group."""
    has_author = quote.from_me or quote.participant is not None or not isinstance(recipient, GroupJid)
    return has_author and bool(quote.text.strip())


def quoted_request(quote: Quote) -> Request:
    """Asks whether Evolution has kept what is quoted; of what it has not it says nothing when it sends without the quote."""
    where = {"key": {"id": quote.provider_message_id}}
    return Request(Operation.FIND_MESSAGES, payload={"where": where, "page": 1, "offset": 1})


def _content(part: OutgoingPart) -> tuple[Operation, dict[str, Any]]:
    media = part.media
    if part.extra is not None:
        operation, fields, may_quote = extra_fields(part.extra, owner=f"part {part.reference}")
        return operation, {**fields, **_context(part)} if may_quote else fields
    if len(part.text) > MAX_TEXT_CHARS:
        text = f"the text of part {part.reference} has more than the {MAX_TEXT_CHARS} characters that WhatsApp takes; split it"
        raise BadPayload(text, code="text_too_long")
    if media is None:
        if not part.text.strip():
            raise BadPayload(f"part {part.reference} has neither a text nor a file", code="empty")
        return Operation.SEND_TEXT, {"text": part.text, **_context(part)}
    if media.content is None and not re.match(r"https?://[^/]", media.url):
        raise BadPayload(f"the file of part {part.reference} has no http(s) URL", code="media_url")
    if media.kind in (MediaKind.AUDIO, MediaKind.VOICE) and part.text:
        # WhatsApp shows no caption under a sound: Evolution would drop the text and say nothing.
        raise BadPayload(
            f"part {part.reference} has a text with a sound, which would be lost; send the text as a part of its own",
            code="caption_on_sound",
        )
    if media.kind is MediaKind.VOICE:
        # This endpoint ignores quoted and mentioned.
        return Operation.SEND_AUDIO, {"audio": _source(media)}
    return Operation.SEND_MEDIA, {**_media(part, media), **_context(part)}


def _media(part: OutgoingPart, media: Media) -> dict[str, Any]:
    fields = {"mediatype": str(media.kind), "media": _source(media), "fileName": file_name(media)}
    if media.mimetype:
        fields["mimetype"] = media.mimetype
    if part.text:
        fields["caption"] = part.text
    return fields


def _source(media: Media) -> str:
    """The URL, or the bytes as raw base64: a data URI is refused."""
    return media.url if media.content is None else base64.b64encode(media.content).decode("ascii")


def _context(part: OutgoingPart) -> dict[str, Any]:
    """Reply and mentions; both stand at the root in 2.x, and mentions are for groups."""
    fields: dict[str, Any] = {}
    if part.quote is not None:
        key: dict[str, Any] = {
            "id": part.quote.provider_message_id,
            "remoteJid": possible_jids(part.recipient)[0],
            "fromMe": part.quote.from_me,
        }
        if part.quote.participant is not None and isinstance(part.recipient, GroupJid):
            key["participant"] = part.quote.participant
        fields["quoted"] = {"key": key}
    if isinstance(part.recipient, GroupJid):
        if mentioned := mentions(part):
            fields["mentioned"] = mentioned
        if part.mention_everyone:
            fields["mentionsEveryOne"] = True
    return fields


def mentions(part: OutgoingPart) -> list[str]:
    """Who is mentioned, as digits or ``…@lid``, each once; what is neither is left out: Evolution refuses the whole send."""
    wired = [one.strip().removeprefix("+").removesuffix("@s.whatsapp.net") for one in part.mentions]
    return list(dict.fromkeys(one for one in wired if _MENTION.fullmatch(one)))


def file_name(media: Media) -> str:
    """Name whose extension says the type.

    Evolution takes the type from the extension alone: without a known one the file arrives as type ``false``.
    """
    name = PurePosixPath(media.file_name.replace("\\", "/")).name or "file"
    extension = PurePosixPath(name).suffix.lower().removeprefix(".")
    mimetype = base_type(media.mimetype)
    if extension in _extensions(mimetype):
        return name
    if mimetype in _UNSAID or not _extensions(mimetype):
        is_known = _TYPES.guess_type(f"x.{extension}", strict=False)[0] or any(
            extension in e for e in _EXTENSIONS.values()
        )
        return name if extension and is_known else f"{name}.bin"
    return f"{name}.{_extensions(mimetype)[0]}"


def base_type(mimetype: str) -> str:
    """``mimetype`` without parameters, in lower case."""
    return mimetype.partition(";")[0].strip().lower()


def _extensions(mimetype: str) -> list[str]:
    known = [one.removeprefix(".") for one in _TYPES.guess_all_extensions(mimetype, strict=False)]
    return list(dict.fromkeys([*_EXTENSIONS.get(mimetype, ()), *known]))
