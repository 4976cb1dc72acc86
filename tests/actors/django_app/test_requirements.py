"""What the old product's incidents asked for (docs/migrating.md) and no other test had: bounds of requests and connections."""

import re
from pathlib import Path

import psycopg
import pytest
from chat.models import Conversation, Message, WhatsAppInstance
from contracts.django_world import DjangoWorld
from docs_pages import Page
from flow_world import working
from waiting import until

import actors
from actors import send_message, services
from actors.delivery import RECORD_MARGIN_MS
from actors.gateways.evolution import EvolutionGateway
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.rows import InstanceRow
from actors.testing import Sends

ROOT = Path(__file__).parents[3]
THREADS = 3


def test_every_requirement_has_its_row():
    rows = Page("docs/migrating.md").rows("no.", "asked for", "kept by", "decided")

    assert [row["no."] for row in rows] == [f"R{number}" for number in range(1, 33)]
    assert all(re.search(r"`tests/[\w/]+\.py::test_\w+`", row["kept by"]) for row in rows)


@pytest.mark.django_db
def test_a_request_gets_what_is_left_of_its_attempt(settings, monkeypatch):
    settings.CHAT_ACTORS = {"TIME_LIMIT_MS": 60_000}
    services.install(None)
    given: list[float] = []
    send = EvolutionGateway.send

    def note(self, part, *, instance, timeout_s):
        given.append(timeout_s)
        return send(self, part, instance=instance, timeout_s=timeout_s)

    monkeypatch.setattr(EvolutionGateway, "send", note)
    with Sends() as sends:
        WhatsAppInstance.objects.create(instance_name="line-1")
        thread = Conversation.objects.create(contact_phone="+5511988887777", instance_name="line-1")
        send_message.send(Message.objects.create(conversation=thread, content="oi").pk)
        sends.run()
    services.install(None)

    assert len(given) == 1
    assert 0 < given[0] <= (60_000 - RECORD_MARGIN_MS) / 1000


@pytest.mark.postgres
@pytest.mark.redis
def test_a_worker_holds_one_connection_a_thread(
    postgres_alias, postgres, unblocked, redis_server, queue_client, sandbox
):
    world = DjangoWorld(postgres_alias)
    world.add(InstanceRow(instance_name="i1", api_key=sandbox.apikey, api_url=sandbox.url))
    here = {"gateway": "sandbox", "sandbox_url": sandbox.url, "scheduler": "none", "metrics_port": 0}
    actors.broker.close()
    services.install(
        Services(settings=Settings(redis_url=Hidden(redis_server.url(0)), store="django", **here), store=world.store)
    )
    threads = [
        Conversation.objects.using(world.alias).create(contact_phone=f"+551198888{n:04}", instance_name="i1")
        for n in range(12)
    ]
    rows = [Message.objects.using(world.alias).create(conversation=thread, content="oi") for thread in threads]
    with psycopg.connect(postgres.url, autocommit=True) as admin:

        def open_now() -> int:
            [(count,)] = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (postgres.name,))
            return count

        before, most = open_now(), 0
        try:
            with working(threads=THREADS):
                send_message.send_many([row.pk for row in rows])

                def all_sent() -> bool:
                    nonlocal most
                    most = max(most, open_now())
                    return all(world.message(str(row.pk)).status == "sent" for row in rows)

                until(all_sent, within_ms=30_000)
            until(lambda: open_now() <= before, within_ms=10_000)
        finally:
            actors.broker.close()
            services.install(None)
            world.clear()

    # One more is whoever tells of a dead letter.
    assert most - before <= THREADS + 1


def test_no_script_trims_what_waits():
    scripts = {path: path.read_text() for path in (ROOT / "middleware" / "brokers" / "redis" / "lua").rglob("*.lua")}

    assert len(scripts) > 10
    assert [
        path for path, text in scripts.items() if re.search(r"LTRIM|XTRIM|MAXLEN|ZREMRANGEBYRANK", text, re.I)
    ] == []
