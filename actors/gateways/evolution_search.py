"""Find a part among what Evolution really sent. Pure.

``actors.gateways.evolution`` asks ``findMessages`` with :func:`query` and picks with :func:`find`. Evolution has no client
reference: a message is known again by chat, time, kind and content, and by not belonging to another part.
"""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from actors.domain import MediaKind, OutgoingPart, Receipt
from actors.gateways.evolution_extras import is_same_extra
from actors.gateways.evolution_requests import base_type, file_name
from actors.gateways.jids import possible_jids
from middleware.clock import iso

#: Looked at before and after the time of the send, in milliseconds.
MARGIN_MS = 5_000
#: Clocks that differ by less are the same: the ``Date`` header counts whole seconds, and the answer travels.
SKEW_TOLERANCE_MS = 2_500
#: Messages per page, and pages of one search. More than this in one chat within one window is not searched.
PAGE_SIZE = 50
MAX_PAGES = 20

#: Later than any message, in seconds since 1970.
_NEVER_S = 10**12

#: Where the content of each kind lies in a record.
_CONTENT = {
    MediaKind.IMAGE: "imageMessage",
    MediaKind.VIDEO: "videoMessage",
    MediaKind.DOCUMENT: "documentMessage",
    MediaKind.AUDIO: "audioMessage",
    MediaKind.VOICE: "audioMessage",
}


@dataclass(frozen=True, slots=True)
class Window:
    """Times between which the message was sent."""

    from_ms: int
    to_ms: int

    @classmethod
    def around(cls, since_ms: int, until_ms: int) -> "Window":
        """The two times with a margin."""
        return cls(from_ms=since_ms - MARGIN_MS, to_ms=until_ms + MARGIN_MS)

    def moved(self, by_ms: int) -> "Window":
        """The same times on a clock that is ahead by so much."""
        return Window(from_ms=self.from_ms + by_ms, to_ms=self.to_ms + by_ms)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of ``findMessages``, newest first."""

    records: Sequence[Mapping[str, Any]] = field(repr=False)
    pages: int

    @classmethod
    def of(cls, body: Any) -> "Page | None":
        """The page in a decoded body; None when it is not one. That is never "nothing was sent"."""
        messages = body.get("messages") if isinstance(body, dict) else None
        if not isinstance(messages, dict):
            return None
        records, pages = messages.get("records"), messages.get("pages")
        if not isinstance(records, list) or not isinstance(pages, int) or isinstance(pages, bool):
            return None
        return cls(records=[one for one in records if isinstance(one, dict)], pages=pages)


def query(jid: str, window: Window, *, page: int) -> dict[str, Any]:
    """Body of one ``findMessages``. Both bounds are needed, and only equality on the rest is offered."""
    return {
        "where": {
            "key": {"remoteJid": jid, "fromMe": True},
            "messageTimestamp": {"gte": _iso(window.from_ms), "lte": _iso(window.to_ms)},
        },
        "page": page,
        "offset": PAGE_SIZE,
    }


def find(
    part: OutgoingPart,
    records: Sequence[Mapping[str, Any]],
    *,
    window: Window,
    bound_ids: Collection[str],
    jids: Collection[str] | None = None,
) -> Receipt | None:
    """The earliest of ``records`` (newest first) that is ``part``; None when none is. ``jids``: other addresses of its recipient."""
    jids = possible_jids(part.recipient) if jids is None else jids
    hits: list[tuple[float, int, str, str]] = []
    for age, record in enumerate(records):
        key = record.get("key")
        key_id = key.get("id") if isinstance(key, dict) else None
        if not isinstance(key, dict) or not isinstance(key_id, str) or not key_id or key_id in bound_ids:
            continue
        at_s = _seconds(record.get("messageTimestamp"))
        in_time = at_s is None or window.from_ms - 1_000 <= at_s * 1_000 <= window.to_ms + 1_000
        jid = _address(key, jids)
        if key.get("fromMe") is True and jid is not None and in_time and _is_content(part, record):
            hits.append((at_s if at_s is not None else window.to_ms / 1_000, -age, key_id, jid))
    if not hits:
        return None
    *_, key_id, jid = min(hits)
    return Receipt(provider_message_id=key_id, recipient_jid=jid)


def skew_ms(date_header: str, *, now_ms: int) -> int:
    """How far the gateway's clock is ahead of ours; 0 when it does not say, or says less than can be told apart."""
    try:
        theirs_ms = int(parsedate_to_datetime(date_header).timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    skew = theirs_ms - now_ms
    return skew if abs(skew) > SKEW_TOLERANCE_MS else 0


def _address(key: Mapping[str, Any], jids: Collection[str]) -> str | None:
    """The one of ``jids`` that a record went to; where WhatsApp names a person by linked id, the number stands beside it."""
    named = (key.get("remoteJid"), key.get("remoteJidAlt"))
    return next((jid for jid in named if isinstance(jid, str) and jid in jids), None)


def _is_content(part: OutgoingPart, record: Mapping[str, Any]) -> bool:
    message = record.get("message")
    if not isinstance(message, dict):
        return False
    if part.extra is not None:
        return is_same_extra(part.extra, message)
    if part.media is None:
        extended = message.get("extendedTextMessage")
        text = message.get("conversation") or (extended.get("text") if isinstance(extended, dict) else None)
        return _same(text, part.text)
    wrapped = message.get("documentWithCaptionMessage")
    if isinstance(wrapped, dict) and isinstance(wrapped.get("message"), dict):
        message = wrapped["message"]
    content = message.get(_CONTENT[part.media.kind])
    return isinstance(content, dict) and _same(content.get("caption"), part.text) and _is_file(part, content)


def _is_file(part: OutgoingPart, content: Mapping[str, Any]) -> bool:
    """Whether what the record says of the file fits; it need not say anything."""
    media = part.media
    if media is None:
        return False
    if media.kind in (MediaKind.AUDIO, MediaKind.VOICE):
        # Voice notes are converted, so their type says nothing.
        ptt = content.get("ptt")
        return not isinstance(ptt, bool) or ptt is (media.kind is MediaKind.VOICE)
    name, mimetype = content.get("fileName"), content.get("mimetype")
    if isinstance(name, str) and name:
        return _same(name, file_name(media))
    return not isinstance(mimetype, str) or not media.mimetype or base_type(mimetype) == base_type(media.mimetype)


def _same(theirs: Any, ours: str) -> bool:
    """Equal to the letter, composed or not."""
    text = theirs if isinstance(theirs, str) else ""
    return unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", ours)


def _seconds(value: Any) -> float | None:
    if isinstance(value, dict):
        value = value.get("low")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:15])
    # Compared first: an integer of a thousand digits is no float.
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _NEVER_S
    return float(value) if is_time else None


def _iso(at_ms: int) -> str:
    return iso(at_ms, to="milliseconds").replace("+00:00", "Z")
