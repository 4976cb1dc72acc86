"""Memory samples: one in a slot, whole when they come back, a week of them and a quarter of a year of quarter hours."""

from dataclasses import replace

import pytest
import redis

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.keys import Keys
from middleware.errors import QueueFull, QueueRefused, QueueUnavailable
from middleware.memory import (
    MAX_QUARTERS,
    MAX_SAMPLES,
    QUARTER_MS,
    QUARTERS_SUFFIX,
    Sample,
    latest,
    record,
    since,
    summary,
)
from middleware.memory_form import packed, unpacked
from middleware.slots import MINUTE_MS

KEY = "test:memory:__memory__"
#: A full hour.
AT_MS = 1_767_614_400_000
QUEUES = {
    "work": {"ready": 3, "delayed": 0, "oldest_ready_age_s": 1.5, "estimated_bytes": None},
    "idle.too": {"ready": 0, "oldest_ready_age_s": None},
}
FULL = Sample(
    at_ms=AT_MS,
    used_memory_bytes=1_000,
    peak_bytes=2_000,
    maxmemory_bytes=0,
    policy="noeviction",
    fragmentation=1.25,
    databases={"0": {"keys": 7, "expires": 1, "estimated_bytes": 99, "error": 0.01, "bound": "at_most"}},
    queues=QUEUES,
    memory={"rss_bytes": 3_000},
    clients={"connected": 4},
    stats={"evicted_keys": 2, "denied_commands": None},
    persistence={"rdb_last_save": "ok"},
    replication={"role": "master"},
    server={"version": "7.0.15", "uptime_s": 60},
    workers={"alive": 2},
)


def sample(minute: int = 0, **values: object) -> Sample:
    return Sample(at_ms=AT_MS + minute * MINUTE_MS, **values)


@pytest.mark.redis
def test_a_recorded_sample_comes_back_as_it_was(queue_client):
    assert record(queue_client, KEY, FULL)

    assert latest(queue_client, KEY, count=5) == [FULL]


@pytest.mark.redis
def test_a_sample_of_unknowns_comes_back_unknown(queue_client):
    record(queue_client, KEY, sample())

    assert latest(queue_client, KEY, count=1) == [sample()]


@pytest.mark.redis
def test_an_entry_that_a_later_version_wrote_shows_what_stands_in_plain(queue_client):
    fields = {"at_ms": AT_MS, "used_memory_bytes": 5, "form": 2, "sample": b"\xff\x00"}
    queue_client.xadd(KEY, fields, id=f"{AT_MS}-0")

    assert latest(queue_client, KEY, count=1) == [sample(used_memory_bytes=5)]


def test_what_is_packed_is_the_same_unpacked_and_nothing_else_is_taken():
    said = {"used_memory_bytes": 1, "queues": QUEUES, "policy": None}

    assert unpacked(packed(said)) == said
    for wrong in (b"", b"junk", packed({})[:-1], b"\x00" * 9):
        with pytest.raises(ValueError, match=r"no memory sample|Expecting value|codec"):
            unpacked(wrong)


@pytest.mark.redis
def test_a_second_writer_of_a_slot_is_harmless(queue_client):
    first = sample(used_memory_bytes=1)
    again = Sample(at_ms=AT_MS + 59_999, used_memory_bytes=2)

    assert [record(queue_client, KEY, each) for each in (first, again, first)] == [True, False, False]

    assert latest(queue_client, KEY, count=10) == [first]


@pytest.mark.redis
def test_a_slot_may_be_longer_than_a_minute(queue_client):
    taken = [record(queue_client, KEY, sample(minute), every_ms=5 * MINUTE_MS) for minute in range(11)]

    assert [minute for minute, was_first in enumerate(taken) if was_first] == [0, 5, 10]


@pytest.mark.redis
def test_a_late_sample_does_not_rewrite_the_past(queue_client):
    assert record(queue_client, KEY, sample(5))
    assert not record(queue_client, KEY, sample(4))
    assert record(queue_client, KEY, sample(6))

    assert [each.at_ms for each in latest(queue_client, KEY, count=10)] == [sample(5).at_ms, sample(6).at_ms]


@pytest.mark.redis
def test_the_newest_samples_are_read_oldest_first_over_many_pages(queue_client):
    for minute in range(450):
        record(queue_client, KEY, sample(minute))

    assert [each.at_ms for each in latest(queue_client, KEY, count=420)] == [sample(m).at_ms for m in range(30, 450)]
    assert [each.at_ms for each in since(queue_client, KEY, from_ms=sample(15).at_ms)] == [
        sample(m).at_ms for m in range(15, 450)
    ]


# -- quarter hours -------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_a_quarter_hour_is_summed_up_by_the_first_sample_after_it_once(queue_client):
    for minute in range(15):
        record(queue_client, KEY, sample(minute, used_memory_bytes=100 + minute % 7))
    assert latest(queue_client, KEY + QUARTERS_SUFFIX, count=5) == []

    for minute in (15, 16, 17):
        record(queue_client, KEY, sample(minute, used_memory_bytes=1))

    [quarter] = latest(queue_client, KEY + QUARTERS_SUFFIX, count=5)
    assert (quarter.at_ms, quarter.span_s, quarter.used_memory_bytes) == (sample(14).at_ms, 900, 106)


@pytest.mark.redis
def test_a_quarter_hour_that_nobody_summed_up_is_after_a_gap(queue_client):
    for minute in (0, 1, 2, 70):
        record(queue_client, KEY, sample(minute, used_memory_bytes=minute))

    [quarter] = latest(queue_client, KEY + QUARTERS_SUFFIX, count=5)
    assert (quarter.at_ms, quarter.used_memory_bytes) == (sample(2).at_ms, 2)


def test_a_summary_keeps_peaks_counters_lows_and_last_words():
    first = replace(FULL, stats={"evicted_keys": 2}, workers={"alive": 3}, queues={"work": {"ready": 900}})
    second = replace(
        FULL,
        at_ms=AT_MS + MINUTE_MS,
        used_memory_bytes=None,
        policy="allkeys-lru",
        stats={"evicted_keys": 7},
        workers={"alive": 1},
        queues={"work": {"ready": 4}, "new": {"ready": 1}},
    )

    found = summary([first, second])

    assert (found.at_ms, found.used_memory_bytes, found.policy) == (second.at_ms, 1_000, "allkeys-lru")
    assert (found.stats, found.workers) == ({"evicted_keys": 7}, {"alive": 1})
    assert found.queues == {"work": {"ready": 900}, "new": {"ready": 1}}
    with pytest.raises(ValueError, match="sum up"):
        summary([])


@pytest.mark.redis
def test_beyond_the_oldest_sample_quarter_hours_are_read(queue_client):
    for minute in range(90):
        record(queue_client, KEY, sample(minute, used_memory_bytes=minute))
    # What is older than a week is gone.
    queue_client.xtrim(KEY, minid=sample(50).at_ms, approximate=False)

    found = since(queue_client, KEY, from_ms=AT_MS)

    assert [one.span_s for one in found][:4] == [900, 900, 900, 0]
    assert [one.at_ms for one in found] == sorted({one.at_ms for one in found})
    assert found[-1].at_ms == sample(89).at_ms


@pytest.mark.redis
def test_both_streams_are_capped_and_small(queue_client):
    filled = {KEY: (MAX_SAMPLES, MINUTE_MS), KEY + QUARTERS_SUFFIX: (MAX_QUARTERS, QUARTER_MS)}
    body = {"used_memory_bytes": 5, "form": 1, "sample": b"x" * 340}
    for key, (most, step_ms) in filled.items():
        pipe = queue_client.pipeline(transaction=False)
        for place in range(most + 500):
            at_ms = AT_MS + (place - most - 500) * step_ms
            pipe.xadd(key, {"at_ms": at_ms, **body}, id=f"{at_ms}-0")
        pipe.execute()
    record(queue_client, KEY, sample(0))
    record(queue_client, KEY, sample(15))

    # Redis drops whole nodes.
    assert MAX_SAMPLES <= queue_client.xlen(KEY) <= MAX_SAMPLES + 100
    assert MAX_QUARTERS <= queue_client.xlen(KEY + QUARTERS_SUFFIX) <= MAX_QUARTERS + 100
    assert sum(queue_client.memory_usage(key, samples=0) for key in filled) < 9_000_000


# -- a Redis that does not take it ---------------------------------------------------------------------------------


@pytest.mark.redis
def test_a_full_redis_takes_a_sample_all_the_same(queue_client):
    if int(queue_client.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("scripts have no flags before Redis 7")
    queue_client.config_set("maxmemory", 1)
    with pytest.raises(redis.OutOfMemoryError):
        queue_client.set("x", 1)

    assert record(queue_client, KEY, FULL)
    assert not record(queue_client, KEY, FULL)

    assert latest(queue_client, KEY, count=5) == [FULL]


@pytest.mark.redis
def test_a_full_redis_that_knows_no_flags_says_that_it_is_full(queue_client, monkeypatch):
    monkeypatch.setattr("middleware.memory._ADD_WHEN_FULL", "no Lua at all")
    queue_client.config_set("maxmemory", 1)

    with pytest.raises(QueueFull):
        record(queue_client, KEY, FULL)


@pytest.mark.redis
def test_a_replica_refuses_a_sample_and_that_is_said(redis_server, queue_client):
    with EmbeddedRedis() as server, server.client(2) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", redis_server.port)
        with pytest.raises(QueueRefused, match="read-only"):
            record(client, KEY, FULL)


@pytest.mark.redis
def test_a_redis_that_is_away_is_said():
    with EmbeddedRedis() as server:
        client = server.client(2)
        server.stop()
        with pytest.raises(QueueUnavailable):
            record(client, KEY, FULL)
        client.close()


def test_the_public_shape_is_that_of_the_contract():
    shown = FULL.as_json()

    assert {
        *("at", "used_memory_bytes", "peak_bytes", "maxmemory_bytes", "policy", "fragmentation", "databases", "queues")
    } <= shown.keys()
    assert shown["at"] == "2026-01-05T12:00:00+00:00"
    assert {"keys", "expires", "estimated_bytes"} <= shown["databases"]["0"].keys()


def test_the_stream_of_summaries_is_the_one_that_the_keys_name():
    keys = Keys("chat:queue")

    assert keys.memory_quarters == keys.memory + QUARTERS_SUFFIX
