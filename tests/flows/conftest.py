"""A process with everything in it, over the memory store."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from flow_world import GROUP, PHONE, Change, World
from sandbox_fixture import Sandbox

import actors
from actors import services
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow
from middleware.brokers.redis.embedded import EmbeddedRedis


@pytest.fixture
def flow_settings(redis_server: EmbeddedRedis, sandbox: Sandbox, queue_client: redis.Redis) -> Settings:
    return Settings(
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


@pytest.fixture
def world(flow_settings: Settings, sandbox: Sandbox) -> Iterator[World]:
    store = MemoryStore()
    store.add(
        InstanceRow(instance_name="i1", tenant_id="t", api_key=sandbox.apikey, api_url=sandbox.url),
        ConversationRow(id="c1", contact_phone=PHONE, tenant_id="t", instance_name="i1"),
        ConversationRow(
            id="g1",
            contact_phone=GROUP,
            conversation_type="group",
            tenant_id="t",
            instance_name="i1",
            group_metadata={"participants": ["kept"], "group_id": GROUP},
        ),
    )
    services.install(Services(settings=flow_settings, store=store))
    yield World(store, sandbox)
    actors.broker.close()
    services.install(None)


@pytest.fixture
def change(world: World) -> Change:
    """Other settings for this test."""

    def change(**settings: Any) -> None:
        services.install(Services(settings=replace(services.settings(), **settings), store=world.store))

    return change
