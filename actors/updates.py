"""What providers tell by webhook, as frozen values: a status of a message, a message that went out, a session's state.

``actors.gateways.cloud_webhooks`` and ``evolution_webhooks`` make them of what was posted, the intake applies them to
attempts and rows. Webhooks repeat and overtake each other: :attr:`StatusUpdate.key` tells repeats, :func:`is_news` what to keep.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class DeliveryStatus(StrEnum):
    """How far a message came, as its provider says."""

    #: The provider handed it to WhatsApp.
    SENT = "sent"
    #: It is on the recipient's phone.
    DELIVERED = "delivered"
    #: The recipient read it.
    READ = "read"
    #: The recipient played it: a voice note.
    PLAYED = "played"
    #: It will not arrive.
    FAILED = "failed"


_RANKS = {
    DeliveryStatus.SENT: 1,
    DeliveryStatus.FAILED: 2,
    DeliveryStatus.DELIVERED: 3,
    DeliveryStatus.READ: 4,
    DeliveryStatus.PLAYED: 5,
}


def is_news(new: DeliveryStatus, known: DeliveryStatus | None) -> bool:
    """Whether ``new`` says more than what is known; statuses may be skipped, repeated and come late.

    A failure ends what was sent; it says nothing about what has already been on the phone.
    """
    return known is None or _RANKS[new] > _RANKS[known]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusUpdate:
    """One status of one message.

    ``reference`` is ours (:attr:`actors.domain.OutgoingPart.reference`), where the provider gives it back: it then tells the
    message whose send ended in silence. Of ``instance_name`` and ``phone_number_id`` the one is set by which the provider
    knows the sender.
    """

    provider_message_id: str
    status: DeliveryStatus
    #: Time of the status by the provider's clock; 0 when it does not say.
    at_ms: int
    reference: str | None = None
    instance_name: str | None = None
    phone_number_id: str | None = None
    #: Whom it went to, as the provider writes it: digits, or an address.
    recipient: str | None = field(default=None, repr=False)
    #: Why it failed: a code of docs/errors.md.
    error_code: str | None = None
    #: Whether the failure calls an operator.
    alert: bool = False

    @property
    def key(self) -> tuple[str, DeliveryStatus]:
        """Equal for repeats of the same news."""
        return (self.provider_message_id, self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentUpdate:
    """A message that went out through an instance: what the lost answer to a send would have said.

    ``record`` is the message as its provider writes it; only that provider's gateway compares it with a part.
    """

    instance_name: str
    jid: str = field(repr=False)
    provider_message_id: str
    #: Time of the send by the provider's clock; 0 when it does not say.
    at_ms: int
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)


class SessionState(StrEnum):
    """State of an instance's session with WhatsApp."""

    #: Messages go out.
    OPEN = "open"
    #: On its way to ``open``.
    CONNECTING = "connecting"
    #: Down; the provider connects again by itself.
    CLOSE = "close"
    #: Logged out; it stays so until a person connects it.
    CLOSED = "closed"


#: Reasons after which a session does not come back by itself: logged out, payment, forbidden, not acceptable.
FINAL_REASONS = frozenset({401, 402, 403, 406})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceUpdate:
    """The state of an instance's session changed."""

    instance_name: str
    state: SessionState
    #: Why it went down, as WhatsApp numbers it; None when it is not said.
    reason_code: int | None = None

    @property
    def needs_a_person(self) -> bool:
        """Whether the session stays down until somebody connects it again."""
        return self.state is SessionState.CLOSED or (
            self.state is SessionState.CLOSE and self.reason_code in FINAL_REASONS
        )


Update = StatusUpdate | SentUpdate | InstanceUpdate
