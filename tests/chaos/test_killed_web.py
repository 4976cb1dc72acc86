"""A web process that dies anywhere around the commit: what committed is delivered once, what did not is never sent."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from chat.models import Message
from contracts.django_world import DjangoWorld
from django.db import connections
from django_fixtures import postgres_alias, sqlite_alias, unblocked  # noqa: F401  # fixtures of this file
from flow_world import working
from sandbox_fixture import Sandbox
from waiting import until

import actors
from actors import services
from actors.domain import MessageStatus
from actors.housekeeping import sweep_pending
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.rows import InstanceRow
from middleware.brokers.redis.embedded import EmbeddedRedis

pytestmark = [pytest.mark.redis, pytest.mark.process]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATHS = [str(path) for path in (ROOT, ROOT / "tests", ROOT / "tests/project")]


@pytest.fixture(params=["sqlite_alias", pytest.param("postgres_alias", marks=pytest.mark.postgres)])
def host(
    request: pytest.FixtureRequest,
    unblocked: None,  # noqa: F811
    redis_server: EmbeddedRedis,
    queue_client: redis.Redis,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[DjangoWorld]:
    """Rows that a web process shares with the workers here; ``.environ`` is what it is started with."""
    alias = request.getfixturevalue(request.param)
    world = DjangoWorld(alias)
    # What a test before left in the database that all share is not this one's.
    world.clear()
    # A worker's threads end with the test, not with their process: what they opened is closed after every message.
    monkeypatch.setitem(connections[alias].settings_dict, "CONN_MAX_AGE", 0)
    world.add(InstanceRow(instance_name="i1", tenant_id="t", api_key=sandbox.apikey, api_url=sandbox.url))
    settings = Settings(
        redis_url=Hidden(redis_server.url(0)),
        gateway="sandbox",
        sandbox_url=sandbox.url,
        store="django",
        scheduler="none",
        metrics_port=0,
        sweep_after_s=1,
    )
    services.install(Services(settings=settings, store=world.store))
    is_postgresql = connections[alias].vendor == "postgresql"
    name = str(connections[alias].settings_dict["NAME"])
    database = request.getfixturevalue("postgres").url if is_postgresql else name
    world.environ = _environ(database, redis_server.url(0))
    yield world
    actors.broker.close()
    services.install(None)
    world.clear()


def _environ(database: str, redis_url: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(PATHS),
        "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        "CHATSITE_DATABASE": database,
        "CHATSITE_CHAT_ACTORS": json.dumps({}),
        "REDIS_URL": redis_url,
    }


def _die(host: DjangoWorld, trials: int, seed: int) -> None:
    web = [sys.executable, str(HERE / "killed_web.py"), str(trials), str(seed)]
    done = subprocess.run(web, env=host.environ, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    # Enough lines to die at, or nothing was tried.
    assert int(done.stdout) > 500


def _check(host: DjangoWorld, sandbox: Sandbox, within_ms: int) -> int:
    rows = Message.objects.using(host.alias)
    committed = [row.content for row in rows.all()]
    assert all(text.startswith("kept") for text in committed)
    jobs = [actors.broker.decode(body) for body in actors.broker.client.hvals("chat:queue:send_message.msgs")]
    # Nothing was enqueued that did not commit, though a worker would find no row and deliver nothing.
    assert {job.kwargs["message_id"] for job in jobs} <= {str(key) for key in rows.values_list("pk", flat=True)}

    def all_sent() -> bool:
        sweep_pending()
        return not rows.exclude(status=MessageStatus.SENT).exists()

    with working():
        until(all_sent, within_ms=within_ms, poll_ms=200)
    delivered = Counter(delivery["text"] for delivery in sandbox.admin.deliveries())
    assert delivered == Counter(committed)
    return len(committed)


def test_a_web_process_that_dies_loses_and_doubles_nothing(host, sandbox):
    _die(host, trials=5, seed=2)

    _check(host, sandbox, within_ms=20_000)


@pytest.mark.slow
def test_two_hundred_deaths_of_a_web_process_lose_and_double_nothing(host, sandbox, record_property):
    """Of each database."""
    _die(host, trials=200, seed=1)

    committed = _check(host, sandbox, within_ms=400_000)

    record_property("killed_web_trials", 200)
    record_property("killed_web_committed", committed)
    # Half of them were to die before the commit and half after it.
    assert 80 <= committed <= 120
