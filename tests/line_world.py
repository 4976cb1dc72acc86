"""Lines of the flow world: many messages of one, a second beside it, and what the gateway and the gates saw.

Tests say ``from line_world import second`` and take the fixture of that name.
"""

from typing import Any

import pytest
from flow_world import World

import actors
from actors.domain import Instance, MessageStatus
from actors.stores.rows import ConversationRow, InstanceRow

I1 = Instance(name="i1", tenant_id="t")


@pytest.fixture
def second(world: World) -> None:
    """A second line of the same tenant, with a conversation of its own."""
    world.sandbox.admin.put_instance("i2")
    world.store.add(
        InstanceRow(instance_name="i2", tenant_id="t", api_key=world.sandbox.apikey, api_url=world.sandbox.url),
        ConversationRow(id="c2", contact_phone="+5511977776666", tenant_id="t", instance_name="i2"),
    )


def say_many(world: World, count: int, *, lanes: int = 1, first: int = 0, **options: Any) -> list[str]:
    """Messages of line i1 over several conversations, sent in order."""
    ids = []
    for lane in range(lanes):
        if lane:
            row = ConversationRow(
                id=f"x{lane}", contact_phone=f"+55119888866{lane:02}", tenant_id="t", instance_name="i1"
            )
            world.store.add(row)
    for number in range(first, first + count):
        lane = number % lanes
        ids.append(world.say(f"n{number}", f"text {number}", conversation=f"x{lane}" if lane else "c1"))
        actors.send_message.send(ids[-1], **options)
    return ids


def all_sent(world: World, ids: list[str]) -> bool:
    return all(world.status(id_) == MessageStatus.SENT for id_ in ids)


def requests(world: World, *ops: str) -> list[dict[str, Any]]:
    return [one for one in world.sandbox.admin.requests() if one["op"] in (ops or ("sendText",))]


def gate(group: str, queue: str = "send_message") -> Any:
    return {one.group: one for one in actors.broker.transitions.gates(queue)}.get(group)
