"""How many messages a second one process carries over PostgreSQL: `make prove` measures it."""

import queue
import threading
import time
from collections.abc import Callable

import pytest
import redis
from contracts.django_world import DjangoWorld
from contracts.store_world import conversation, message, race

import actors
from actors import chat, services, wiring
from actors.domain import Instance, OutgoingPart, Receipt
from actors.gateways.base import Ability
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.rows import InstanceRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.redis]

THREADS, CONVERSATIONS, EACH = 64, 300, 10


class TakesItsTime:
    """A gateway whose answers take 50 ms."""

    name = "sandbox"
    supports = frozenset(Ability)

    def send(self, part: OutgoingPart, *, instance: Instance, timeout_s: float) -> Receipt:
        threading.Event().wait(0.05)
        return Receipt(provider_message_id=f"3EB0{part.reference}")

    def close(self) -> None:
        """Nothing to give back."""


def test_a_process_loads_claims_and_records_200_messages_a_second_on_postgresql(
    postgres_alias: str,
    unblocked: None,
    redis_server: EmbeddedRedis,
    queue_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
):
    """64 threads run the actor; no queue, no pace, no HTTP: what the store alone allows."""
    world = DjangoWorld(postgres_alias)
    world.add(InstanceRow(instance_name="line-1"))
    now_ms = SystemClock().now_ms()
    threads = [conversation(world) for _ in range(CONVERSATIONS)]
    ids = [message(world, thread, created_at_ms=now_ms + turn).id for turn in range(EACH) for thread in threads]
    settings = Settings(gateway="sandbox", redis_url=Hidden(redis_server.url(0)))
    services.install(Services(settings=settings, store=world.store, gateways={"sandbox": TakesItsTime()}))
    monkeypatch.setattr(wiring, "traffic", lambda: None)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for id_ in ids:
        waiting.put(id_)

    def work(_: int) -> None:
        while not waiting.empty():
            try:
                chat.send_message.fn(waiting.get_nowait())
            except queue.Empty:
                return

    begin = time.monotonic()
    race(world, THREADS, work)
    rate = len(ids) / (time.monotonic() - begin)
    record_property("postgres_messages_per_s", round(rate))
    statuses = {world.message(id_).status for id_ in ids}
    actors.broker.close()
    services.install(None)
    world.clear()

    assert statuses == {"sent"}
    assert rate >= 200
