"""Ask Redis for the sizes of keys, in bounded steps.

Used by ``memory_sample`` each minute and by the ``memory`` command on request. Every command looks at one key or at a few hundred
names, so none holds the server for longer; between two pipelines others are served.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from middleware.brokers.redis import connections
from middleware.brokers.redis.scripts import translated, translation
from middleware.memory_estimate import ENOUGH, LEAST_DRAWS, Estimate, counted, error_of, estimate

#: Elements of a key that Redis looks at to estimate its bytes: 0.2 % off on a million messages in 0.4 ms; 0 would look at
#: all of them and stop the server for 250 ms (both measured).
USAGE_SAMPLES = 500
#: The same where thousands of keys are asked.
DRAW_SAMPLES = 50
#: Commands of one pipeline: 0.3 ms of the server's time.
STEP = 200
#: Names of one SCAN: 0.5 ms.
SCAN_COUNT = 500

Draw = tuple[bytes, int]


@contextmanager
def database(client: "redis.Redis", number: int) -> Iterator["redis.Redis"]:
    """Client of another database of the same server, closed afterwards; the given one where it is on it already."""
    pool = client.connection_pool
    if pool.connection_kwargs.get("db", 0) == number:
        yield client
        return
    kwargs = {**pool.connection_kwargs, "db": number, "connection_class": pool.connection_class}
    other = connections.make_client(kwargs, role="memory")
    try:
        yield other
    finally:
        other.close()


def sizes(client: "redis.Redis", keys: Sequence[bytes | str], *, samples: int = USAGE_SAMPLES) -> list[int | None]:
    """Bytes of each key; None of one that is not there.

    Raises: see :func:`middleware.brokers.redis.scripts.translated`.
    """
    return _many(client, "asking for the bytes of keys", [("MEMORY", "USAGE", key, "SAMPLES", samples) for key in keys])


def names(client: "redis.Redis", *, most: int) -> list[bytes] | None:
    """Name of every key; None when there are more than ``most``.

    Raises: as :func:`sizes`.
    """
    found: set[bytes] = set()
    cursor: Any = 0
    while True:
        with translated("looking at the names of keys"):
            answer: Any = client.scan(cursor, count=SCAN_COUNT)
        cursor = answer[0]
        found.update(answer[1])
        if len(found) > most:
            return None
        if not int(cursor):
            return sorted(found)


def census(client: "redis.Redis", *, most: int) -> list[Draw] | None:
    """Every key with its bytes; None when there are more than ``most``.

    Raises: as :func:`sizes`.
    """
    everyone = names(client, most=most)
    return None if everyone is None else _there(everyone, sizes(client, everyone))


def draw(client: "redis.Redis", count: int, *, samples: int = DRAW_SAMPLES) -> list[Draw]:
    """Keys drawn at random, with their bytes; fewer where some went away meanwhile.

    Raises: as :func:`sizes`.
    """
    drawn: list[Draw] = []
    for start in range(0, count, STEP):
        found = draw_names(client, min(STEP, count - start))
        drawn += _there(found, sizes(client, found, samples=samples))
    return drawn


def draw_names(client: "redis.Redis", count: int) -> list[bytes]:
    """Names of keys drawn at random, a key perhaps more than once; none of an empty database.

    Raises: as :func:`sizes`.
    """
    return [name for name in _many(client, "drawing keys", [("RANDOMKEY",)] * count) if name is not None]


def survey(
    client: "redis.Redis",
    *,
    keys: int,
    expires: int,
    most: int,
    enough: float = ENOUGH,
    on_draw: Callable[[Sequence[Draw]], None] = lambda draws: None,
) -> Estimate:
    """Bytes of the client's database: counted where it has at most ``most`` keys, else from as many draws.

    Drawing stops when the error is ``enough``. ``on_draw`` is told of all keys that were asked, once.

    Raises: as :func:`sizes`.
    """
    everyone = census(client, most=most) if keys <= most else None
    if everyone is not None:
        on_draw(everyone)
        return counted([size for _, size in everyone], expires=expires)
    drawn: list[Draw] = []
    while len(drawn) < most:
        step = draw(client, min(LEAST_DRAWS, most - len(drawn)))
        drawn += step
        if not step or (len(drawn) >= LEAST_DRAWS and error_of(drawn) <= enough):
            break
    on_draw(drawn)
    return estimate(drawn, keys=keys, expires=expires) if drawn else counted([])


def _there(asked: Sequence[bytes], found: Sequence[int | None]) -> list[Draw]:
    return [(name, size) for name, size in zip(asked, found, strict=True) if size is not None]


def _many(client: "redis.Redis", doing: str, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Replies to many commands, ``STEP`` in a round trip."""
    replies: list[Any] = []
    for start in range(0, len(commands), STEP):
        with translated(doing), client.pipeline(transaction=False) as pipe:
            for command in commands[start : start + STEP]:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            replies += pipe.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, redis.RedisError):
            raise translation(reply, doing) from reply
    return replies
