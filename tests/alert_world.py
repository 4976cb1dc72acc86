"""A product whose alerts are looked at: what happens in it, what is seen of that, and what was told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from housekeeping_world import SetClock

import actors
from actors import services
from actors.alert_rules import Alert
from actors.alerts import gather
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from middleware import memory
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.outcomes import Dead

MINUTE_MS = 60_000


@contextmanager
def watched(server: EmbeddedRedis) -> Iterator[Services]:
    """The product on this server, without workers."""
    settings = Settings(redis_url=Hidden(server.url(0)), store="memory", alert_no_worker_s=0)
    work = Services(settings=settings, store=MemoryStore(), clock=SetClock())
    services.install(work)
    yield work
    actors.broker.close()
    services.install(None)


def values(work: Services, rule: Alert) -> dict[str, float | None]:
    """Subject → value of one rule now."""
    facts, _ = gather(work, actors.broker)
    return {fact.subject: fact.value for fact in facts if fact.rule == rule}


def sampled(**said: Any) -> memory.Sample:
    """A sample of now, recorded."""
    seconds, _ = actors.broker.client.time()
    sample = memory.Sample(**{"at_ms": seconds * 1000, **said})
    memory.record(actors.broker.client, actors.broker.machinery.keys.memory, sample)
    return sample


def die(count: int, *, reason: str, queue: str = "send_message") -> None:
    """So many messages die of it."""
    steps = actors.broker.transitions
    for number in range(count):
        steps.enqueue(queue, f"{reason}{number}", b"{}")
    fetched = steps.fetch(queue, limit=count, lease_ms=60_000, owner="w").messages
    for one in fetched:
        steps.finish(one.lease, Dead(reason), body=b"{}")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Event, alert and subject of everything that was told."""
    return [
        (record.getMessage(), vars(record)["alert"], vars(record)["subject"])
        for record in caplog.records
        if record.getMessage() in ("alert.raised", "alert.cleared")
    ]


def grow_old(rule: Alert, *, by_ms: int) -> None:
    """What the book saw of this rule it saw so much earlier."""
    client, key = actors.broker.client, actors.broker.machinery.keys.alerts
    book = json.loads(client.hget(key, "book"))
    for one in book:
        if one["rule"] == rule and one["crossed_at_ms"] is not None:
            one["crossed_at_ms"] -= by_ms
    client.hset(key, "book", json.dumps(book, separators=(",", ":")))
