"""What a gateway can do, and how backends are found.

``actors.services`` builds one gateway per backend name through :func:`make_gateway`; every backend passes
``tests/contracts/gateway_contract.py``. A third party adds one through the entry-point group ``chat_actors.gateways``:
a callable ``(settings) -> Gateway``.
"""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from actors import backends
from actors.domain import GroupInfo, Instance, OutgoingPart, Receipt, Recipient
from actors.updates import SentUpdate

if TYPE_CHECKING:
    from actors.settings import Settings


class Ability(StrEnum):
    """What a backend may offer; an absent one is declared, not discovered."""

    #: Text to a person or group.
    SEND_TEXT = "send_text"
    #: Image, video, document.
    SEND_MEDIA = "send_media"
    #: Voice note.
    SEND_VOICE = "send_voice"
    #: A place on the map.
    SEND_LOCATION = "send_location"
    #: A contact card.
    SEND_CONTACT = "send_contact"
    #: A text approved by the provider before.
    SEND_TEMPLATE = "send_template"
    #: Reply to a message.
    REPLY = "reply"
    #: Mentions in groups.
    MENTIONS = "mentions"
    #: A person's profile picture.
    FETCH_PROFILE_PIC = "fetch_profile_pic"
    #: A group's subject, picture, size.
    FETCH_GROUP_INFO = "fetch_group_info"
    #: Looking up what was really sent.
    RECONCILE = "reconcile"
    #: Its webhooks name our reference, so that what an answer lost is told by them.
    STATUS_BY_REFERENCE = "status_by_reference"


class Gateway(Protocol):
    """Delivers through one provider. Safe to call from many threads.

    Every method raises from ``actors.errors``: ``Transient``, ``Ambiguous`` (sends only), ``Throttled``,
    ``InstanceUnavailable`` or a ``Permanent``. None retries by itself. Texts of errors hold no number, content or key.
    """

    name: str
    supports: frozenset[Ability]

    def send(self, part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        """Send one part. Not idempotent: after ``Ambiguous`` the caller reconciles before sending again.

        ``timeout_s`` bounds the whole call, connecting included.
        """
        ...

    def find_sent(
        self, part: OutgoingPart, *, instance: Instance, since_ms: int, until_ms: int, bound_ids: Collection[str]
    ) -> Receipt | None:
        """Look for ``part`` among what the gateway really sent between the two wall-clock times.

        ``bound_ids`` are provider ids that belong to other messages. None = not found. Idempotent.

        Raises:
            Unsupported: the provider cannot be asked.
        """
        ...

    def fetch_profile_picture(self, recipient: Recipient, *, instance: Instance) -> str | None:
        """URL of the picture; None = none, private, or could not be asked: never a reason to delete a stored one."""
        ...

    def fetch_group_info(self, group: Recipient, *, instance: Instance) -> GroupInfo:
        """What the provider knows of a group. Idempotent.

        Raises:
            Unsupported: the provider has no groups of this kind; nothing was requested.
        """
        ...

    def check(self, instance: Instance | None = None) -> str:
        """Ask whether the server answers; with an instance, whether its session is open. One line for ``doctor``."""
        ...

    def close(self) -> None:
        """Give back connections. Repeatable."""
        ...


@runtime_checkable
class KnowsRecords(Protocol):
    """A gateway that can say whether a record of its provider is one of our parts; what a webhook brought needs it."""

    def is_record_of(self, part: OutgoingPart, update: SentUpdate) -> bool:
        """Whether ``update`` tells of ``part``. Pure, without a request."""
        ...


@runtime_checkable
class HasContract(Protocol):
    """A gateway whose server may speak another contract than the one that is spoken here."""

    def require_contract(self, instance: Instance) -> None:
        """Ask the instance's server which one it speaks; what it said counts for minutes. A server that is silent is taken for a good one.

        Raises:
            WrongContract: it is another one.
            AuthConfig: it cannot be asked with what its row says.
        """
        ...


def make_gateway(name: str, settings: "Settings", *, in_place_of: str | None = None) -> Gateway:
    """Build the backend ``name``; ``in_place_of`` tells one that replaces others, the sandbox, whom it stands in for.

    Raises:
        SettingsError: unknown name (the known ones are listed), or the backend lacks a setting.
    """
    factory: Callable[..., Gateway] = backends.load("gateway", name)
    return factory(settings) if in_place_of is None else factory(settings, in_place_of=in_place_of)
