"""Whole stack: one event per dead letter, nothing per retry, and nothing that a person wrote or owns."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
import sentry_sdk
from dramatiq import Worker
from sandbox_fixture import Sandbox
from sentry_sdk.integrations.logging import unignore_logger
from sentry_sdk.scope import global_event_processors
from sentry_sdk.transport import Transport
from waiting import stays, until

import actors
from actors import services
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware import sentry
from middleware.brokers.redis.embedded import EmbeddedRedis

pytestmark = pytest.mark.redis

DSN = "https://public@sentry.invalid/1"
PHONE, TEXT, KEY = "+5511988887777", "texto secreto", "sk-very-secret"


class Wire(Transport):
    """Where events would leave the machine."""

    def __init__(self) -> None:
        super().__init__({"dsn": DSN})
        self.envelopes: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.envelopes.append(envelope)

    def events(self) -> list[dict[str, Any]]:
        return [event for envelope in self.envelopes if (event := envelope.get_event())]


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    assert sentry.start(DSN, transport=wire) is sentry.SentryState.STARTED
    yield wire
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)
    global_event_processors.clear()
    for name in sentry.QUIET_LOGGERS:
        unignore_logger(name)


@pytest.fixture
def store(redis_server: EmbeddedRedis, queue_client: redis.Redis, sandbox: Sandbox) -> Iterator[MemoryStore]:
    settings = Settings(
        redis_url=Hidden(redis_server.url(0)),
        gateway="sandbox",
        sandbox_url=sandbox.url,
        store="memory",
        scheduler="none",
        metrics_port=0,
        max_attempts=3,
        backoff_base_ms=10,
        backoff_cap_ms=20,
    )
    store = MemoryStore()
    store.add(
        InstanceRow(instance_name="i1", api_key=KEY, api_url=sandbox.url),
        ConversationRow(id="c1", contact_phone=PHONE, instance_name="i1"),
        MessageRow(id="m1", conversation_id="c1", content=TEXT, created_at_ms=services.SystemClock().now_ms()),
    )
    sandbox.admin.put_instance("i1", token=KEY)
    services.install(Services(settings=settings, store=store))
    yield store
    actors.broker.close()
    services.install(None)


def test_three_failed_attempts_are_one_event_without_content(wire, store, sandbox):
    sandbox.admin.add_fault({"type": "status", "preset": "nginx_503"}, match={"op": ["sendText"]})
    sent = actors.send_message.send("m1")
    actors.broker.emit_after("process_boot")
    worker = Worker(actors.broker, worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        until(wire.events, within_ms=5_000)
        stays(lambda: len(wire.events()) == 1, for_ms=200)
    finally:
        worker.stop(timeout=5_000)

    [event] = wire.events()
    tags = event["tags"]
    assert (tags["actor"], tags["instance"], tags["job_id"]) == ("send_message", "i1", sent.message_id)
    assert store.message("m1").status == "failed"
    everything = b"".join(envelope.serialize() for envelope in wire.envelopes).decode()
    for planted in (PHONE[1:], TEXT, KEY):
        assert planted not in everything
