"""What is wrong with the memory: each limit from both sides, and nothing of what is not known."""

from dataclasses import replace

import pytest

from middleware.memory import Sample
from middleware.memory_findings import (
    Level,
    absence,
    findings,
    forecast_of,
    restarted,
)
from middleware.memory_forecast import Forecast, Outlook

GB = 1024**3
AT_MS = 1_800_000_000_000
GOOD = Sample(
    at_ms=AT_MS,
    used_memory_bytes=GB // 2,
    maxmemory_bytes=GB,
    policy="noeviction",
    fragmentation=1.1,
    clients={"connected": 10, "limit": 100},
    stats={"evicted_keys": 5, "rejected_connections": 0, "latest_fork_us": 1_000},
    persistence={"rdb_last_save": "ok", "aof_last_write": "ok", "aof_last_rewrite": "ok", "aof_delayed_fsync": 0},
    replication={"lag_s": 1},
    server={"uptime_s": 1_000},
)


def codes(*samples: Sample, ahead: Forecast | None = None) -> list[tuple[str, Level]]:
    return [(one.code, one.level) for one in findings(samples, ahead=ahead)]


def test_a_healthy_server_has_none_and_neither_has_one_that_says_nothing():
    assert codes(GOOD, replace(GOOD, at_ms=AT_MS + 60_000)) == []
    assert codes(Sample(at_ms=AT_MS)) == []
    assert findings([]) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"used_memory_bytes": int(GB * 0.74)}, []),
        ({"used_memory_bytes": int(GB * 0.76)}, [("memory_high", Level.WARNING)]),
        ({"used_memory_bytes": int(GB * 0.91)}, [("memory_high", Level.CRITICAL)]),
        ({"maxmemory_bytes": 0}, [("memory_unlimited", Level.WARNING)]),
        ({"fragmentation": 1.6}, [("memory_fragmented", Level.WARNING)]),
        ({"fragmentation": 0.8}, [("memory_fragmented", Level.WARNING)]),
        ({"fragmentation": 6.0, "used_memory_bytes": 1_000_000}, []),
        ({"clients": {"connected": 81, "limit": 100}}, [("memory_clients", Level.WARNING)]),
        ({"stats": {"latest_fork_us": 200_000}}, [("memory_fork_slow", Level.WARNING)]),
        ({"stats": {"latest_fork_us": 2_000_000}}, [("memory_fork_slow", Level.CRITICAL)]),
        ({"replication": {"lag_s": 6}}, [("memory_replica_lag", Level.WARNING)]),
        ({"replication": {"lag_s": 31}}, [("memory_replica_lag", Level.CRITICAL)]),
        ({"persistence": {"rdb_last_save": "err"}}, [("memory_not_saved", Level.CRITICAL)]),
        ({"persistence": {"aof_last_write": "err"}}, [("memory_not_saved", Level.CRITICAL)]),
    ],
)
def test_each_limit_is_told(change, found):
    assert codes(replace(GOOD, **change)) == found


@pytest.mark.parametrize(
    ("policy", "level"), [("allkeys-lru", Level.CRITICAL), ("volatile-lru", Level.WARNING), (None, Level.WARNING)]
)
def test_evicted_keys_count_since_the_sample_before(policy, level):
    later = replace(GOOD, at_ms=AT_MS + 60_000, policy=policy, stats={"evicted_keys": 9}, server={"uptime_s": 1_060})

    assert codes(later) == []
    assert codes(GOOD, later) == [("memory_evicting", level)]


def test_refused_connections_and_a_slow_disk_are_told_the_critical_first():
    later = replace(
        GOOD,
        stats={"rejected_connections": 3},
        persistence={"aof_delayed_fsync": 2},
        server={"uptime_s": 1_060},
    )

    assert codes(GOOD, later) == [
        ("memory_clients_refused", Level.CRITICAL),
        ("memory_disk_slow", Level.WARNING),
    ]


def test_counters_of_a_server_that_was_started_again_are_not_compared():
    later = replace(GOOD, stats={"evicted_keys": 9}, server={"uptime_s": 5})

    assert restarted(GOOD, later)
    assert codes(GOOD, later) == []


def test_a_maxmemory_that_is_near_in_time_is_told():
    hour_ms = 3_600_000
    soon = Forecast(outlook=Outlook.GROWING, at_ms=AT_MS + 5 * hour_ms)
    later = Forecast(outlook=Outlook.GROWING, at_ms=AT_MS + 30 * hour_ms)

    assert codes(GOOD, ahead=soon) == [("memory_fills", Level.WARNING)]
    assert codes(GOOD, ahead=later) == codes(GOOD, ahead=Forecast(outlook=Outlook.STEADY)) == []


def test_absent_samples_are_an_alarm():
    assert absence(AT_MS, now_ms=AT_MS + 180_000) is None
    assert absence(AT_MS, now_ms=AT_MS + 181_000).level is Level.CRITICAL
    assert absence(AT_MS, now_ms=AT_MS + 181_000, every_ms=600_000) is None
    assert "there is none" in absence(None, now_ms=AT_MS).text
    assert absence(AT_MS + 3_600_000, now_ms=AT_MS).level is Level.CRITICAL


def test_a_forecast_begins_with_the_server():
    used = [*range(400, 500), *range(100, 300)]
    samples = [
        replace(
            GOOD,
            at_ms=AT_MS + at * 60_000,
            used_memory_bytes=mb * 1_000_000,
            server={"uptime_s": at if at < 100 else at - 100},
        )
        for at, mb in enumerate(used)
    ]

    assert forecast_of(samples).slope_bytes_per_day == pytest.approx(1_000_000 * 1_440, rel=0.01)
    assert forecast_of([]).outlook is Outlook.UNKNOWN
