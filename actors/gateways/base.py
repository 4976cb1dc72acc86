"""What a gateway can do, and how backends are found.

``actors.services`` builds one gateway per backend name through :func:`make_gateway`; every backend passes
``tests/contracts/gateway_contract.py``. A third party adds one through the entry-point group ``chat_actors.gateways``:
a callable ``(settings) -> Gateway``.
"""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from actors import backends
from actors.domain import GroupInfo, GroupJid, Instance, OutgoingPart, Receipt, Recipient

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

    def fetch_group_info(self, group: GroupJid, *, instance: Instance) -> GroupInfo:
        """What the provider knows of a group. Idempotent."""
        ...

    def check(self, instance: Instance | None = None) -> str:
        """Ask whether the server answers; with an instance, whether its session is open. One line for ``doctor``."""
        ...

    def close(self) -> None:
        """Give back connections. Repeatable."""
        ...


def make_gateway(name: str, settings: "Settings") -> Gateway:
    """Build the backend ``name``.

    Raises:
        SettingsError: unknown name (the known ones are listed), or the backend lacks a setting.
    """
    factory: Callable[[Settings], Gateway] = backends.load("gateway", name)
    return factory(settings)
