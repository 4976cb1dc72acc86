"""What a gateway's contract needs around the gateway: an instance that works, and a far side to see and to break.

The suites take a ``rig`` fixture that returns a :class:`Rig`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from actors.domain import (
    CloudGroup,
    ContactCard,
    GroupJid,
    Instance,
    Location,
    OutgoingPart,
    Phone,
    Recipient,
    Template,
)
from actors.gateways.base import Ability, Gateway
from middleware.clock import SystemClock

PERSON = Phone("+5511988887777")
GROUP = GroupJid("120363025246125486@g.us")
CLOUD_GROUP = CloudGroup("Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD")
PLACE = Location(latitude=-23.561414, longitude=-46.655881, name="MASP", address="Av. Paulista, 1578")
CARD = ContactCard(full_name="Ana Souza", phone="+5511977776666", organization="Oficina")
TEMPLATE = Template(name="welcome", language="pt_BR")
EXTRAS = [
    (Ability.SEND_LOCATION, PLACE, "location"),
    (Ability.SEND_CONTACT, CARD, "contact"),
    (Ability.SEND_TEMPLATE, TEMPLATE, "template"),
]


@dataclass(frozen=True)
class Accepted:
    """One message that the far side took."""

    reference: str
    text: str
    is_group: bool
    kind: str
    is_reply: bool
    mentions_everyone: bool


class FarSide(Protocol):
    """The provider, as far as a test must see and break it. ``break_`` lasts until ``heal``."""

    def accepted(self) -> list[Accepted]: ...

    def requests(self) -> int: ...

    def break_(self, how: str) -> None:
        """``lost_before``, ``lost_after``, ``silent_after``, ``cut_after``, ``refuses``, ``closed``, ``bad_key``,
        ``too_many`` (asks for 7 s), ``down`` (502 page)."""
        ...

    def heal(self) -> None: ...


@dataclass
class Rig:
    """A gateway, an instance that works, and the far side.

    ``has_session``: an instance may be known and its session down. ``max_text_chars``: of the longest text that the provider takes.
    """

    gateway: Gateway
    instance: Instance
    far: FarSide
    group: Recipient = GROUP
    has_session: bool = True
    max_text_chars: int = 20_000
    number = 0

    def part(self, text: str = "oi", recipient: Recipient = PERSON, **fields: Any) -> OutgoingPart:
        self.number += 1
        return OutgoingPart(
            message_id=f"m{self.number}", part=0, sequence=self.number, recipient=recipient, text=text, **fields
        )

    def send(self, part: OutgoingPart, timeout_s: float = 5.0) -> Any:
        return self.gateway.send(part, instance=self.instance, timeout_s=timeout_s)

    def need_session(self) -> None:
        if not self.has_session:
            pytest.skip(f"{self.gateway.name} knows no sessions")

    def found(self, part: OutgoingPart, *, since_ms: int, bound_ids: tuple[str, ...] = ()) -> Any:
        return self.gateway.find_sent(
            part, instance=self.instance, since_ms=since_ms, until_ms=SystemClock().now_ms(), bound_ids=bound_ids
        )


class GatewaySuite:
    """Tests of a ``rig``."""

    @pytest.fixture
    def can(self, rig: Rig) -> Callable[[Ability], None]:
        """Skip what the backend declares absent."""

        def need(ability: Ability) -> None:
            if ability not in rig.gateway.supports:
                pytest.skip(f"{rig.gateway.name} declares no {ability}")

        return need
