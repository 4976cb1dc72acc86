"""One queue, its keys, and a short way to put messages in. Loaded by pytest."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from broker_world import OPTIONS, MakeBroker
from carrier_world import MEMORY, QUEUE
from dramatiq import Middleware

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Transitions
from middleware.brokers.redis.values import Enqueued


@pytest.fixture
def keys() -> Keys:
    return Keys("test:carrier")


@pytest.fixture
def moves(queue_client: redis.Redis, keys: Keys) -> Transitions:
    return Transitions(Scripts(queue_client, keys), memory=MEMORY)


@pytest.fixture
def put(moves: Transitions) -> Callable[..., Enqueued]:
    def put(id_: str, *, delay_ms: int = 0, **options: Any) -> Enqueued:
        return moves.enqueue(QUEUE, id_, f"body of {id_}".encode(), delay_ms=delay_ms, options=options)

    return put


@pytest.fixture
def make_broker(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[MakeBroker]:
    made = []

    def make(*middleware: Middleware, options: CarrierOptions = OPTIONS, url: str | None = None) -> CarrierBroker:
        broker = CarrierBroker(
            connect=lambda: kwargs_for_db(url or redis_server.url(0), 2),
            options=lambda: options,
            middleware=list(middleware),
        )
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()
