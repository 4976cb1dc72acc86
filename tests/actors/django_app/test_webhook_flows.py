"""Webhooks of both providers, as the sandbox posts them, reach the host's rows through its own web server.

The server is the demo project's in a process of its own; events come over a socket, repeated and in the wrong order.
"""

import uuid
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from chat.models import Conversation, Message, WhatsAppInstance
from contracts.django_world import DjangoWorld
from django.db import connections
from django_fixtures import postgres_alias, sqlite_alias, unblocked
from host_server import serving
from psycopg import sql
from sandbox_fixture import NUMBER_ID, Sandbox
from servers import POSTGRES
from waiting import until

from actors import wiring
from actors.circuit import Cause, Failure, State, failed
from actors.domain import AttemptState, Instance, Receipt, SendAttempt
from actors.gateways.base import make_gateway
from actors.parts import outgoing_parts
from actors.settings import Hidden
from middleware.clock import SystemClock

pytestmark = pytest.mark.process
__all__ = ["postgres_alias", "sqlite_alias", "unblocked"]

TOKEN = "a-token-in-a-path-0123456789"
APP_SECRET = "app-secret"
PHONE = "+5511988887777"
QUICK = {"first_s": 0.05, "cap_s": 0.1}


@dataclass
class Site:
    """A running host, its rows, and the sandbox that posts to it."""

    url: str
    world: DjangoWorld
    sandbox: Sandbox
    log: object

    def message(self, *, instance: str = "i1") -> str:
        thread = Conversation.objects.using(self.world.alias).create(
            contact_phone=PHONE, tenant_id="t", instance_name=instance
        )
        created = Message.objects.using(self.world.alias).create(conversation=thread, content=f"oi {uuid.uuid4()}")
        return str(created.pk)

    def send(self, message_id: str, instance: Instance, *, is_answer_lost: bool = False) -> SendAttempt:
        """Send a message as a worker does; with the answer lost nobody knows what became of it."""
        store, clock = self.world.store, SystemClock()
        gateway = make_gateway("sandbox", self.sandbox.settings(), in_place_of=instance.backend)
        message = store.load_message(message_id)
        (part,) = outgoing_parts(message, message.recipient())
        now_ms = clock.now_ms()
        attempt = store.claim(
            SendAttempt(
                message_id=message_id,
                part=0,
                state=AttemptState.SENDING,
                number=1,
                instance_name=instance.name,
                started_at_ms=now_ms,
                deadline_at_ms=now_ms + 60_000,
            )
        )
        receipt: Receipt = gateway.send(part, instance=instance, timeout_s=20)
        gateway.close()
        if is_answer_lost:
            return store.settle(attempt, AttemptState.UNKNOWN)
        return store.record_sent(attempt, receipt)

    def row(self, message_id: str) -> tuple[str, str | None]:
        row = self.world.message(message_id)
        return row.status, row.message_id

    def outcomes(self) -> list[tuple[str, object]]:
        return [(one["event"], one["outcome"]) for one in self.sandbox.admin.webhooks(timeout_s=20)]

    def post(self, path: str, **kwargs):
        return httpx.post(f"{self.url}{path}", timeout=20, trust_env=False, **kwargs)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request):
    """Alias and name of a database that this process and the host's share."""
    alias = request.getfixturevalue(f"{request.param}_alias")
    return alias, request.param


@pytest.fixture(scope="module")
def url(place, tmp_path_factory, django_db_blocker, redis_server):
    alias, kind = place
    config = connections[alias].settings_dict
    database = f"postgresql://{POSTGRES['user']}@{POSTGRES['host']}:{POSTGRES['port']}/{config['NAME']}"
    log = tmp_path_factory.mktemp("host") / "log"
    chat_actors = {
        "REDIS_URL": redis_server.url(0),
        "WEBHOOK_TOKEN": TOKEN,
        "WHATSAPP_CLOUD_APP_SECRET": APP_SECRET,
        "WHATSAPP_CLOUD_VERIFY_TOKEN": "verify-me",
        "GATEWAY": "sandbox",
        "SANDBOX_URL": "http://127.0.0.1:9",
    }
    name = database if kind == "postgres" else str(config["NAME"])
    with serving(database=name, log=log, chat_actors=chat_actors) as address:
        yield address, log


@pytest.fixture
def site(place, url, unblocked, emptied_sandbox, queue_client):
    world = DjangoWorld(place[0])
    world.clear()
    WhatsAppInstance.objects.using(place[0]).create(instance_name="i1", tenant_id="t", api_url="http://127.0.0.1:9")
    yield Site(url[0], world, emptied_sandbox, url[1])
    world.clear()


def test_evolution_s_events_move_a_row_forward_however_often_and_late_they_come(site):
    instance = site.sandbox.instance()
    site.sandbox.admin.put_webhook(
        f"{site.url}/hooks/evolution/{TOKEN}/", duplicate=1.0, reorder=0.5, retry=QUICK, by_events=True
    )
    # Read before it was delivered, and that before it was sent.
    for after_ms, status in ((100, "READ"), (110, "DELIVERY_ACK"), (120, "SERVER_ACK")):
        site.sandbox.admin.add_fault({"type": "ack", "status": status, "after_ms": after_ms})
    ids = [site.message() for _ in range(4)]

    for id_ in ids:
        site.send(id_, instance)

    until(lambda: {site.row(id_)[0] for id_ in ids} == {"seen"}, within_ms=20_000)
    outcomes = site.outcomes()
    assert len(outcomes) == 4 * 4 * 2
    assert {site.row(id_)[0] for id_ in ids} == {"seen"}
    assert {outcome for _, outcome in outcomes} == {"delivered"}
    assert [site.row(id_)[1] for id_ in ids] == [site.world.store.attempts(id_)[0].provider_message_id for id_ in ids]


def test_evolution_tells_of_a_send_whose_answer_was_lost(site):
    site.sandbox.admin.put_webhook(f"{site.url}/hooks/evolution/{TOKEN}/", events=["send.message"], retry=QUICK)
    id_ = site.message()

    site.send(id_, site.sandbox.instance(), is_answer_lost=True)

    until(lambda: site.row(id_)[0] == "sent", within_ms=20_000)
    (attempt,) = site.world.store.attempts(id_)
    assert (attempt.state, site.row(id_)[1]) == (AttemptState.ACCEPTED, attempt.provider_message_id)


def test_meta_s_signed_statuses_do_the_same(site):
    WhatsAppInstance.objects.using(site.world.alias).create(
        instance_name="cloud-1", tenant_id="t", integration_type="meta_cloud", phone_number_id=NUMBER_ID
    )
    site.sandbox.admin.put_cloud_webhook(
        url=f"{site.url}/hooks/cloud/",
        app_secret=APP_SECRET,
        statuses=["read", "delivered", "sent"],
        repeat=2,
        first_s=0.05,
    )
    known, lost = site.message(instance="cloud-1"), site.message(instance="cloud-1")

    site.send(known, site.sandbox.cloud_instance())
    site.send(lost, site.sandbox.cloud_instance(), is_answer_lost=True)

    until(lambda: (site.row(known)[0], site.row(lost)[0]) == ("seen", "seen"), within_ms=20_000)
    outcomes = site.outcomes()
    assert (len(outcomes), {outcome for _, outcome in outcomes}) == (12, {"delivered"})
    assert (site.row(known)[0], site.row(lost)[0]) == ("seen", "seen")
    assert site.world.store.attempts(lost)[0].state is AttemptState.ACCEPTED


def test_what_does_not_show_the_secret_touches_nothing_and_is_not_told_again(site):
    site.sandbox.admin.put_webhook(f"{site.url}/hooks/evolution/another-token-0123456789/", retry=QUICK)
    site.sandbox.admin.put_cloud_webhook(
        url=f"{site.url}/hooks/cloud/", app_secret="not the app's", statuses=["delivered"], max_attempts=1
    )
    id_ = site.message()

    site.send(id_, site.sandbox.instance())

    outcomes = site.outcomes()
    assert outcomes
    assert "delivered" not in {outcome for _, outcome in outcomes}
    assert site.row(id_)[0] == "sent"


def test_a_session_that_opens_lets_its_parked_instance_try(site, serve, redis_server):
    serve(redis_url=Hidden(redis_server.url(0)))
    traffic = wiring.traffic()
    failure = Failure(cause=Cause.SESSION_DOWN, code="connection_closed", tenant_id="t")
    # One that has opened a moment ago is left to its watch.
    now_ms = SystemClock().now_ms() - 60_000
    traffic.change(Instance(name="i1", tenant_id="t"), lambda circuit: failed(circuit, failure, now_ms=now_ms))
    site.sandbox.admin.put_webhook(f"{site.url}/hooks/evolution/{TOKEN}/", events=["connection.update"], retry=QUICK)

    site.sandbox.admin.put_instance("i1", state="close")
    site.sandbox.admin.put_instance("i1", state="open")

    until(lambda: traffic.circuit("i1").state is State.TRYING, within_ms=20_000)


@pytest.mark.parametrize("place", ["postgres"], indirect=True, scope="module")
def test_a_database_that_is_down_has_the_provider_tell_again(site, postgres):
    WhatsAppInstance.objects.using(site.world.alias).create(
        instance_name="cloud-1", tenant_id="t", integration_type="meta_cloud", phone_number_id=NUMBER_ID
    )
    site.sandbox.admin.put_cloud_webhook(
        url=f"{site.url}/hooks/cloud/", app_secret=APP_SECRET, statuses=[], max_attempts=1_000, first_s=0.05
    )
    id_ = site.message(instance="cloud-1")
    site.send(id_, site.sandbox.cloud_instance())

    with _closed(postgres.name):
        site.sandbox.admin.say_cloud_status(1, "delivered")
        until(lambda: [one for one in site.sandbox.admin.webhooks() if len(one["attempts"]) >= 3], within_ms=20_000)

    until(lambda: site.row(id_)[0] == "delivered", within_ms=20_000)
    assert '"POST /hooks/cloud HTTP/1.1" 503 0' in site.log.read_text()


@contextmanager
def _closed(name: str):
    """A database that nobody reaches within the block."""
    # Also those of this process that other tests use: they would find theirs dead.
    for one in connections.all(initialized_only=True):
        if one.vendor == "postgresql":
            one.close()
    database = sql.Identifier(name)
    with psycopg.connect(**POSTGRES, dbname="postgres", autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(database))
        try:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(database))


def test_secrets_stay_out_of_the_server_s_log(site):
    site.post(f"/hooks/evolution/{TOKEN}/", content=b"x" * (3 * 1024 * 1024 + 1))
    site.post("/hooks/cloud/", content=b"{}", headers={"X-Hub-Signature-256": "sha256=0"})

    log = site.log.read_text()

    # What the server writes of each request is its access log, and runserver's alone.
    lines = [line for line in log.splitlines() if TOKEN in line and ' HTTP/1.1" ' not in line]
    assert lines == []
