"""Rows, a queue on a real Redis and a clock that is set by hand: what the sweep is tried on."""

import threading
from typing import Any

import redis
from contracts.store_world import first

import actors
from actors import services
from actors.domain import AttemptState
from actors.housekeeping import expire
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, MessageRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock

# Dramatiq stamps messages by the machine's clock.
NOW_MS = SystemClock().now_ms()
HOUR_MS = 60 * 60 * 1000
DEADLINE_MS = 24 * HOUR_MS
SWEEP_MS = 10 * 60 * 1000
#: The suite runs no longer: jobs are stamped by the machine, later than NOW_MS by as much as it has run.
SUITE_MS = 30 * 60 * 1000


class SetClock:
    """Time as the test says; each look at the boot clock takes ``step_ms``."""

    def __init__(self) -> None:
        self.at_ms = NOW_MS
        self.boot = 0
        self.step_ms = 0

    def now_ms(self) -> int:
        return self.at_ms

    def boot_ms(self) -> int:
        self.boot += self.step_ms
        return self.boot

    def wait(self, seconds: float, *, until: threading.Event) -> bool:
        return until.is_set()


class World:
    """Rows in a store, and a queue on a real Redis."""

    def __init__(self, server: EmbeddedRedis, client: redis.Redis) -> None:
        self.clock = SetClock()
        self.store = MemoryStore()
        self.client = client
        self.store.add(ConversationRow(id="c1", contact_phone="+5511988887777", tenant_id="t", instance_name="i1"))
        settings = Settings(redis_url=Hidden(server.url(0)), store="memory", scheduler="none")
        self.work = Services(settings=settings, store=self.store, clock=self.clock)
        services.install(self.work)

    def say(self, id_: str, *, age_ms: int, **row: Any) -> None:
        self.store.add(MessageRow(id=id_, conversation_id="c1", content="olá", created_at_ms=NOW_MS - age_ms, **row))

    def attempt(self, id_: str, state: AttemptState, *, age_ms: int) -> None:
        at_ms = NOW_MS - age_ms
        claimed = self.store.claim(first(id_, now_ms=at_ms, instance="i1"))
        if state is not AttemptState.SENDING:
            self.store.settle(claimed, state)

    def status(self, id_: str) -> str:
        return self.store.load_message(id_).status

    def expire(self, *, end_ms: int = 10**9) -> int:
        return expire(self.work, actors.broker, end_ms=end_ms)

    def expire_all(self) -> int:
        """Let the sweep see every row, and see it again when its job has had its chance."""
        assert self.expire() == 0
        self.clock.at_ms += SWEEP_MS + SUITE_MS
        return self.expire()

    def queued_now(self) -> list[str]:
        """The same, whatever has ended before."""
        bodies = self.client.hvals("chat:queue:send_message.msgs")
        return sorted(actors.broker.decode(body).kwargs["message_id"] for body in bodies)

    def queued(self) -> list[str]:
        """Chat messages with a message in the queue, sorted."""
        stats = actors.broker.transitions.stats(["send_message"])[0]
        bodies = self.client.hvals("chat:queue:send_message.msgs")
        ids = [actors.broker.decode(body).kwargs["message_id"] for body in bodies]
        assert stats.counters.get("enqueued", 0) == len(ids)
        return sorted(ids)
