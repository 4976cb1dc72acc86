"""One queue on the real carrier with our stack: what Sentry is told of is tried on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import pytest
import redis
from broker_world import working
from waiting import until

from middleware import default_stack
from middleware.actor import routed
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.dead_letter import DeadLetterAnnouncer
from middleware.errors import Described
from middleware.retries import RetryPolicy
from middleware.sentry import report_dead_letter


class Away(Described):
    code = "away"


class Line:
    """A broker with our stack and one actor, ``work``."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.broker = CarrierBroker(
            url=server.url(2),
            options=lambda: CarrierOptions(namespace="test:traces", dead_suffix=".dead", lease_ms=2_000),
            middleware=default_stack(retry_policy=lambda: RetryPolicy(max_attempts=3, base_ms=20, cap_ms=40)),
        )
        announcer = next(one for one in self.broker.middleware if isinstance(one, DeadLetterAnnouncer))
        announcer.listeners.append(report_dead_letter)

    def declare(self, fn: Callable[..., Any]) -> Any:
        return dramatiq.actor(fn, broker=self.broker, queue_name="work", actor_name="work", actor_class=routed())

    def body(self) -> dict[str, Any]:
        """Options of the one message in Redis."""
        [body] = self.broker.client.hvals("test:traces:work.msgs")
        return dict(self.broker.decode(body).options)

    def dead(self, count: int = 1) -> None:
        until(lambda: self.broker.transitions.stats(["work"])[0].dead == count, within_ms=10_000)

    def done(self, count: int = 1) -> None:
        until(lambda: self.broker.transitions.stats(["work"])[0].counters.get("done") == count, within_ms=10_000)

    @contextmanager
    def working(self, *, threads: int = 2) -> Iterator[None]:
        with working(self.broker, threads=threads, boots=True):
            yield


@pytest.fixture
def line(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Line]:
    line = Line(redis_server)
    yield line
    line.broker.close()
