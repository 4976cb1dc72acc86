"""One process with everything in it: store, broker, worker threads, real client, sandbox gateway.

Fixtures over it stand in ``tests/flows/conftest.py``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import broker_world
from dramatiq import Worker
from sandbox_fixture import NUMBER_ID, Sandbox

import actors
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.clock import SystemClock
from middleware.letters import DeadLetters

PHONE = "+5511988887777"
GROUP = "120363025246125486@g.us"
TEXTS = {"op": ["sendText"]}
#: Changes settings for one test.
Change = Callable[..., None]


class World:
    """One process with everything in it; rows are seeded, workers run inside ``working``."""

    def __init__(self, store: MemoryStore, sandbox: Sandbox) -> None:
        self.store = store
        self.sandbox = sandbox
        self.clock = SystemClock()

    def say(self, id_: str, text: str = "oi", *, conversation: str = "c1", **fields: Any) -> str:
        created_at_ms = fields.pop("created_at_ms", self.clock.now_ms())
        self.store.add(
            MessageRow(id=id_, conversation_id=conversation, content=text, created_at_ms=created_at_ms, **fields)
        )
        return id_

    def status(self, id_: str) -> str:
        return self.store.message(id_).status

    def delivered(self) -> list[str]:
        """Texts as the phones got them, in order."""
        return [delivery["text"] or delivery["caption"] for delivery in self.sandbox.admin.deliveries()]

    def letters(self) -> list[Any]:
        return DeadLetters(actors.broker).newest()


@contextmanager
def working(threads: int = 4) -> Iterator[Worker]:
    with broker_world.working(actors.broker, threads=threads, boots=True) as worker:
        yield worker


def add_cloud_number(world: World) -> None:
    """Rows of the sandbox's number of the Cloud API, ``cloud-1``, and of two people who write to it, ``p1`` and ``p2``."""
    own = {"tenant_id": "t", "instance_name": "cloud-1"}
    world.store.add(
        InstanceRow(integration_type="meta_cloud", access_token=world.sandbox.apikey, phone_number_id=NUMBER_ID, **own),
        ConversationRow(id="p1", contact_phone="+5511988887777", **own),
        ConversationRow(id="p2", contact_phone="+5511977776666", **own),
    )
