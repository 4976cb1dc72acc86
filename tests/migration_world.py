"""Rows, our queues and the old product's, ready to be moved.

Tests say ``from migration_world import site`` and take the fixture of that name.
"""

import json

import pytest
from legacy_world import JID, PHONE, OldProduct

import actors
from actors import services
from actors.legacy_queues import ASIDE
from actors.legacy_search import find, kept_dead_letters
from actors.migration import Migration, unaccounted
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, MessageRow

SHARED = {f"chat:queue:{name}" for name in ("send_message", "fetch_profile_pic", "fetch_group_info")}


class Site:
    """Rows, our queues and the old product's."""

    def __init__(self, server, old):
        self.server, self.old, self.store = server, old, MemoryStore()
        settings = Settings(redis_url=Hidden(server.url(0)), store="memory", scheduler="none")
        self.work = Services(settings=settings, store=self.store)
        services.install(self.work)
        self.store.add(
            *(ConversationRow(id=f"c{n}", contact_phone=PHONE, instance_name="support") for n in range(3)),
            ConversationRow(id="g1", contact_phone=JID, conversation_type="group", instance_name="support"),
        )

    def rows(self, *ids, **values):
        for number, id_ in enumerate(ids):
            row = {"conversation_id": "c0", "content": "oi", "created_at_ms": number, **values}
            self.store.add(MessageRow(id=id_, **row))

    def queues(self, *, sends_dead=False):
        lists = find(self.old.lists, 2, shared=SHARED)
        streams = find(self.old.streams, 3)
        again = kept_dead_letters(self.old.lists, 2)
        return [*lists, *streams, *([again] if sends_dead and again.is_there() else [])]

    def move(self, *, sends_dead=False):
        migration = Migration(self.work, actors.broker, sends_dead=sends_dead)
        migration.adopt_sent(dry_run=False)
        found = [queue for queue in self.queues(sends_dead=sends_dead) if queue.is_ours]
        moved = {queue.label: dict(+migration.move(queue).outcomes) for queue in found}
        assert {queue.label: unaccounted(queue) for queue in found} == dict.fromkeys(moved, 0)
        return moved

    def preview(self, **options):
        migration = Migration(self.work, actors.broker, **options)
        return {q.label: dict(migration.preview(q).outcomes) for q in self.queues() if q.is_ours}

    def queued(self, queue="send_message"):
        bodies = self.old.lists.hvals(f"chat:queue:{queue}.msgs")
        return sorted(next(iter(json.loads(body)["kwargs"].values())) for body in bodies)

    def kept(self, name=ASIDE):
        return [json.loads(one) for one in self.old.lists.lrange(name, 0, -1)]


@pytest.fixture
def site(redis_server, queue_client):
    old = OldProduct(redis_server)
    yield Site(redis_server, old)
    old.close()
    actors.broker.close()
    services.install(None)
