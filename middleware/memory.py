"""Samples of what Redis' memory is used for, and where they are kept: a week of them, and a quarter year of quarter hours.

``memory_sample`` takes one, the periodic actor and ``memory_watch`` record it; the ``memory`` command, the dashboard and
``doctor`` read them. What a server does not say is None, never 0: versions and providers differ in what they show.

Both streams are capped, and lie beside the queues. They die with the server they describe: ship a copy, or scrape the exporter,
to look back beyond it.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from middleware.brokers.redis.scripts import translated
from middleware.clock import iso
from middleware.memory_form import FORM, packed, unpacked
from middleware.slots import MINUTE_MS

logger = logging.getLogger(__name__)

#: Samples kept: seven days of one a minute.
MAX_SAMPLES = 7 * 24 * 60
#: Length of a summary, and how many are kept: ninety days.
QUARTER_MS = 15 * MINUTE_MS
MAX_QUARTERS = 90 * 24 * 4
#: What follows the name of the stream of samples in that of the summaries.
QUARTERS_SUFFIX = ".quarters"

#: Entries of one answer: 1 ms of the server's time.
PAGE = 200

#: Numbers at the head of a sample.
_NUMBERS = ("used_memory_bytes", "peak_bytes", "maxmemory_bytes", "fragmentation")
#: Parts of a sample that are one table, and those that are a table of tables.
SECTIONS = ("memory", "clients", "stats", "persistence", "replication", "server", "workers")
_TABLES = ("databases", "queues")
_PACKED = ("span_s", "policy", *_NUMBERS, *_TABLES, *SECTIONS)
#: Of these a summary keeps the least; of all other numbers the most, which is the last one of a counter.
_LEAST = frozenset({"alive", "good_replicas", "replicas", "uptime_s", "next_due_in_s"})

#: A script may write at maxmemory where it says so (from Redis 7 on): 0.4 kB a minute, of a stream that is cut as it grows.
_ADD_WHEN_FULL = '#!lua flags=allow-oom\nreturn redis.call("XADD", KEYS[1], unpack(ARGV))'

Facts = Mapping[str, int | float | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Redis' memory at one moment, or of ``span_s`` seconds.

    ``maxmemory_bytes`` 0 means no limit. ``databases`` is number → ``keys``, ``expires``, ``estimated_bytes``, with ``error`` and
    ``bound`` (``memory_estimate``); ``queues`` is name → depths and ages as ``stats`` shows them, and ``estimated_bytes``. The rest
    is from INFO: counters are since the server's start, ``server.uptime_s`` tells of a restart. ``workers`` is of all processes.
    """

    at_ms: int
    span_s: int = 0
    used_memory_bytes: int | None = None
    peak_bytes: int | None = None
    maxmemory_bytes: int | None = None
    policy: str | None = None
    fragmentation: float | None = None
    databases: Mapping[str, Facts] = field(default_factory=dict)
    queues: Mapping[str, Facts] = field(default_factory=dict)
    memory: Facts = field(default_factory=dict)
    clients: Facts = field(default_factory=dict)
    stats: Facts = field(default_factory=dict)
    persistence: Facts = field(default_factory=dict)
    replication: Facts = field(default_factory=dict)
    server: Facts = field(default_factory=dict)
    workers: Facts = field(default_factory=dict)

    @property
    def used_share(self) -> float | None:
        """Part of ``maxmemory`` that is used; None without a limit, or where it is not known."""
        if not self.maxmemory_bytes or self.used_memory_bytes is None:
            return None
        return self.used_memory_bytes / self.maxmemory_bytes

    def as_json(self) -> dict[str, Any]:
        """The public shape (``memory --json``)."""
        return {
            "at": iso(self.at_ms),
            "span_s": self.span_s,
            "used_memory_bytes": self.used_memory_bytes,
            "peak_bytes": self.peak_bytes,
            "maxmemory_bytes": self.maxmemory_bytes,
            "policy": self.policy,
            "fragmentation": self.fragmentation,
            **{part: {name: dict(facts) for name, facts in getattr(self, part).items()} for part in _TABLES},
            **{section: dict(getattr(self, section)) for section in SECTIONS},
        }


def slot_of(at_ms: int, every_ms: int = MINUTE_MS) -> int:
    """Slot that a moment belongs to: the id of its entry, so that a slot has one."""
    return at_ms // every_ms * every_ms


def record(client: "redis.Redis", key: str, sample: Sample, *, every_ms: int = MINUTE_MS) -> bool:
    """Add a sample to the stream ``key``; False when its slot, or a later one, has one already.

    Repeatable, and harmless from any number of processes: the slot is the entry's id, and Redis takes it once. The first sample of
    a quarter hour has the one before it summed up, which keeps four in an hour for ninety days.

    Raises:
        QueueUnavailable, QueueRefused: it is not recorded.
        QueueFull: the same, on a server before Redis 7; later ones take it at maxmemory too.
    """
    slot_ms = slot_of(sample.at_ms, every_ms)
    if not _add(client, key, sample, id_ms=slot_ms, most=MAX_SAMPLES):
        return False
    _sum_up(client, key, before_ms=slot_of(slot_ms, QUARTER_MS))
    return True


def _add(client: "redis.Redis", key: str, sample: Sample, *, id_ms: int, most: int) -> bool:
    values = [part for pair in _fields(sample).items() for part in pair]
    args = ["MAXLEN", "~", most, f"{id_ms}-0", *values]
    with translated("recording a memory sample"):
        try:
            try:
                client.execute_command("XADD", key, *args)  # type: ignore[no-untyped-call]
            except redis.OutOfMemoryError:
                _add_when_full(client, key, args)
        except redis.ResponseError as error:
            if "equal or smaller" not in str(error):
                raise
            return False
    return True


def _add_when_full(client: "redis.Redis", key: str, args: Sequence[Any]) -> None:
    try:
        client.eval(_ADD_WHEN_FULL, 1, key, *args)
    except redis.ResponseError as error:
        if "compil" in str(error):
            raise redis.OutOfMemoryError("OOM, and this server knows no script flags") from error
        raise


def _sum_up(client: "redis.Redis", key: str, *, before_ms: int) -> None:
    """Write the summary of the last quarter hour before ``before_ms`` that has samples, unless it is there."""
    quarters = key + QUARTERS_SUFFIX
    newest = latest(client, quarters, count=1)
    if newest and slot_of(newest[0].at_ms, QUARTER_MS) >= before_ms - QUARTER_MS:
        return
    with translated("reading memory samples"):
        entries: Any = client.xrevrange(key, max=max(0, before_ms - 1), count=QUARTER_MS // MINUTE_MS)
    samples = [_sample(fields) for _, fields in reversed(entries)]
    if samples:
        id_ms = slot_of(samples[-1].at_ms, QUARTER_MS)
        _add(client, quarters, summary([one for one in samples if one.at_ms >= id_ms]), id_ms=id_ms, most=MAX_QUARTERS)


def summary(samples: Sequence[Sample]) -> Sample:
    """One sample for several, oldest first: the most of every number, so that no peak is lost, and the last of every word.

    Raises:
        ValueError: there is none.
    """
    if not samples:
        raise ValueError("nothing to sum up")
    last = samples[-1]
    merged: dict[str, Any] = {name: _most(name, [getattr(one, name) for one in samples]) for name in _NUMBERS}
    merged |= {part: _merged_tables([getattr(one, part) for one in samples]) for part in _TABLES}
    merged |= {section: _merged([getattr(one, section) for one in samples]) for section in SECTIONS}
    return replace(last, span_s=QUARTER_MS // 1000, **merged)


def _merged_tables(tables: Sequence[Mapping[str, Facts]]) -> dict[str, Facts]:
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: _merged([table[name] for table in tables if name in table]) for name in names}


def _merged(many: Sequence[Facts]) -> Facts:
    names = dict.fromkeys(name for facts in many for name in facts)
    return {name: _most(name, [facts.get(name) for facts in many]) for name in names}


def _most(name: str, values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    if not known or isinstance(known[-1], str):
        return known[-1] if known else None
    numbers = [value for value in known if not isinstance(value, str)]
    return min(numbers) if name in _LEAST else max(numbers)


def latest(client: "redis.Redis", key: str, *, count: int) -> list[Sample]:
    """The newest ``count`` samples, oldest first."""
    found: list[Sample] = []
    until = "+"
    while len(found) < count:
        with translated("reading memory samples"):
            entries: Any = client.xrevrange(key, max=until, count=min(PAGE, count - len(found)))
        if not entries:
            break
        found += [_sample(fields) for _, fields in entries]
        until = f"({entries[-1][0].decode()}"
    return found[::-1]


def since(client: "redis.Redis", key: str, *, from_ms: int) -> list[Sample]:
    """Samples from ``from_ms`` on, oldest first: quarter hours where that is before the oldest sample, then all."""
    samples = _range(client, key, from_ms=from_ms, most=MAX_SAMPLES + 200)
    if samples and slot_of(samples[0].at_ms, QUARTER_MS) <= from_ms:
        return samples
    before_ms = samples[0].at_ms if samples else None
    quarters = _range(client, key + QUARTERS_SUFFIX, from_ms=slot_of(from_ms, QUARTER_MS), most=MAX_QUARTERS + 200)
    return [one for one in quarters if before_ms is None or one.at_ms < before_ms] + samples


def _range(client: "redis.Redis", key: str, *, from_ms: int, most: int) -> list[Sample]:
    found: list[Sample] = []
    start = str(max(0, from_ms))
    while len(found) < most:
        with translated("reading memory samples"):
            entries: Any = client.xrange(key, min=start, count=PAGE)
        found += [_sample(fields) for _, fields in entries]
        if len(entries) < PAGE:
            break
        start = f"({entries[-1][0].decode()}"
    return found


def _fields(sample: Sample) -> dict[str, Any]:
    """One entry: when and how much in plain, everything in packed form."""
    said = {name: getattr(sample, name) for name in _PACKED}
    used = "" if sample.used_memory_bytes is None else sample.used_memory_bytes
    return {"at_ms": sample.at_ms, "used_memory_bytes": used, "form": FORM, "sample": packed(said)}


def _sample(raw: Mapping[bytes, bytes]) -> Sample:
    at_ms, used = int(raw[b"at_ms"]), raw.get(b"used_memory_bytes")
    try:
        said = unpacked(raw.get(b"sample", b""))
    except ValueError:
        said = {}
    if raw.get(b"form") != str(FORM).encode() or not said:
        # Of a later version, while two run: what stands in plain is known.
        return Sample(at_ms=at_ms, used_memory_bytes=int(used) if used else None)
    return Sample(at_ms=at_ms, **{name: value for name, value in said.items() if name in _PACKED})
