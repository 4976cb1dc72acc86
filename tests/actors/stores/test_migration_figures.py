"""100,000 entries of the old product moved over PostgreSQL: `make prove` measures it."""

import json
import time

import pytest
from chat.models import Message
from contracts.django_world import DjangoWorld
from contracts.store_world import conversation
from legacy_world import OldProduct, group

import actors
from actors import services
from actors.legacy_search import find
from actors.migration import Migration, unaccounted
from actors.services import Services
from actors.settings import Hidden, Settings

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.redis]

SENDS, GROUPS, CONVERSATIONS = 80_000, 20_000, 500


def test_100_000_entries_are_moved_in_a_minute_over_postgresql(
    postgres_alias, unblocked, redis_server, queue_client, record_property
):
    world, old = DjangoWorld(postgres_alias), OldProduct(redis_server)
    threads = [conversation(world).id for _ in range(CONVERSATIONS)]
    made = [
        Message(conversation_id=threads[number % CONVERSATIONS], status="pending" if number % 5 else "sent")
        for number in range(SENDS)
    ]
    Message.objects.using(postgres_alias).bulk_create(made, batch_size=2_000)
    payloads = [{"message_id": str(row.pk)} for row in made]
    for start in range(0, SENDS, 1_000):
        old.push("send_message", *payloads[start : start + 1_000])
    for _ in range(GROUPS // CONVERSATIONS):
        old.push("fetch_group_info", *(group(id_) for id_ in threads))
    settings = Settings(redis_url=Hidden(redis_server.url(0)), store="django")
    work = Services(settings=settings, store=world.store)
    services.install(work)

    begin = time.monotonic()
    migration, queues = Migration(work, actors.broker), find(old.lists, 2)
    migration.adopt_sent(dry_run=False)
    for queue in queues:
        migration.move(queue)
    seconds = time.monotonic() - begin
    record_property("postgres_legacy_move_s", round(seconds, 1))

    queued = {json.loads(body)["kwargs"]["message_id"] for body in old.lists.hvals("chat:queue:send_message.msgs")}
    lost = [unaccounted(queue) for queue in queues]
    actors.broker.close()
    services.install(None)
    old.close()
    world.clear()
    assert queued == {str(row.pk) for row in made if row.status == "pending"}
    assert lost == [0, 0]
    assert seconds < 60
