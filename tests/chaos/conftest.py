"""One process with store, broker, real client and sandbox gateway, for attacks that call its steps by hand.

Loaded by pytest for the tests beside it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis
from broker_world import working
from chaos_rows import postgres_rows, sqlite_rows
from django_fixtures import postgres_alias, unblocked
from sandbox_fixture import Sandbox

import actors
from actors import services
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock
from middleware.letters import DeadLetter, DeadLetters

__all__ = ["change", "postgres_alias", "postgres_rows", "sqlite_rows", "unblocked", "world"]

PHONE = "+5511988887777"


@dataclass
class World:
    """Rows, what the phones received, and what was given up. Nothing runs by itself outside :meth:`working`."""

    store: MemoryStore
    sandbox: Sandbox

    def say(self, id_: str, text: str = "oi", **fields: Any) -> str:
        """Commit one message; nothing is sent."""
        created_at_ms = fields.pop("created_at_ms", SystemClock().now_ms())
        self.store.add(MessageRow(id=id_, conversation_id="c1", content=text, created_at_ms=created_at_ms, **fields))
        return id_

    def status(self, id_: str) -> str:
        """State of the row."""
        return self.store.message(id_).status

    def delivered(self) -> list[str]:
        """Texts as the phones got them, in order."""
        return [delivery["text"] for delivery in self.sandbox.admin.deliveries()]

    def letters(self) -> list[DeadLetter]:
        """Dead letters, newest first."""
        return list(DeadLetters(actors.broker).newest())

    @contextmanager
    def working(self, threads: int = 4) -> Iterator[None]:
        """Worker threads run."""
        with working(actors.broker, threads=threads, boots=True):
            yield


@pytest.fixture
def world(redis_server: EmbeddedRedis, queue_client: redis.Redis, sandbox: Sandbox) -> Iterator[World]:
    settings = Settings(
        redis_url=Hidden(redis_server.url(0)),
        gateway="sandbox",
        sandbox_url=sandbox.url,
        store="memory",
        scheduler="none",
        metrics_port=0,
        lease_ms=2_000,
        backoff_base_ms=40,
        backoff_cap_ms=200,
        reconcile_grace_s=0.2,
    )
    store = MemoryStore()
    store.add(
        InstanceRow(instance_name="i1", tenant_id="t", api_key=sandbox.apikey, api_url=sandbox.url),
        ConversationRow(id="c1", contact_phone=PHONE, tenant_id="t", instance_name="i1"),
    )
    services.install(Services(settings=settings, store=store))
    yield World(store, sandbox)
    actors.broker.close()
    services.install(None)


@pytest.fixture
def change(world: World) -> Callable[..., None]:
    """Other settings for this test."""

    def change(**settings: Any) -> None:
        services.install(Services(settings=replace(services.settings(), **settings), store=world.store))

    return change
