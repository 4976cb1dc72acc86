"""Sample what Redis' memory is used for, and keep a week of samples.

The periodic actor takes and records one a minute; the ``memory`` command, the dashboard and ``doctor`` read them. What a
server does not say is None, never 0: versions and providers differ in what they show.

Samples lie in one capped stream beside the queues (about 0.2 kB each, since a stream stores the names of its fields once per
node). They die with the server they describe: ship a copy, or scrape the exporter, to look back beyond it.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis

from middleware.brokers.redis.scripts import translated
from middleware.errors import PipelineError, QueueRefused, QueueUnavailable
from middleware.slots import MINUTE_MS

logger = logging.getLogger(__name__)

#: Samples kept: seven days of one a minute.
MAX_SAMPLES = 7 * 24 * 60
#: Elements of a key that Redis looks at to estimate its bytes: 0.2 % off on a million messages in 0.4 ms; 0 would look at
#: all of them and stop the server for 250 ms (both measured).
USAGE_SAMPLES = 500

#: Numbers of a sample, in the order of their fields in the stream, with their names in INFO.
_NUMBERS = {
    "used_memory_bytes": "used_memory",
    "peak_bytes": "used_memory_peak",
    "maxmemory_bytes": "maxmemory",
    "fragmentation": "mem_fragmentation_ratio",
}
Numbers = Mapping[str, int | float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Redis' memory in one minute.

    ``maxmemory_bytes`` 0 means no limit. ``databases`` is number → ``keys``, ``expires``, ``estimated_bytes`` (known for the
    queues' database only: Redis counts no bytes by database); ``queues`` is name → depths as ``stats`` shows them.
    """

    at_ms: int
    used_memory_bytes: int | None = None
    peak_bytes: int | None = None
    maxmemory_bytes: int | None = None
    policy: str | None = None
    fragmentation: float | None = None
    databases: Mapping[str, Numbers] = field(default_factory=dict)
    queues: Mapping[str, Numbers] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The public shape (``memory --json``)."""
        return {
            "at": datetime.fromtimestamp(self.at_ms / 1000, tz=UTC).isoformat(timespec="seconds"),
            "used_memory_bytes": self.used_memory_bytes,
            "peak_bytes": self.peak_bytes,
            "maxmemory_bytes": self.maxmemory_bytes,
            "policy": self.policy,
            "fragmentation": self.fragmentation,
            "databases": {number: dict(values) for number, values in self.databases.items()},
            "queues": {name: dict(values) for name, values in self.queues.items()},
        }


def take_sample(client: "redis.Redis", *, queues: Mapping[str, Numbers], keys: Iterable[str] = ()) -> Sample:
    """Sample of now, by Redis' clock.

    Args:
        client: on the queues' database.
        queues: depths by queue.
        keys: all keys of the queues, for the estimate of their bytes.

    Raises:
        QueueUnavailable: no answer in time.
    """
    with translated("sampling the memory"):
        seconds, _ = client.time()
    memory, keyspace = _info(client, "memory"), _info(client, "keyspace")
    databases: dict[str, dict[str, int | float | None]] = {
        name.removeprefix("db"): {"keys": counts.get("keys"), "expires": counts.get("expires"), "estimated_bytes": None}
        for name, counts in keyspace.items()
        if name.startswith("db") and isinstance(counts, dict)
    }
    own = databases.get(str(client.connection_pool.connection_kwargs.get("db", 0)))
    if own is not None:
        own["estimated_bytes"] = _bytes_of(client, keys)
    return Sample(
        at_ms=int(seconds) * 1000,
        policy=memory.get("maxmemory_policy"),
        databases=databases,
        queues=queues,
        **{name: memory.get(info_name) for name, info_name in _NUMBERS.items()},
    )


def _info(client: "redis.Redis", section: str) -> dict[str, Any]:
    try:
        with translated(f"reading INFO {section}"):
            return dict(client.info(section))
    except QueueRefused as error:
        # A least-privilege user may not ask; the depths are worth recording without it.
        logger.warning("memory.info_refused", extra={"code": error.code})
        return {}


def _bytes_of(client: "redis.Redis", keys: Iterable[str]) -> int | None:
    """Estimated bytes of ``keys``; None when there are none to ask for or the server does not say."""
    try:
        with translated("estimating the queues' bytes"), client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.memory_usage(key, samples=USAGE_SAMPLES)
            sizes = pipe.execute()
    except QueueUnavailable:
        raise
    except PipelineError as error:
        # Not every provider has the command, nor every user the right.
        logger.warning("memory.usage_refused", extra={"code": error.code})
        return None
    return sum(size or 0 for size in sizes) if sizes else None


def record(client: "redis.Redis", key: str, sample: Sample) -> bool:
    """Add a sample to the stream; False when its minute, or a later one, has one already.

    Repeatable, and harmless from any number of processes: the minute is the entry's id, and Redis takes it once.

    Raises:
        QueueUnavailable, QueueFull, QueueRefused: it is not recorded.
    """
    minute_ms = sample.at_ms // MINUTE_MS * MINUTE_MS
    with translated("recording a memory sample"):
        try:
            client.xadd(key, _fields(sample), id=f"{minute_ms}-0", maxlen=MAX_SAMPLES, approximate=True)
        except redis.ResponseError as error:
            if "equal or smaller" not in str(error):
                raise
            return False
    return True


def latest(client: "redis.Redis", key: str, *, count: int) -> list[Sample]:
    """The newest ``count`` samples, oldest first."""
    with translated("reading memory samples"):
        entries: Any = client.xrevrange(key, count=count)
    return [_sample(fields) for _, fields in reversed(entries)]


def _fields(sample: Sample) -> dict[Any, Any]:
    """One flat entry; the same names in the same order each minute, because a stream stores those only once."""
    fields: dict[str, Any] = {"at_ms": sample.at_ms, "policy": sample.policy}
    fields |= {name: getattr(sample, name) for name in _NUMBERS}
    for part in ("databases", "queues"):
        for name, values in sorted(getattr(sample, part).items()):
            fields |= {f"{part}.{name}.{what}": value for what, value in values.items()}
    return {name: "" if value is None else value for name, value in fields.items()}


def _sample(raw: Mapping[bytes, bytes]) -> Sample:
    fields = {name.decode(): value.decode() for name, value in raw.items()}
    parts: dict[str, dict[str, dict[str, int | float | None]]] = {"databases": {}, "queues": {}}
    for name, value in fields.items():
        part, dot, rest = name.partition(".")
        if dot:
            # A queue's name may have dots of its own.
            of, _, what = rest.rpartition(".")
            parts[part].setdefault(of, {})[what] = _number(value)
    numbers: dict[str, Any] = {name: _number(fields.get(name, "")) for name in _NUMBERS}
    return Sample(
        at_ms=int(fields["at_ms"]),
        policy=fields.get("policy") or None,
        databases=parts["databases"],
        queues=parts["queues"],
        **numbers,
    )


def _number(text: str) -> int | float | None:
    if not text:
        return None
    return float(text) if "." in text or "e" in text else int(text)
