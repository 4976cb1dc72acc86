"""What Dramatiq's tests ask for, over the broker named by ``CONFORMANCE_BROKER`` and a Redis of this process.

``run.py`` lays it beside those tests as their ``conftest.py``. ``CONFORMANCE_SWAP=1`` hands the broker under test also to the
tests that were written for the in-memory stub.
"""

import fcntl
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import dramatiq
import pytest
from dramatiq import Broker, MessageProxy, Middleware, Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.rate_limits import RateLimiterBackend
from dramatiq.rate_limits import backends as limits
from dramatiq.results import ResultBackend
from dramatiq.results import backends as results

from middleware.brokers.redis.embedded import EmbeddedRedis

from .waiting import until

SWAP = os.environ["CONFORMANCE_SWAP"] == "1"
MODULE, _, CLASS = os.environ["CONFORMANCE_BROKER"].partition(":")
#: Nothing else runs while one of these does.
TIMED = os.environ["CONFORMANCE_TIMED"].split()
BrokerUnderTest: Any = getattr(import_module(MODULE), CLASS)

#: Longest time for one test with its fixtures, in seconds; the longest takes 45 s on two slow cores.
TEST_WITHIN_S = 150
#: Longest wait of a ``join`` for which a test of the stub names none, in milliseconds.
JOIN_WITHIN_MS = 60_000
#: Sends 16,000 messages that fail.
FLOOD = "test_redis_dead_lettered_messages_are_cleaned_up"
#: They run for 20 s and more.
SLOW = (FLOOD, "test_window_rate_limiter_limits_per_window")
#: They send a message and only then put a mock in the way of its acknowledgement, which a quick broker has written by then.
MOCK_LATE = (
    "test_redis_consumer_ack_can_retry_on_connection_error",
    "test_redis_consumer_nack_can_retry_on_connection_error",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, and none beside another: each process begins with two neighbours of the list."""
    slow = [item for item in items if _function(item) in SLOW]
    quick = [item for item in items if _function(item) not in SLOW]
    items[:] = [*chain.from_iterable(zip(slow, quick, strict=False)), *quick[len(slow) :]]


@pytest.fixture(autouse=True)
def _surroundings(request: pytest.FixtureRequest) -> Iterator[None]:
    function = _function(request.node)
    # Some tests declare actors without asking for a broker; they must not meet those of the test before.
    dramatiq.set_broker(StubBroker())
    # 16,000 tracebacks that nobody reads cost a quarter of its time.
    logging.disable(logging.CRITICAL if function == FLOOD else logging.NOTSET)
    with Path(os.environ["CONFORMANCE_LOCK"]).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if function in TIMED else fcntl.LOCK_SH)
        with _ending_after(TEST_WITHIN_S):
            yield
    logging.disable(logging.NOTSET)


@contextmanager
def _ending_after(limit_s: int) -> Iterator[None]:
    def give_up(*_: object) -> NoReturn:
        pytest.fail(f"not done within {limit_s} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _function(item: pytest.Item) -> str:
    return getattr(item, "originalname", item.name)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedRedis]:
    binary = os.environ.get("TEST_REDIS_BINARY")
    with EmbeddedRedis(binary=Path(binary) if binary else None) as running:
        yield running


@pytest.fixture
def empty_url(server: EmbeddedRedis) -> str:
    """Where the Redis is, with its password; all its databases are empty."""
    with closing(server.client()) as client:
        client.flushall()
    return server.url(2)


class StubShaped(BrokerUnderTest):  # type: ignore[misc]
    """The broker under test, joined as tests of the stub do; they never ask how often it looks."""

    def join(self, queue_name: str, *, timeout: int | None = None, fail_fast: bool | None = None) -> None:
        super().join(queue_name, interval=50, timeout=timeout or JOIN_WITHIN_MS)


def _global(broker: Broker) -> Broker:
    broker.emit_after("process_boot")
    dramatiq.set_broker(broker)
    return broker


class _HeldUntilMocked(Middleware):
    """No message runs before a mock stands in the broker's way."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        until(lambda: {"do_ack", "do_nack"} & vars(broker).keys(), within_ms=10_000)


@pytest.fixture
def redis_broker(request: pytest.FixtureRequest, empty_url: str) -> Iterator[Broker]:
    broker = BrokerUnderTest(url=empty_url, namespace="dramatiq")
    if _function(request.node) in MOCK_LATE:
        broker.add_middleware(_HeldUntilMocked())
    with closing(_global(broker)):
        yield broker


@pytest.fixture
def stub_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    broker = StubShaped(url=request.getfixturevalue("empty_url"), namespace="dramatiq") if SWAP else StubBroker()
    with closing(_global(broker)):
        yield broker


def _working(broker: Broker, **options: Any) -> Iterator[Worker]:
    running = Worker(broker, worker_threads=32, **options)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def redis_worker(redis_broker: Broker) -> Iterator[Worker]:
    yield from _working(redis_broker)


@pytest.fixture
def stub_worker(stub_broker: Broker) -> Iterator[Worker]:
    yield from _working(stub_broker, worker_timeout=100)


@pytest.fixture(params=["redis", "stub"])
def rate_limiter_backend(request: pytest.FixtureRequest) -> RateLimiterBackend:
    if request.param == "stub":
        return limits.StubBackend()
    return limits.RedisBackend(url=request.getfixturevalue("empty_url"))


@pytest.fixture
def redis_result_backend(empty_url: str) -> ResultBackend:
    return results.RedisBackend(url=empty_url)


@pytest.fixture(params=["redis", "stub"])
def result_backend(request: pytest.FixtureRequest) -> ResultBackend:
    return results.StubBackend() if request.param == "stub" else request.getfixturevalue("redis_result_backend")
