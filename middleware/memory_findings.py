"""What is wrong with Redis' memory, from its samples: pure.

Alerts, ``doctor`` and the ``memory`` command ask it; when to tell somebody, and when to stop, is theirs. Limits are those of the
well-known rule sets (docs/memory.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from middleware.memory import Facts, Sample
from middleware.memory_forecast import Forecast, Outlook, forecast
from middleware.slots import MINUTE_MS

#: Of ``maxmemory``.
WARN_SHARE, CRITICAL_SHARE = 0.75, 0.90
#: Of ``maxclients``.
CLIENTS_SHARE = 0.80
#: Resident by used, above this many bytes used: below, the allocator's own keep decides.
FRAGMENTATION, FRAGMENTATION_FROM_BYTES = 1.5, 100 * 1024 * 1024
#: Slots without a sample after which that is itself an alarm.
MISSED_SLOTS = 3
#: A fork that stops the server for so long, in microseconds.
SLOW_FORK_US, VERY_SLOW_FORK_US = 100_000, 1_000_000
#: A replica this far behind, in seconds.
LAG_S, LONG_LAG_S = 5, 30
#: ``maxmemory`` is reached within this time, in milliseconds.
SOON_MS = 24 * 60 * MINUTE_MS


class Level(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: a stable ``code``, its measured value and its limit, and a sentence for people."""

    code: str
    level: Level
    value: float | None
    limit: float | None
    text: str


def absence(newest_ms: int | None, *, now_ms: int, every_ms: int = MINUTE_MS) -> Finding | None:
    """That samples are missing, by the clock of who asks; ``newest_ms`` None: there never was one.

    One from later than now keeps every other out until its time comes: Redis' clock was ahead, and was set back.
    """
    limit_ms = MISSED_SLOTS * every_ms
    if newest_ms is not None and abs(now_ms - newest_ms) <= limit_ms:
        return None
    since = "there is none" if newest_ms is None else f"the last one is {(now_ms - newest_ms) // 1000} s old"
    return Finding(
        code="memory_not_sampled",
        level=Level.CRITICAL,
        value=None if newest_ms is None else (now_ms - newest_ms) / 1000,
        limit=limit_ms / 1000,
        text=f"no memory sample is recorded: {since}; is a worker with a scheduler alive, and may it write to Redis?",
    )


def findings(samples: Sequence[Sample], *, ahead: Forecast | None = None) -> list[Finding]:
    """Everything that the newest of ``samples`` (oldest first) shows, the critical first; nothing without samples."""
    if not samples:
        return []
    newest = samples[-1]
    before = samples[-2] if len(samples) > 1 and not restarted(samples[-2], newest) else None
    found = [one for look in _LOOKS for one in look(newest)]
    found += _grown(newest, before) if before is not None else []
    found += _forecast(newest, ahead) if ahead is not None else []
    return sorted(found, key=lambda one: one.level is not Level.CRITICAL)


def forecast_of(samples: Sequence[Sample]) -> Forecast:
    """When ``maxmemory`` is reached at the slope of the last day of ``samples``, oldest first."""
    if not samples:
        return Forecast(outlook=Outlook.UNKNOWN, why="there is no sample")
    start = 0
    for index, (earlier, later) in enumerate(pairwise(samples), start=1):
        if restarted(earlier, later):
            start = index
    from_ms = samples[-1].at_ms - SOON_MS
    points = [(one.at_ms, one.used_memory_bytes) for one in samples[start:] if one.at_ms >= from_ms]
    known = [(at_ms, used) for at_ms, used in points if used is not None]
    return forecast(known, limit_bytes=samples[-1].maxmemory_bytes)


def restarted(earlier: Sample, later: Sample) -> bool:
    """Whether the server was started between two samples."""
    then, now = earlier.server.get("uptime_s"), later.server.get("uptime_s")
    return isinstance(then, int) and isinstance(now, int) and now < then


def grown(earlier: Facts, later: Facts, name: str) -> int | None:
    """By how much a counter grew; None where one side does not know it, or it was reset."""
    then, now = earlier.get(name), later.get(name)
    return now - then if isinstance(then, int) and isinstance(now, int) and now >= then else None


def _share(sample: Sample) -> list[Finding]:
    share = sample.used_share
    if share is None:
        if sample.maxmemory_bytes != 0:
            return []
        text = "maxmemory is not set: Redis grows until the machine kills it; set it, with noeviction or a volatile- policy"
        return [_finding("memory_unlimited", Level.WARNING, 0, None, text)]
    if share < WARN_SHARE:
        return []
    level, limit = (Level.CRITICAL, CRITICAL_SHARE) if share >= CRITICAL_SHARE else (Level.WARNING, WARN_SHARE)
    text = f"Redis uses {share:.0%} of its maxmemory; at 100 % new messages are refused, or keys evicted: chat-actors memory"
    return [_finding("memory_high", level, share, limit, text)]


def _persistence(sample: Sample) -> list[Finding]:
    words = {
        "rdb_last_save": "snapshot",
        "aof_last_write": "write of the AOF",
        "aof_last_rewrite": "rewrite of the AOF",
    }
    return [
        _finding(
            "memory_not_saved",
            Level.CRITICAL,
            None,
            None,
            f"the last {what} failed; look at the server's disk and its log",
        )
        for name, what in words.items()
        if sample.persistence.get(name) not in (None, "ok")
    ]


def _clients(sample: Sample) -> list[Finding]:
    connected, limit = _number(sample.clients, "connected"), _number(sample.clients, "limit")
    if not limit or connected is None or connected / limit < CLIENTS_SHARE:
        return []
    text = f"{connected:.0f} of {limit:.0f} connections are taken; at the limit workers and web processes are refused"
    return [_finding("memory_clients", Level.WARNING, connected / limit, CLIENTS_SHARE, text)]


def _fragmentation(sample: Sample) -> list[Finding]:
    ratio, used = sample.fragmentation, sample.used_memory_bytes or 0
    if ratio is None or used < FRAGMENTATION_FROM_BYTES or 1 <= ratio <= FRAGMENTATION:
        return []
    what = "holds memory that it does not use (activedefrag)" if ratio > 1 else "is partly swapped out; give it memory"
    text = f"resident by used memory is {ratio:.2f}: the server {what}"
    return [_finding("memory_fragmented", Level.WARNING, ratio, FRAGMENTATION, text)]


def _fork(sample: Sample) -> list[Finding]:
    fork_us = _number(sample.stats, "latest_fork_us")
    if fork_us is None or fork_us < SLOW_FORK_US:
        return []
    level = Level.CRITICAL if fork_us >= VERY_SLOW_FORK_US else Level.WARNING
    text = f"the last fork stopped the server for {fork_us / 1000:.0f} ms; are huge pages off?"
    return [_finding("memory_fork_slow", level, fork_us, SLOW_FORK_US, text)]


def _replicas(sample: Sample) -> list[Finding]:
    lag_s = _number(sample.replication, "lag_s")
    if lag_s is None or lag_s <= LAG_S:
        return []
    level = Level.CRITICAL if lag_s > LONG_LAG_S else Level.WARNING
    text = f"a replica is {lag_s:.0f} s behind; after a failover what it lacks is lost"
    return [_finding("memory_replica_lag", level, lag_s, LAG_S, text)]


_LOOKS: Sequence[Callable[[Sample], list[Finding]]] = (
    _share,
    _persistence,
    _clients,
    _fragmentation,
    _fork,
    _replicas,
)


def _grown(newest: Sample, before: Sample) -> list[Finding]:
    found = []
    evicted = grown(before.stats, newest.stats, "evicted_keys")
    if evicted:
        level = Level.CRITICAL if (newest.policy or "").startswith("allkeys") else Level.WARNING
        text = f"Redis evicted {evicted} keys to stay below maxmemory (policy {newest.policy})"
        found.append(_finding("memory_evicting", level, evicted, 0, text))
    rejected = grown(before.stats, newest.stats, "rejected_connections")
    if rejected:
        text = f"Redis refused {rejected} connections: maxclients is reached"
        found.append(_finding("memory_clients_refused", Level.CRITICAL, rejected, 0, text))
    delayed = grown(before.persistence, newest.persistence, "aof_delayed_fsync")
    if delayed:
        text = f"the disk was too slow for {delayed} fsyncs of the AOF"
        found.append(_finding("memory_disk_slow", Level.WARNING, delayed, 0, text))
    return found


def _forecast(newest: Sample, ahead: Forecast) -> list[Finding]:
    if ahead.outlook is not Outlook.GROWING or ahead.at_ms is None or ahead.at_ms - newest.at_ms > SOON_MS:
        return []
    hours = (ahead.at_ms - newest.at_ms) / 3_600_000
    text = f"at today's slope maxmemory is reached in {hours:.0f} h"
    return [_finding("memory_fills", Level.WARNING, hours * 3600, SOON_MS / 1000, text)]


def _finding(code: str, level: Level, value: float | None, limit: float | None, text: str) -> Finding:
    return Finding(code=code, level=level, value=value, limit=limit, text=text)


def _number(facts: Facts, name: str) -> float | None:
    value: Any = facts.get(name)
    return None if value is None or isinstance(value, str) else float(value)
