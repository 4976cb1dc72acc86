"""Limits that all processes share: all or nothing, on Redis' clock, gone by themselves."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from middleware.errors import QueueUnavailable
from middleware.limits.limits import Bucket, Limits, Place, Taking

pytestmark = pytest.mark.redis

LONG_MS = 600_000
FAR = Bucket(name="pair", interval_ms=LONG_MS)


@pytest.fixture
def limits(redis_server, queue_client) -> Iterator[Limits]:
    with closing(Limits(redis_server.client(3), namespace="test:limits")) as made:
        yield made


def place(holder: str, *, limit: int = 1, for_ms: int = LONG_MS) -> Place:
    return Place(name="line-1", limit=limit, holder=holder, for_ms=for_ms)


def test_a_bucket_gives_its_burst_and_then_says_how_long(limits):
    bucket = Bucket(name="line-1", interval_ms=LONG_MS, burst=3)

    assert [limits.take(record="-", buckets=[bucket]).wait_ms for _ in range(3)] == [0, 0, 0]
    assert LONG_MS * 0.9 < limits.take(record="-", buckets=[bucket]).wait_ms <= LONG_MS


def test_nothing_is_taken_unless_all_is_there(limits):
    whole = Bucket(name="whole", interval_ms=LONG_MS)
    limits.take(record="-", buckets=[FAR])

    assert limits.take(record="-", place=place("a"), buckets=[whole, FAR]).wait_ms > 0
    assert limits.take(record="-", place=place("b"), buckets=[whole]).wait_ms == 0


def test_a_place_is_one_holders_until_it_is_left_or_its_time_is_over(limits):
    assert limits.take(record="-", place=place("a")).wait_ms == 0
    assert limits.take(record="-", place=place("a")).wait_ms == 0
    assert limits.take(record="-", place=place("b")) == Taking(wait_ms=None, by="place")
    limits.leave(place("b"))
    assert limits.take(record="-", place=place("b")).wait_ms is None
    limits.leave(place("a"))
    assert limits.take(record="-", place=place("b", for_ms=1)).wait_ms == 0
    while limits.client.exists("test:limits:place:line-1"):
        pass
    assert limits.take(record="-", place=place("c")).wait_ms == 0


def test_a_race_for_the_last_place_has_one_winner(limits):
    start, taken = threading.Barrier(20), []

    def run(number: int) -> None:
        start.wait()
        if limits.take(record="-", place=place(f"h{number}")).wait_ms == 0:
            taken.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_a_bucket_that_is_held_off_stays_so_longer_every_time_in_a_row(limits):
    bucket = Bucket(name="pair", interval_ms=6_000, burst=10)

    waits = [limits.hold_off(bucket, base_ms=1_000, factor=4, cap_ms=50_000) for _ in range(5)]

    assert waits == [1_000, 4_000, 16_000, 50_000, 50_000]
    assert 20_000 < limits.take(record="-", buckets=[bucket]).wait_ms <= 50_000


def test_a_shorter_hold_does_not_shorten_a_longer_wait(limits):
    limits.take(record="-", buckets=[FAR])
    limits.hold_off(FAR, base_ms=1, cap_ms=1)

    assert limits.take(record="-", buckets=[FAR]).wait_ms > LONG_MS * 0.9


def test_a_record_changes_only_from_what_was_seen(limits):
    assert limits.swap("line-1", seen="", new="open")
    assert not limits.swap("line-1", seen="", new="lost")
    assert (limits.record("line-1"), limits.all_records()) == ("open", {"line-1": "open"})
    assert limits.take(record="line-1").record == "open"
    assert limits.swap("line-1", seen="open", new="")
    assert (limits.record("line-1"), limits.all_records()) == ("", {})


def test_everything_but_records_goes_by_itself(limits):
    limits.take(record="-", place=place("a"), buckets=[FAR])
    limits.hold_off(FAR, base_ms=10, cap_ms=10)
    limits.swap("line-1", seen="", new="open")

    assert {key for key in limits.client.scan_iter() if limits.client.ttl(key) == -1} == {b"test:limits:records"}
    assert limits.client.connection_pool.connection_kwargs["db"] == 3


def test_a_redis_that_is_not_there_is_an_error_of_ours():
    limits = Limits(redis.Redis(port=1), namespace="test:limits")

    with pytest.raises(QueueUnavailable):
        limits.take(record="line-1")


def test_a_quota_counts_each_holder_once_however_long_ago_it_began_within_its_time(limits):
    def quota(holder: str, *, for_ms: int = LONG_MS) -> Place:
        return Place(name="line-1:bulk", limit=2, holder=holder, for_ms=for_ms)

    assert limits.take(record="-", quota=quota("a", for_ms=LONG_MS // 2)).wait_ms == 0
    assert [limits.take(record="-", quota=quota(name)).wait_ms for name in "aba"] == [0, 0, 0]
    refused = limits.take(record="-", place=place("c"), quota=quota("c"), buckets=[FAR])

    # The first of the two leaves after its time; nothing else was taken meanwhile.
    assert (refused.by, LONG_MS * 0.9 < refused.wait_ms <= LONG_MS) == ("quota", True)
    assert limits.take(record="-", place=place("d"), buckets=[FAR]).wait_ms == 0


def test_what_said_no_is_told_by_name(limits):
    limits.take(record="-", place=place("a"), buckets=[FAR])

    assert limits.take(record="-", buckets=[Bucket(name="near", interval_ms=1), FAR]).by == "pair"
    assert limits.take(record="-", place=place("b")).by == "place"


def test_a_record_that_is_shut_lets_nobody_take_and_costs_nothing(limits):
    limits.swap("line-1", seen="", new="!down")

    refused = limits.take(record="line-1", place=place("a"), quota=place("a"), buckets=[FAR])

    assert refused == Taking(wait_ms=None, record="!down", by="record")
    limits.swap("line-1", seen="!down", new="up")
    assert limits.take(record="line-1", place=place("b"), quota=place("b"), buckets=[FAR]).wait_ms == 0


def test_a_bucket_without_an_interval_only_holds_off(limits):
    brake = Bucket(name="brake", interval_ms=0)

    assert [limits.take(record="-", buckets=[brake]).wait_ms for _ in range(5)] == [0] * 5
    limits.hold_off(brake, base_ms=5_000, cap_ms=5_000)
    assert 0 < limits.take(record="-", buckets=[brake]).wait_ms <= 5_000


def test_a_place_with_a_short_time_does_not_shorten_that_of_another(limits):
    wide = [Place(name="line-1", limit=2, holder=name, for_ms=for_ms) for name, for_ms in (("a", LONG_MS), ("b", 1))]
    for one in wide:
        limits.take(record="-", place=one)

    assert limits.client.pttl("test:limits:place:line-1") > LONG_MS * 0.9
