"""Connections that end, and poolers that change them under us: nothing relies on what a database session remembers."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import servers
from chat.models import Conversation, Message
from chatsite.databases import database as chatsite_database
from contracts.django_world import DjangoWorld, database
from contracts.store_contract import StoreContract
from django.db import connections
from flow_world import working
from pooler import Pooler, pooling
from waiting import until

import actors
from actors import services
from actors.domain import MessageStatus
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.rows import InstanceRow

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

#: What a transaction pooler breaks, or leaves to whoever gets the session next.
OF_A_SESSION = ("SET ", "PREPARE", "EXECUTE", "DECLARE", "LISTEN", "CREATE TEMP", "LOCK ", "DISCARD")


@pytest.fixture(scope="session")
def pooled(
    django_db_setup: None, django_db_blocker, postgres: servers.PostgresDatabase
) -> Iterator[tuple[str, Pooler]]:
    """Alias of a migrated database behind a pooler, and the pooler."""
    with pooling(postgres.url) as pooler:
        entry = {**chatsite_database(postgres.url), "PORT": pooler.port, "CONN_HEALTH_CHECKS": False}
        with database(entry, django_db_blocker) as alias:
            pooler.statements.clear()
            yield alias, pooler


@pytest.fixture
def serve(redis_server, queue_client, sandbox) -> Iterator[object]:
    """``serve(world)``: the actors over the rows of a world, which gets an instance of the sandbox."""

    def serve(world: DjangoWorld) -> DjangoWorld:
        world.add(InstanceRow(instance_name="i1", api_key=sandbox.apikey, api_url=sandbox.url))
        here = {"gateway": "sandbox", "sandbox_url": sandbox.url, "scheduler": "none", "metrics_port": 0}
        settings = Settings(redis_url=Hidden(redis_server.url(0)), store="django", backoff_base_ms=10, **here)
        actors.broker.close()
        services.install(Services(settings=settings, store=world.store))
        return world

    yield serve
    actors.broker.close()
    services.install(None)


def _say(world: DjangoWorld, text: str) -> str:
    thread = Conversation.objects.using(world.alias).create(contact_phone="+5511988887777", instance_name="i1")
    return str(Message.objects.using(world.alias).create(conversation=thread, content=text).pk)


def _deliver(world: DjangoWorld, text: str) -> None:
    id_ = _say(world, text)
    actors.send_message.send(id_)
    until(lambda: world.message(id_).status == MessageStatus.SENT, within_ms=30_000)


# -- a database that ends connections --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "checks", "retries"),
    [
        (0, False, 0),
        pytest.param(None, True, 0, marks=pytest.mark.slow),
        pytest.param(600, True, 0, marks=pytest.mark.slow),
        pytest.param(None, False, 1, marks=pytest.mark.slow),
    ],
    ids=["per message", "kept and checked", "kept for a while and checked", "kept blindly"],
)
def test_a_killed_connection_between_two_messages_costs_no_message(
    postgres_alias, unblocked, serve, sandbox, postgres, monkeypatch, caplog, age_s, checks, retries
):
    world = serve(DjangoWorld(postgres_alias))
    for name, value in (("CONN_MAX_AGE", age_s), ("CONN_HEALTH_CHECKS", checks)):
        monkeypatch.setitem(connections.settings[postgres_alias], name, value)
    try:
        with working(threads=1):
            _deliver(world, "before")
            caplog.clear()
            _end_others(world, postgres)
            _deliver(world, "after")
    finally:
        world.clear()

    assert [one["text"] for one in sandbox.admin.deliveries()] == ["before", "after"]
    retried = [record for record in caplog.records if record.message == "message.retried"]
    assert (len(retried) > 0) == (retries > 0)


def _end_others(world: DjangoWorld, postgres: servers.PostgresDatabase) -> None:
    """End every connection to the database but the test's own."""
    with connections[world.alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (own,) = cursor.fetchone()
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        others = "FROM pg_stat_activity WHERE datname = %s AND pid NOT IN (%s, pg_backend_pid())"
        admin.execute(f"SELECT pg_terminate_backend(pid) {others}", (postgres.name, own))
        until(lambda: admin.execute(f"SELECT 1 {others}", (postgres.name, own)).rowcount == 0, within_ms=5_000)


# -- a pooler of transactions ----------------------------------------------------------------------------------------


def test_the_pooler_of_these_tests_does_what_a_pooler_does(postgres):
    with pooling(postgres.url) as pooler:
        parts = urlsplit(postgres.url)
        here = {"host": "127.0.0.1", "port": pooler.port, "user": parts.username, "dbname": parts.path[1:]}
        with psycopg.connect(**here, autocommit=True, sslmode="disable") as client:
            pids = {client.execute("SELECT pg_backend_pid()").fetchone() for _ in range(4)}
            client.execute("PREPARE remembered AS SELECT 1")
            with pytest.raises(psycopg.errors.InvalidSqlStatementName):
                client.execute("EXECUTE remembered")

    assert len(pids) == 4


def test_a_message_is_delivered_through_a_pooler_and_uses_no_session(pooled, unblocked, serve, sandbox):
    alias, pooler = pooled
    world = serve(DjangoWorld(alias))
    try:
        with working(threads=2):
            for text in ("1", "2", "3"):
                _deliver(world, text)
    finally:
        world.clear()

    assert [one["text"] for one in sandbox.admin.deliveries()] == ["1", "2", "3"]
    sent = [statement.upper().lstrip() for statement in pooler.statements]
    assert len(sent) > 20
    assert [one for one in sent if one.startswith(OF_A_SESSION) or "PG_ADVISORY" in one] == []
    # Neither prepared by name nor bound on the server, which a pooler may not see through.
    assert pooler.extended == 0


@pytest.mark.slow
class TestDjangoBehindAPooler(StoreContract):
    """The whole contract, each transaction on another server connection."""

    @pytest.fixture
    def world(self, pooled: tuple[str, Pooler], unblocked: None) -> Iterator[DjangoWorld]:
        world = DjangoWorld(pooled[0])
        yield world
        world.clear()


def test_nothing_reads_by_a_cursor_of_the_server():
    """``iterator()`` keeps one open across transactions, which a pooler cannot."""
    files = list((Path(__file__).parents[3] / "actors").rglob("*.py"))

    assert len(files) > 100
    assert [path for path in files if ".iterator(" in path.read_text()] == []
