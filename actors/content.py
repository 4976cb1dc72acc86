"""What a chat message can carry besides its text: files, a place, a contact card, a template, a reply.

Re-exported by ``domain.py``; import from there. ``actors.stores`` makes these of a host's rows, gateways turn them into requests.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class MediaKind(StrEnum):
    """What a media part is to the person who receives it."""

    #: A picture.
    IMAGE = "image"
    #: A film.
    VIDEO = "video"
    #: A file.
    DOCUMENT = "document"
    #: A sound file.
    AUDIO = "audio"
    #: A voice note (push to talk).
    VOICE = "voice"

    @classmethod
    def of(cls, mimetype: str) -> "MediaKind":
        """Kind for a MIME type; sound is a voice note, as the adopting product sends it; unknown is a document."""
        family = mimetype.partition("/")[0]
        if family == "audio":
            return cls.VOICE
        return cls(family) if family in (cls.IMAGE, cls.VIDEO) else cls.DOCUMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One attachment: where its bytes are, and what they are. ``file_name`` has a true extension.

    ``content`` holds the bytes where this side has fetched them; else the gateway fetches ``url``.
    """

    kind: MediaKind
    url: str = field(repr=False)
    mimetype: str
    file_name: str = field(repr=False)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The message replied to, as the gateway knows it. ``participant`` is set in groups only.

    ``text`` is what it says, for a gateway that has not kept it; empty for a file without a caption.
    """

    provider_message_id: str
    from_me: bool
    participant: str | None = field(default=None, repr=False)
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place on the map, in degrees; ``name`` and ``address`` are shown beside the pin."""

    latitude: float = field(repr=False)
    longitude: float = field(repr=False)
    name: str = field(default="", repr=False)
    address: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactCard:
    """Somebody's number to be saved: E.164 with ``+``, and the name under which it is shown."""

    full_name: str = field(repr=False)
    phone: str = field(repr=False)
    organization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A text that the provider approved before, by name; the only kind that may open a conversation on the Cloud API.

    ``components`` are the provider's own objects (header, body, buttons), passed on as they are.
    """

    name: str
    language: str
    components: tuple[dict[str, Any], ...] = field(default=(), repr=False)


#: What goes out instead of a text or a file.
Extra = Location | ContactCard | Template
