"""What the sandbox is told of the world: connected numbers, people, groups.

``admin`` takes them from JSON, ``state`` keeps them.
"""

from dataclasses import dataclass, field
from typing import Any

STATES = ("open", "connecting", "close")
GROUP_ERRORS = (None, "forbidden", "item-not-found", "rate-overlimit")


@dataclass(slots=True)
class InstanceFixture:
    """A connected number. ``reported_state`` is what ``connectionState`` says instead of the truth."""

    token: str | None = None
    state: str = "open"
    loaded: bool = True
    reported_state: str | None = None
    save_messages: bool = True
    owner_jid: str | None = None
    integration: str = "WHATSAPP-BAILEYS"

    def __post_init__(self) -> None:
        for value in (self.state, self.reported_state or "open"):
            if value not in STATES:
                raise ValueError(f"state is one of {', '.join(STATES)}")


@dataclass(slots=True)
class ContactFixture:
    """A person; unknown ones exist and have no picture."""

    exists: bool = True
    picture_url: str | None = None
    lid: str | None = None


@dataclass(slots=True)
class GroupFixture:
    """A group; unknown ones are missing. ``error`` is what WhatsApp answers for it."""

    subject: str = "Group"
    desc: str | None = None
    owner: str | None = None
    participants: list[dict[str, Any]] = field(default_factory=list)
    picture_url: str | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if self.error not in GROUP_ERRORS:
            raise ValueError("error is null, forbidden, item-not-found or rate-overlimit")
