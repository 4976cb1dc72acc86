"""Carriers on the server of this test process.

Loaded by pytest for the tests beside it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import dramatiq.worker
import pytest
import redis
from carriage import Carriage, carriage

from middleware.brokers.redis.embedded import EmbeddedRedis

MakeCarriage = Callable[..., Carriage]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dramatiq waits 5 s before it asks again for an outcome to be written; here nobody has that time."""
    monkeypatch.setattr(dramatiq.worker, "POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.1)


@pytest.fixture
def make_carriage(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[MakeCarriage]:
    """``make_carriage(url=…, lease_ms=…, …)``: see :func:`carriage.carriage`."""
    with ExitStack() as made:

        def make(*, url: str | None = None, **given: Any) -> Carriage:
            return made.enter_context(carriage(url or redis_server.url(0), **given))

        yield make
