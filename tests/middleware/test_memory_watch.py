"""A thread samples when nothing else can; what cannot be written is kept; a process that grew asks to be replaced."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from waiting import stays, until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.clock import SystemClock
from middleware.errors import QueueUnavailable
from middleware.memory import Sample, latest, slot_of
from middleware.memory_watch import (
    KEPT,
    RSS_LOOKS,
    MemoryWatch,
    WatchOptions,
    current_findings,
    is_missed,
)
from middleware.slots import MINUTE_MS

pytestmark = pytest.mark.redis

KEY = "chat:queue:__memory__"
MakeWatch = Callable[..., MemoryWatch]


@pytest.fixture
def make_watch(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[MakeWatch]:
    made: list[MemoryWatch] = []

    def make(url: str | None = None, own_bytes: Callable[[], int | None] = lambda: 50_000_000, **options: Any):
        broker = CarrierBroker(
            url=url or redis_server.url(2), options=lambda: CarrierOptions(namespace="chat:queue", dead_suffix=".dead")
        )
        broker.declare_queue("work")
        made.append(
            MemoryWatch(
                broker, clock=SystemClock(), options=WatchOptions(**options), chance=lambda: 0.0, own_bytes=own_bytes
            )
        )
        return made[-1]

    yield make
    for watch in made:
        watch.stop()
        watch.broker.close()


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage() == name]


# -- whose turn it is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newest_s", "now_s", "missed"),
    [
        (None, 600, True),
        (600, 620, False),
        (600, 679, False),  # its grace is not over
        (600, 680, True),
        (660, 680, False),
        (659, 680, True),
        (700, 680, False),
    ],
)
def test_a_slot_counts_as_missed_when_its_grace_is_over(newest_s, now_s, missed):
    newest_ms = None if newest_s is None else newest_s * 1_000

    assert is_missed(newest_ms, now_ms=now_s * 1_000, options=WatchOptions()) is missed


def test_who_comes_second_finds_the_slot_sampled(make_watch, queue_client, caplog):
    first, second = make_watch(grace_ms=0), make_watch(grace_ms=0)

    assert first.sample_if_missed()
    # A minute may turn between the two; then its sample is the second's to take.
    before = latest(queue_client, KEY, count=5)
    assert second.sample_if_missed() is (len(latest(queue_client, KEY, count=5)) > len(before))

    assert len(events(caplog, "memory.slot_missed")) == len(latest(queue_client, KEY, count=5))


def test_many_processes_at_once_leave_one_sample_in_a_slot(make_watch, queue_client):
    watches = [make_watch() for _ in range(6)]
    begin = threading.Barrier(len(watches))

    def sample(watch: MemoryWatch) -> None:
        begin.wait(10)
        watch.sample(taken_by="thread")

    threads = [threading.Thread(target=sample, args=(watch,)) for watch in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    kept = latest(queue_client, KEY, count=10)
    slots = [slot_of(one.at_ms) for one in kept]
    assert len(slots) == len(set(slots))
    assert {slot_of(watch.recent[0].at_ms) for watch in watches} == set(slots)


# -- a Redis that takes nothing ------------------------------------------------------------------------------------


def test_the_thread_samples_a_full_redis_whose_queue_takes_no_message(make_watch, queue_client, caplog):
    caplog.set_level(logging.INFO)
    watch = make_watch(grace_ms=0, every_ms=MINUTE_MS)
    watch.broker.transitions.stats(["work"])
    queue_client.config_set("maxmemory", 1)

    watch.start()
    until(lambda: watch.recent, within_ms=10_000)
    watch.stop()

    assert watch.recent[0].maxmemory_bytes == 1
    assert [(one.taken_by, one.maxmemory_bytes) for one in events(caplog, "memory.sampled")] == [("thread", 1)]
    if int(queue_client.info("server")["redis_version"].split(".")[0]) >= 7:
        until(lambda: latest(queue_client, KEY, count=1), within_ms=5_000)


def test_what_a_read_only_redis_does_not_take_is_kept_and_written_later(make_watch, caplog):
    with EmbeddedRedis() as server, server.client(2) as client:
        watch = make_watch(url=server.url(2))
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        watch.sample(taken_by="thread")
        watch.sample(taken_by="thread")
        assert (len(watch.recent), len(watch.unwritten), latest(client, KEY, count=5)) == (2, 2, [])
        assert [one.code for one in events(caplog, "memory.not_recorded")] == ["queue_refused"] * 2

        client.execute_command("REPLICAOF", "NO", "ONE")
        watch.sample(taken_by="actor")

        assert len(watch.unwritten) == 0
        assert latest(client, KEY, count=5)[0] == watch.recent[0]
        watch.broker.close()


def test_all_that_was_kept_is_written_in_its_order(make_watch, queue_client):
    watch = make_watch()
    now_ms = queue_client.time()[0] * 1_000
    missed = [Sample(at_ms=now_ms - minutes * MINUTE_MS, used_memory_bytes=minutes) for minutes in (3, 2)]
    watch.unwritten.extend(missed)

    taken = watch.sample(taken_by="thread")

    assert latest(queue_client, KEY, count=9) == [*missed, taken]


def test_what_is_kept_is_bounded(make_watch, monkeypatch):
    watch = make_watch()
    taken = watch.sample(taken_by="actor")
    watch.unwritten.extend([taken] * (KEPT + 50))
    watch.recent.extend([taken] * (KEPT + 50))

    assert (len(watch.unwritten), len(watch.recent)) == (KEPT, KEPT)


def test_a_redis_that_is_away_is_said_and_the_thread_goes_on(make_watch, caplog):
    with EmbeddedRedis() as server:
        watch = make_watch(url=server.url(2), every_ms=200, grace_ms=0, rss_every_ms=20)
        server.stop()
        with pytest.raises(QueueUnavailable):
            watch.sample_if_missed()
        watch.start()
        until(lambda: len(events(caplog, "memory.look_failed")) >= 2, within_ms=20_000)

        server.start()
        until(lambda: watch.recent, within_ms=20_000)
        watch.stop()
        watch.broker.close()


def test_a_user_without_info_still_leaves_the_depths(redis_server, queue_client, make_watch):
    queue_client.acl_setuser(
        "limited", enabled=True, reset=True, passwords=["+x"], keys=["*"], commands=["+@all", "-info", "-memory|usage"]
    )
    watch = make_watch(url=f"redis://limited:x@127.0.0.1:{redis_server.port}/2")

    taken = watch.sample(taken_by="actor")
    watch.broker.close()
    queue_client.acl_deluser("limited")

    assert (taken.used_memory_bytes, taken.queues["work"]["ready"]) == (None, 0)
    assert latest(queue_client, KEY, count=1) == [taken]


def test_a_listener_that_fails_costs_no_sample(make_watch, queue_client, caplog):
    def fail(sample):
        raise RuntimeError("row (5511988887777) already exists")

    watch = make_watch(recorded=fail)
    watch.sample(taken_by="actor")

    assert [one.code for one in events(caplog, "memory.row_failed")] == ["RuntimeError"]
    assert "5511988887777" not in caplog.text
    assert len(latest(queue_client, KEY, count=5)) == 1


def test_a_listener_is_told_of_what_this_process_recorded_and_no_more(make_watch):
    told = []
    watch = make_watch(recorded=told.append)

    first = watch.sample(taken_by="actor")
    again = watch.sample(taken_by="actor")

    same_slot = slot_of(first.at_ms) == slot_of(again.at_ms)
    assert told == ([first] if same_slot else [first, again])


# -- what is wrong -------------------------------------------------------------------------------------------------


def test_that_there_is_no_sample_is_found(queue_client, make_watch):
    assert [one.code for one in current_findings(queue_client, KEY)] == ["memory_not_sampled"]

    make_watch().sample(taken_by="actor")

    assert "memory_not_sampled" not in [one.code for one in current_findings(queue_client, KEY)]


# -- this process --------------------------------------------------------------------------------------------------


def test_a_process_over_its_limit_asks_once_to_be_replaced(make_watch, caplog):
    asked, size = [], [90]
    watch = make_watch(own_bytes=lambda: size[0], max_rss_bytes=100, replace=lambda: asked.append(1) or True)

    watch.look_at_own()
    for size[0] in (101, 101, 99, *[101] * (RSS_LOOKS - 1)):
        watch.look_at_own()
    assert asked == []
    for _ in range(5):
        watch.look_at_own()

    assert asked == [1]
    [said] = events(caplog, "worker.too_large")
    assert (said.rss_bytes, said.limit_bytes) == (101, 100)


def test_where_nobody_starts_another_it_goes_on_and_says_so(make_watch, caplog):
    watch = make_watch(own_bytes=lambda: 200, max_rss_bytes=100)
    for _ in range(10):
        watch.look_at_own()

    assert len(events(caplog, "worker.too_large_to_keep")) == 1


@pytest.mark.parametrize("own", [None, 10**12])
def test_nobody_asks_where_nothing_is_set_or_known(make_watch, own):
    limit = None if own else 100
    watch = make_watch(own_bytes=lambda: own, max_rss_bytes=limit, replace=lambda: pytest.fail("asked"))
    for _ in range(10):
        watch.look_at_own()


def test_the_thread_looks_at_its_process_also_between_samples(make_watch):
    asked = threading.Event()
    watch = make_watch(
        own_bytes=lambda: 200,
        max_rss_bytes=100,
        rss_every_ms=10,
        every_ms=3_600_000,
        replace=lambda: asked.set() or True,
    )
    watch.start()

    assert asked.wait(10)
    stays(lambda: len(watch.recent) <= 1, for_ms=100)
