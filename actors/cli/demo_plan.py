"""What the demo asks for, and what must come of it: values, computed before anything is sent.

``demo_story`` makes a plan, ``demo_world`` and ``demo_traffic`` carry it out, ``demo_checks`` compares what happened with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A connected number. ``key`` stands in the host's row, ``token`` is what the gateway accepts."""

    name: str
    key: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def is_revoked(self) -> bool:
        """The gateway would refuse the key of the row."""
        return self.key != self.token


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A conversation's row, and what the gateway knows of its person or group.

    ``address`` is what the row holds, ``wire`` what must be asked of the gateway. ``picture`` is the gateway's,
    ``stored_picture`` and ``stored_members`` are on the row before the demo begins.
    """

    id: str
    line: Line
    name: str = field(repr=False)
    address: str = field(repr=False)
    wire: str = field(repr=False)
    is_group: bool = False
    exists: bool = True
    picture: str | None = field(default=None, repr=False)
    stored_picture: str | None = field(default=None, repr=False)
    subject: str = field(default="", repr=False)
    members: tuple[str, ...] = field(default=(), repr=False)
    stored_members: tuple[str, ...] = field(default=(), repr=False)
    wants_picture: bool = False
    wants_group: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing that must arrive. ``quotes`` is the chat message it answers."""

    op: str
    text: str = field(default="", repr=False)
    url: str | None = field(default=None, repr=False)
    quotes: str | None = None
    mentions: tuple[str, ...] = field(default=(), repr=False)
    everyone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A chat message: ``body`` is posted to the host, ``parts`` must arrive. ``place`` counts within the conversation."""

    id: str
    thread: Thread
    place: int
    kind: str
    body: dict[str, Any] = field(repr=False)
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a chat message must end: the row's status, and the reason where it failed."""

    status: str
    reason: str | None = None

    def __str__(self) -> str:
        return self.status if self.reason is None else f"{self.status} ({self.reason})"


SENT = Ending(status="sent")
#: It waits behind the closed gate of its instance.
PARKED = Ending(status="pending")
REFUSED_KEY = "unauthorized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is asked for. ``disconnected`` names the line that loses its session for a while."""

    lines: tuple[Line, ...]
    threads: tuple[Thread, ...]
    messages: tuple[Message, ...]
    disconnected: str

    @property
    def pictures(self) -> list[Thread]:
        """Conversations whose picture is asked for."""
        return [thread for thread in self.threads if thread.wants_picture]

    @property
    def groups(self) -> list[Thread]:
        """Conversations whose group is asked for."""
        return [thread for thread in self.threads if thread.wants_group]

    def by_thread(self) -> Iterator[tuple[Thread, list[Message]]]:
        """Conversations that have messages, with them in their order."""
        for thread in self.threads:
            if own := [message for message in self.messages if message.thread is thread]:
                yield thread, own


# ``mended``, below: the revoked key was put right in the host's row, and the dead letter of it was redriven.


def refusal(thread: Thread, *, mended: bool = False) -> str | None:
    """Why nothing can be sent in this conversation; None when it can. A gateway looks at the key first."""
    if is_parked(thread, mended=mended):
        return REFUSED_KEY
    return None if thread.exists else "not_on_whatsapp"


def is_parked(thread: Thread, *, mended: bool = False) -> bool:
    """Whether its instance is refused: who meets that first is a dead letter, all others wait."""
    return thread.line.is_revoked and not mended


def ending(message: Message, *, mended: bool = False) -> Ending:
    """How ``message`` must end, or, where its instance is parked, how it ends if it is the one that finds out."""
    reason = refusal(message.thread, mended=mended)
    return SENT if reason is None else Ending(status="failed", reason=reason)


def endings(message: Message, *, mended: bool = False) -> tuple[Ending, ...]:
    """Every way in which ``message`` may stand when all is over."""
    wanted = ending(message, mended=mended)
    return (wanted, PARKED) if is_parked(message.thread, mended=mended) else (wanted,)


def certain(plan: Plan, wanted: str) -> int:
    """Messages that end as sent, or as failed, before the key is mended; the parked ones are neither for certain."""
    open_ = [message for message in plan.messages if not is_parked(message.thread)]
    return sum(ending(message).status == wanted for message in open_)


def expected_letters(plan: Plan, *, mended: bool = False) -> dict[tuple[str, str], str]:
    """Dead letters that must be there: (queue, id of message) → reason. Those of a parked instance only may be."""
    letters: dict[tuple[str, str], str] = {}
    for message in plan.messages:
        reason = ending(message, mended=mended).reason
        if reason is not None and not is_parked(message.thread, mended=mended):
            letters["send_message", message.id] = reason
    return letters


def possible_letters(plan: Plan, *, mended: bool = False) -> set[tuple[str, str]]:
    """Work of parked instances, any of which may be the one that finds out."""
    if mended:
        return set()
    found = {("send_message", message.id) for message in plan.messages if is_parked(message.thread)}
    for queue, threads in (("fetch_profile_pic", plan.pictures), ("fetch_group_info", plan.groups)):
        found |= {(queue, thread.id) for thread in threads if is_parked(thread)}
    return found


def expected_picture(thread: Thread, *, mended: bool = False) -> str | None:
    """URL that the row must hold in the end: "no picture" never clears a stored one."""
    is_asked_for = thread.wants_group if thread.is_group else thread.wants_picture
    found = thread.picture if is_asked_for and not is_parked(thread, mended=mended) else None
    return found or thread.stored_picture


def expected_members(thread: Thread, *, mended: bool = False) -> tuple[str, ...]:
    """Participants that the row must hold in the end: those of the host are never replaced."""
    found = thread.members if thread.wants_group and not is_parked(thread, mended=mended) else ()
    return thread.stored_members or found
