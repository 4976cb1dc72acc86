"""What several files of tests of the actors ask for."""

from collections.abc import Iterator

import pytest
import redis
from traffic_world import Desk, made_desk

from middleware.brokers.redis.embedded import EmbeddedRedis


@pytest.fixture
def desk(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Desk]:
    """Traffic of one process on a Redis that is empty."""
    with made_desk(redis_server) as one:
        yield one
