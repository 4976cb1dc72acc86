"""What each database of a Redis holds in bytes: ours counted, the others asked, the cache's what they leave.

Used by ``memory_sample``; the arithmetic is ``memory_estimate``'s.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import redis

from middleware.errors import PipelineError, QueueUnavailable
from middleware.memory_estimate import (
    ENOUGH,
    LEAST_DRAWS,
    Bound,
    Estimate,
    checked,
    counted,
    estimate,
    keyspace_bytes,
    residual,
)
from middleware.memory_keys import Draw, database, draw, names, sizes, survey

logger = logging.getLogger(__name__)

#: Keys that one sample asks at most, in all databases but that of the queues: 3 µs of the server's time each.
MINUTE_KEYS = 2_500
#: Names of the queues' database that are looked at; it has a few dozen.
OWN_KEYS = 2_000
#: The database whose bytes are what the others leave: nobody asks a cache each minute.
CACHE_DB = "0"

#: Database → keys, expires.
Tables = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thorough:
    """A look on request: every database is drawn from, the cache's too, and ``on_draw`` is told (database, keys)."""

    keys: int = 10_000
    enough: float = ENOUGH / 2
    on_draw: Callable[[str, Sequence[Draw]], None] = lambda number, draws: None


def estimates_of(
    client: "redis.Redis",
    tables: Tables,
    *,
    own: Mapping[bytes, int],
    dataset_bytes: int | None,
    thorough: Thorough | None = None,
) -> dict[str, Estimate]:
    """Bytes of each database of which something is known; ``client`` is on the queues' database.

    ``own`` are bytes of our keys, which nobody needs to ask again; ``dataset_bytes`` is what Redis says all data takes.

    Raises:
        QueueUnavailable: no answer in time.
    """
    mine = str(client.connection_pool.connection_kwargs.get("db", 0))
    found: dict[str, Estimate] = {}
    if mine in tables:
        found[mine] = _own_database(client, tables[mine], own, thorough)
    left, asked = MINUTE_KEYS, sorted(tables.keys() - {mine}, key=lambda name: (tables[name][0], name))
    if thorough is None:
        asked = [name for name in asked if name != CACHE_DB]
    for place, name in enumerate(asked):
        # The smallest first: what it leaves is for the larger ones.
        most = max(LEAST_DRAWS, left // (len(asked) - place))
        if thorough is None and left < LEAST_DRAWS:
            break
        try:
            found[name] = _survey(client, name, tables[name], most=most, thorough=thorough)
        except QueueUnavailable:
            raise
        except PipelineError as error:
            # It takes the right to SELECT it, and to look at keys that are not ours.
            logger.warning("memory.database_refused", extra={"database": name, "code": error.code})
            continue
        left -= found[name].asked
    if dataset_bytes is None:
        return found
    total = keyspace_bytes(dataset_bytes, tables)
    return _with_cache(client, tables, found, total) if thorough is None else _checked(found, tables, total)


def _survey(
    client: "redis.Redis", name: str, counts: tuple[int, int], *, most: int, thorough: Thorough | None
) -> Estimate:
    with database(client, int(name)) as other:
        if thorough is None:
            return survey(other, keys=counts[0], expires=counts[1], most=most)
        return survey(
            other,
            keys=counts[0],
            expires=counts[1],
            most=thorough.keys,
            enough=thorough.enough,
            on_draw=lambda draws: thorough.on_draw(name, draws),
        )


def _own_database(
    client: "redis.Redis", counts: tuple[int, int], own: Mapping[bytes, int], thorough: Thorough | None
) -> Estimate:
    try:
        everyone = names(client, most=OWN_KEYS)
        strangers = [name for name in everyone or () if name not in own]
        found = [
            (name, size) for name, size in zip(strangers, sizes(client, strangers), strict=True) if size is not None
        ]
    except QueueUnavailable:
        raise
    except PipelineError:
        # A user may have a right to our keys alone; of these everything is known.
        everyone, found = None, []
    draws = [*own.items(), *found]
    if thorough is not None:
        thorough.on_draw(str(client.connection_pool.connection_kwargs.get("db", 0)), draws)
    estimate_of_all = counted([size for _, size in draws], expires=counts[1])
    # Somebody else fills this database, which the doctor tells of; ours is known all the same.
    return estimate_of_all if everyone is not None else replace(estimate_of_all, bound=Bound.AT_LEAST)


def _with_cache(
    client: "redis.Redis", tables: Tables, found: dict[str, Estimate], total_bytes: int
) -> dict[str, Estimate]:
    """The same with the cache's, which is what the others leave."""
    if tables.keys() - found.keys() != {CACHE_DB}:
        return _checked(found, tables, total_bytes)
    if any(one.is_sampled for one in found.values()):
        guess = _guess_of_cache(client, tables[CACHE_DB])
        found = checked({**found, CACHE_DB: guess}, total_bytes=total_bytes)
        del found[CACHE_DB]
    return {**found, CACHE_DB: residual(total_bytes, found)}


def _guess_of_cache(client: "redis.Redis", counts: tuple[int, int]) -> Estimate:
    """A look at the cache: what is missing in the sum of all may be in any that was sampled, or here."""
    try:
        with database(client, int(CACHE_DB)) as cache:
            draws = draw(cache, LEAST_DRAWS)
    except QueueUnavailable:
        raise
    except PipelineError as error:
        logger.warning("memory.database_refused", extra={"database": CACHE_DB, "code": error.code})
        draws = []
    return estimate(draws, keys=counts[0], expires=counts[1], promised=math.inf) if draws else counted([])


def _checked(found: dict[str, Estimate], tables: Tables, total_bytes: int) -> dict[str, Estimate]:
    return checked(found, total_bytes=total_bytes) if found.keys() == tables.keys() else found
