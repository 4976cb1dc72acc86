"""What every test may ask for: real servers of its own, and an environment that nobody configured.

Loaded by pytest.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing

import hypothesis
import pytest
import redis
import servers

from middleware.brokers.redis.embedded import EmbeddedRedis

#: Fixtures that stand in files of their own.
pytest_plugins = ["sandbox_fixture", "process_world", "host_fixture", "sentry_sink", "traced_line"]


# A developer's own settings must not decide what the suite sees, nor where its messages go.
for _name in list(os.environ):
    if _name.startswith(("CHAT_", "DJANGO_", "REDIS_", "SENTRY_")):
        del os.environ[_name]

# The machine may be slow; the promise is about values, not about time.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip (on a laptop) or fail (in CI) a test whose marker names a server that is not there."""
    for server in ("redis", "postgres", "rabbitmq", "browser"):
        if item.get_closest_marker(server) is not None:
            servers.require(server)


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """``require("redis" | "postgres" | "rabbitmq" | "browser")``: skip on a laptop, fail in CI, when it is not there."""
    return servers.require


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A Redis of this test process; ``.port``, ``.password``, ``.url(db)``, ``.client(db)``. Do not stop it.

    ``TEST_REDIS_BINARY`` in the environment names another ``redis-server`` binary.
    """
    servers.require("redis")
    with EmbeddedRedis(binary=servers.REDIS_BINARY) as server:
        yield server


@pytest.fixture
def queue_client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """Client of DB 2 of ``redis_server``, all of whose databases are empty."""
    with closing(redis_server.client(2)) as client:
        # An earlier test may have filled the server on purpose.
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.flushall()
        yield client


@pytest.fixture
def redis_db(queue_client: redis.Redis) -> redis.Redis:
    """The same as ``queue_client``."""
    return queue_client


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.PostgresDatabase]:
    """An empty PostgreSQL database of this test process; ``.url``, ``.django`` (entry of ``DATABASES``)."""
    servers.require("postgres")
    with servers.fresh_postgres() as database:
        yield database


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """URL of the machine's RabbitMQ; declare queues under names of your own and delete them."""
    servers.require("rabbitmq")
    return servers.RABBITMQ_URL
