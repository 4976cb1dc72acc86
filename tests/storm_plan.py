"""A storm: who writes what to whom while everything fails, from a seed. Values only; ``storm_world`` carries it out.

Conversations and messages are the demo's (``actors.cli.demo_story``), in another shape: five instances, many conversations.
"""

import random
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid5

from actors.cli.demo_plan import Line, Message, Plan, Thread
from actors.cli.demo_story import conversation, group, person
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow, MessageRow

LINES = 5
#: Of ten conversations so many are groups; one person in ten is not on WhatsApp.
GROUPS_IN_TEN = 2
#: One message in so many is of a campaign; one in so many of the second half meets a failure of which few are borne.
BULK_EVERY, FRAIL_EVERY = 6, 12

_IDS = UUID("0b4c2f5e-51f5-5a0c-9d0c-8a1f4f6b7c11")
_METADATA = ("reply_to", "mentions", "mention_everyone")


@dataclass(frozen=True)
class Storm:
    """What is asked for. ``frail`` messages meet no other fault that costs an attempt; the key of ``revoked`` is taken away."""

    seed: int
    plan: Plan
    bulk: frozenset[str]
    frail: tuple[str, ...]
    revoked: Line

    def line(self, number: int) -> Line:
        return self.plan.lines[number]


def make_storm(*, seed: int, messages: int, conversations: int) -> Storm:
    draw = random.Random(seed)  # noqa: S311 - to be told again, not secret
    lines = tuple(_line(seed, number) for number in range(LINES))
    threads = [_thread(seed, lines[number % LINES], number) for number in range(conversations)]
    counts = [messages // conversations + (index < messages % conversations) for index in range(conversations)]
    # As they are saved: one of each conversation in turn.
    said = [conversation(seed, draw, one, count) for one, count in zip(threads, counts, strict=True)]
    ordered = [one for place in range(max(counts)) for row in said for one in row[place : place + 1]]
    # Of the second half: none of them is under way when the gateway refuses connections, which costs attempts, too.
    late = [one.id for one in ordered[messages // 2 :] if one.thread.exists]
    return Storm(
        seed=seed,
        plan=Plan(lines=lines, threads=tuple(threads), messages=tuple(ordered), disconnected=lines[1].name),
        bulk=frozenset(one.id for one in ordered[::BULK_EVERY]),
        frail=tuple(late[::FRAIL_EVERY]),
        revoked=lines[4],
    )


def _line(seed: int, number: int) -> Line:
    key = str(uuid5(_IDS, f"{seed}/key/{number}"))
    return Line(name=f"linha-{number}", key=key, token=key)


def _thread(seed: int, line: Line, number: int) -> Thread:
    round_ = number // LINES
    if round_ % 10 < GROUPS_IN_TEN:
        return group(seed, line, number)
    thread = person(seed, line, number)
    # One per ten rounds of each line but that of the revoked key, whose order of refusals would be another matter.
    return replace(thread, exists=False, picture=None) if round_ % 10 == 5 and number % LINES < 4 else thread


# -- as rows of a store, and as the sandbox's fixtures -----------------------------------------------------------------


def instance_row(line: Line) -> InstanceRow:
    return InstanceRow(instance_name=line.name, api_key=line.key)


def conversation_row(thread: Thread) -> ConversationRow:
    return ConversationRow(
        id=thread.id,
        contact_phone=thread.address,
        conversation_type="group" if thread.is_group else "individual",
        instance_name=thread.line.name,
        group_metadata={"group_id": thread.wire} if thread.is_group else {},
    )


def message_rows(message: Message, *, created_at_ms: int) -> list[MessageRow | AttachmentRow]:
    body = message.body
    files = body.get("attachments", [])
    metadata: dict[str, Any] = {name: body[name] for name in _METADATA if name in body}
    if files:
        metadata["attachment_urls"] = [file["file_url"] for file in files]
    row = MessageRow(
        id=message.id,
        conversation_id=message.thread.id,
        content=body["content"],
        created_at_ms=created_at_ms,
        metadata=metadata,
    )
    # In their order, which rows of one moment do not have.
    attached = [
        AttachmentRow(message_id=message.id, created_at_ms=created_at_ms + index, **file)
        for index, file in enumerate(files)
    ]
    return [row, *attached]


def fixtures(storm: Storm) -> dict[str, Any]:
    people = [one for one in storm.plan.threads if not one.is_group]
    groups = [one for one in storm.plan.threads if one.is_group]
    return {
        "instances": {line.name: {"token": line.token} for line in storm.plan.lines},
        "contacts": {one.wire: {"exists": one.exists} for one in people},
        "groups": {
            one.wire: {"subject": one.subject, "participants": [{"id": who, "admin": None} for who in one.members]}
            for one in groups
        },
    }
