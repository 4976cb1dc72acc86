"""How many messages a second one process sends whose gateway takes 50 ms: `make prove` measures it."""

import time
import uuid
from collections.abc import Callable, Iterator

import pytest
import redis
import sandbox_fixture
from contracts.django_world import DjangoWorld
from django_fixtures import postgres_alias, unblocked
from flow_world import working
from waiting import until

import actors
from actors import services
from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.server import SANDBOX_KEY
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock

__all__ = ["postgres_alias", "unblocked"]

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.process]

MESSAGES, CONVERSATIONS = 3_000, 500


@pytest.fixture
def far_sandbox() -> Iterator[tuple[str, SandboxAdmin]]:
    """A sandbox in a process of its own, whose sends take 50 ms."""
    with sandbox_fixture.far_sandbox() as (url, admin):
        admin.add_fault({"type": "latency", "ms": 50}, match={"op": ["sendText"]})
        yield url, admin


def test_a_process_sends_600_messages_a_second_to_a_gateway_that_takes_50_ms(
    far_sandbox: tuple[str, SandboxAdmin],
    redis_server: EmbeddedRedis,
    queue_client: redis.Redis,
    record_property: Callable[[str, object], None],
):
    """64 threads, the memory store, no pace and no limit of one send at a time. The median of three runs."""
    url, admin = far_sandbox
    rates = [_rate(url, admin, redis_server, run) for run in range(3)]
    counters = admin.counters()
    record_property("messages_per_s_all", ", ".join(f"{one:.0f}" for one in rates))

    assert (counters["duplicates_by_client_ref"], counters["order_violations"]) == (0, 0)
    assert sorted(rates)[1] >= 600


@pytest.mark.postgres
def test_a_process_sends_200_messages_a_second_over_postgresql(
    far_sandbox: tuple[str, SandboxAdmin],
    postgres_alias: str,
    unblocked: None,
    redis_server: EmbeddedRedis,
    queue_client: redis.Redis,
    record_property: Callable[[str, object], None],
):
    """The same over the host's rows: every message is loaded, claimed and recorded through Django. Median of three runs."""
    url, admin = far_sandbox
    rates = []
    for run in range(3):
        world = DjangoWorld(postgres_alias)
        rates.append(_rate(url, admin, redis_server, run, world=world))
        world.clear()
    record_property("messages_per_s_all", ", ".join(f"{one:.0f}" for one in rates))

    assert admin.counters()["duplicates_by_client_ref"] == 0
    assert sorted(rates)[1] >= 200


def _rate(
    url: str, admin: SandboxAdmin, redis_server: EmbeddedRedis, run: int, *, world: DjangoWorld | None = None
) -> float:
    """Messages a second of one run, over ``world`` or the memory store."""
    settings = Settings(
        redis_url=Hidden(redis_server.url(0)),
        gateway="sandbox",
        sandbox_url=url,
        store="memory",
        scheduler="none",
        metrics_port=0,
        pace={"sandbox": {"send": {"concurrency": None}}},
    )
    rows = MemoryStore() if world is None else world
    count, now_ms = MESSAGES if world is None else MESSAGES // 3, SystemClock().now_ms()
    before = admin.counters()["accepted"]
    rows.add(InstanceRow(instance_name="i1", tenant_id="t", api_key=SANDBOX_KEY, api_url=url))
    threads = [str(uuid.uuid4()) for _ in range(CONVERSATIONS)]
    for number, thread in enumerate(threads):
        phone = f"+55119{run}{number:07d}"
        rows.add(ConversationRow(id=thread, contact_phone=phone, tenant_id="t", instance_name="i1"))
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for number, id_ in enumerate(ids):
        conversation = threads[number % CONVERSATIONS]
        rows.add(MessageRow(id=id_, conversation_id=conversation, content=id_, created_at_ms=now_ms + number))
    services.install(Services(settings=settings, store=rows if world is None else world.store))
    try:
        actors.broker.send_many([actors.send_message.message(id_) for id_ in ids])
        begin = time.perf_counter()
        with working(threads=64):
            until(lambda: admin.counters()["accepted"] >= before + count, within_ms=60_000, poll_ms=20)
            return count / (time.perf_counter() - begin)
    finally:
        actors.broker.close()
        services.install(None)
