"""Which provider messages a chat message becomes. Pure.

``actors.chat`` sends them one by one; each has an attempt row of its own, found by its number.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import astuple
from hashlib import sha256

from actors.domain import (
    AttemptState,
    ChatMessage,
    CloudGroup,
    Extra,
    Media,
    MediaKind,
    OutgoingPart,
    Recipient,
    SendAttempt,
    Template,
)
from actors.gateways.jids import possible_jids


def outgoing_parts(chat_message: ChatMessage, recipient: Recipient) -> list[OutgoingPart]:
    """Provider messages that a chat message becomes: its extra, one per attachment, its text.

    The text is the caption of the first attachment. Sound has none, so there the text follows as a part of its own, as it
    does after a place or a contact card. A template is the whole message: the row's text only says what it looks like.
    """
    parts = [
        OutgoingPart(
            message_id=chat_message.id,
            part=index,
            recipient=recipient,
            text=content if isinstance(content, str) else text,
            media=content if isinstance(content, Media) else None,
            extra=None if isinstance(content, Media | str) else content,
        )
        for index, (content, text) in enumerate(_contents(chat_message))
    ]
    return [_complete(part, chat_message, text_part=bool(part.text)) for part in parts]


def _contents(chat_message: ChatMessage) -> list[tuple[Media | Extra | str, str]]:
    """What each part carries, and the caption of it."""
    if isinstance(chat_message.extra, Template):
        return [(chat_message.extra, "")]
    contents: list[tuple[Media | Extra | str, str]] = [] if chat_message.extra is None else [(chat_message.extra, "")]
    media, text = chat_message.media, chat_message.text
    takes_caption = bool(media) and media[0].kind not in (MediaKind.VOICE, MediaKind.AUDIO)
    contents += [(one, text if takes_caption and index == 0 else "") for index, one in enumerate(media)]
    if text and not takes_caption:
        contents.append((text, ""))
    return contents


def is_all_out(chat_message: ChatMessage, attempts: Iterable[SendAttempt]) -> bool:
    """Whether the gateway has every part; asks nothing that may have changed since they were sent."""
    out = {attempt.part for attempt in attempts if attempt.state is AttemptState.ACCEPTED}
    parts = range(len(_contents(chat_message)))
    return bool(parts) and out.issuperset(parts)


def fingerprint(part: OutgoingPart) -> str:
    """Equal for parts that a gateway's list of sent messages cannot tell apart: same address, kind and words.

    A hash, so that no number and no text lies beside the attempts.
    """
    recipient = part.recipient
    jids = (recipient.id,) if isinstance(recipient, CloudGroup) else possible_jids(recipient)
    what = [min(jids), unicodedata.normalize("NFC", part.text)]
    if part.media is not None:
        # Of an image no list keeps the name, of a voice note not even the type.
        is_named = part.media.kind is MediaKind.DOCUMENT
        what += [part.media.kind, part.media.file_name if is_named else ""]
    if part.extra is not None:
        what += [type(part.extra).__name__, str(astuple(part.extra))]
    return sha256("\0".join(what).encode("utf-8", "surrogatepass")).hexdigest()


def first_attempt(part: OutgoingPart, *, instance_name: str, now_ms: int, deadline_at_ms: int) -> SendAttempt:
    """The claim of a part that was never tried."""
    return SendAttempt(
        message_id=part.message_id,
        part=part.part,
        state=AttemptState.SENDING,
        number=1,
        instance_name=instance_name,
        started_at_ms=now_ms,
        deadline_at_ms=deadline_at_ms,
        fingerprint=fingerprint(part),
    )


def _complete(part: OutgoingPart, chat_message: ChatMessage, *, text_part: bool) -> OutgoingPart:
    return OutgoingPart(
        message_id=part.message_id,
        part=part.part,
        # Milliseconds leave room for the parts of one message; nobody writes two messages in one.
        sequence=chat_message.created_at_ms * 100 + part.part,
        recipient=part.recipient,
        text=part.text,
        media=part.media,
        extra=part.extra,
        quote=chat_message.quote if part.part == 0 else None,
        mentions=chat_message.mentions if text_part else (),
        mention_everyone=chat_message.mention_everyone and text_part,
    )
