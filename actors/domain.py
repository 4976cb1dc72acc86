"""The words of the work as frozen values: what is sent, to whom, through which instance.

Stores make them, gateways take them, actors pass them on. An *instance* is one connected WhatsApp number: an Evolution
``instance`` or a Cloud API ``phone_number_id``. Recipients are a closed type: parsed once, refused rather than repaired.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from actors.content import ContactCard as ContactCard
from actors.content import Extra as Extra
from actors.content import Location as Location
from actors.content import Media as Media
from actors.content import MediaKind as MediaKind
from actors.content import Quote as Quote
from actors.content import Template as Template
from actors.recipients import CloudGroup as CloudGroup
from actors.recipients import ConversationType as ConversationType
from actors.recipients import GroupJid as GroupJid
from actors.recipients import Lid as Lid
from actors.recipients import Phone as Phone
from actors.recipients import Recipient as Recipient
from actors.recipients import parse_recipient as parse_recipient


class MessageStatus(StrEnum):
    """Status of a chat message's row; it only ever moves forward (failed may become pending by a person's retry)."""

    #: Committed, not yet sent.
    PENDING = "pending"
    #: Accepted by the gateway.
    SENT = "sent"
    #: On the recipient's phone.
    DELIVERED = "delivered"
    #: Read by the recipient.
    SEEN = "seen"
    #: Given up; the reason is on the row.
    FAILED = "failed"


#: A row in one of these was sent; it is never sent again and never regresses.
SENT_STATUSES = frozenset({MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.SEEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One chat message as the host committed it. ``text`` is the body, or the caption of the first attachment.

    ``recipient_address`` is the row's raw phone or JID; :meth:`recipient` parses it once.
    ``instance_name`` is the one the row names (the message's own preference, then its conversation's), None when neither does.
    """

    id: str
    conversation_id: str
    tenant_id: str | None
    instance_name: str | None
    conversation_type: ConversationType
    recipient_address: str = field(repr=False)
    text: str = field(default="", repr=False)
    media: tuple[Media, ...] = ()
    #: Attachments that the row announces; more than ``media`` holds means a file is missing (never sent without it).
    announced_media: int = 0
    #: A place, a contact card or a template; goes out before the text, as a part of its own. A template has no text beside it.
    extra: Extra | None = None
    quote: Quote | None = None
    mentions: tuple[str, ...] = field(default=(), repr=False)
    mention_everyone: bool = False
    status: MessageStatus = MessageStatus.PENDING
    provider_message_id: str | None = None
    is_internal: bool = False
    created_at_ms: int = 0

    def recipient(self, *, default_region: str | None = None) -> Recipient:
        """Parse the address by what the conversation *is*, never by how the text looks.

        Raises:
            BadRecipient: it does not fit the conversation's type.
        """
        return parse_recipient(self.recipient_address, self.conversation_type, default_region=default_region)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A connected number. ``base_url`` and ``api_key`` come from one source or are both None.

    ``name`` is that on the wire, ``aliases`` are the others under which rows may know it; ``pace`` overrides numbers of
    ``actors.pace``.
    """

    name: str
    aliases: tuple[str, ...] = ()
    tenant_id: str | None = None
    #: Gateway backend that serves it, or None for ``CHAT_GATEWAY``.
    backend: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    phone_number_id: str | None = None
    is_active: bool = True
    pace: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, that on the wire first."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A thread with one contact or group, as far as the fetches need it."""

    id: str
    tenant_id: str | None
    instance_name: str | None
    conversation_type: ConversationType
    recipient_address: str = field(repr=False)
    picture_url: str | None = field(default=None, repr=False)

    def recipient(self, *, default_region: str | None = None) -> Recipient:
        """See :func:`parse_recipient`."""
        return parse_recipient(self.recipient_address, self.conversation_type, default_region=default_region)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPart:
    """What goes out in one request: a text, one attachment with its caption, or an :data:`Extra` alone.

    ``reference`` names (message, part) for the gateway's log; it is not content.
    """

    message_id: str
    part: int
    #: Order within the conversation, for the sandbox's order check; 0 = unknown.
    sequence: int = 0
    recipient: Recipient
    text: str = field(default="", repr=False)
    media: Media | None = None
    extra: Extra | None = None
    quote: Quote | None = None
    mentions: tuple[str, ...] = field(default=(), repr=False)
    mention_everyone: bool = False

    @property
    def reference(self) -> str:
        """``<message id>:<part>``."""
        return f"{self.message_id}:{self.part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The gateway took it. Not "delivered": only the webhook proves that.

    ``provider_message_id`` is None when it provably went out and no id could be had (never send it again).
    ``mismatch``: the gateway says that it went to somebody else than was asked. It cannot be undone; alert, do not resend.
    """

    provider_message_id: str | None
    recipient_jid: str | None = field(default=None, repr=False)
    mismatch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """What a gateway knows of a group. None = the gateway did not say; never overwrite with it.

    ``participants`` are kept by the host elsewhere; they are merged only when the host has none.
    """

    jid: str = field(repr=False)
    subject: str | None = field(default=None, repr=False)
    description: str | None = field(default=None, repr=False)
    owner: str | None = field(default=None, repr=False)
    picture_url: str | None = field(default=None, repr=False)
    size: int | None = None
    participants: tuple[dict[str, Any], ...] | None = field(default=None, repr=False)


class AttemptState(StrEnum):
    """State of a send attempt; committed before the HTTP call it describes."""

    #: A request may be on its way. Found by a later run, it means *unknown*.
    SENDING = "sending"
    #: Provably not sent; the next run may send.
    RETRYABLE = "retryable"
    #: May have been sent; reconcile first.
    UNKNOWN = "unknown"
    #: The gateway took it.
    ACCEPTED = "accepted"
    #: Given up.
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAttempt:
    """One row per (message, part): what is known of its delivery.

    ``number`` counts claims, ``resends`` those among them that did not know what became of the one before.
    ``started_at_ms`` is of the latest claim; ``looks`` counts reconciliations that found nothing since then.
    ``fingerprint`` is equal where a gateway's list cannot tell two parts apart: same words to the same address.
    """

    message_id: str
    part: int
    state: AttemptState
    number: int
    instance_name: str
    started_at_ms: int
    deadline_at_ms: int
    looks: int = 0
    resends: int = 0
    fingerprint: str = ""
    provider_message_id: str | None = None
    reason: str | None = None

    def again(self, *, instance_name: str, now_ms: int, deadline_at_ms: int) -> "SendAttempt":
        """The next claim of the same part."""
        return replace(
            self,
            state=AttemptState.SENDING,
            number=self.number + 1,
            resends=self.resends + (self.state is AttemptState.UNKNOWN),
            instance_name=instance_name,
            started_at_ms=now_ms,
            deadline_at_ms=deadline_at_ms,
            looks=0,
            provider_message_id=None,
            reason=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """What whoever sends a chat message allows; kept beside its row, because the queue may be emptied.

    Attributes:
        use_fallback: it may leave through another instance of its tenant.
        bulk: it is one of many (a campaign), which others overtake.
    """

    use_fallback: bool = False
    bulk: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a chat message belongs; resolved in one query at send."""

    conversation_id: str
    instance_name: str | None
    tenant_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMessage:
    """What has become of a chat message so far, and where it belongs; of many in one query.

    ``status`` is the row's own word: a host's row may hold one that is no :class:`MessageStatus`.
    """

    route: Route
    status: str
    provider_message_id: str | None
