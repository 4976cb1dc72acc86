"""Memory samples: true numbers, None for what is not known, one a minute, a week of them."""

from collections.abc import Callable, Iterator

import pytest
import redis

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import QueueFull, QueueUnavailable
from middleware.memory import MAX_SAMPLES, Sample, latest, record, take_sample
from middleware.slots import MINUTE_MS

pytestmark = pytest.mark.redis

KEY = "test:memory:__memory__"
AT_MS = 1_767_614_400_000
QUEUES = {
    "work": {"ready": 3, "delayed": 0, "oldest_ready_age_s": 1.5},
    "idle.too": {"ready": 0, "oldest_ready_age_s": None},
}


@pytest.fixture
def make_user(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Callable[..., redis.Redis]]:
    """Client of a user with ``commands`` only."""
    made: dict[str, redis.Redis] = {}

    def make(*commands: str) -> redis.Redis:
        name = f"user-{len(made)}"
        queue_client.acl_setuser(name, enabled=True, reset=True, passwords=["+x"], keys=["*"], commands=list(commands))
        made[name] = redis.Redis(port=redis_server.port, db=2, username=name, password="x")
        return made[name]

    yield make
    for name, client in made.items():
        client.close()
        queue_client.acl_deluser(name)


def sample(minute: int = 0, **values: object) -> Sample:
    return Sample(at_ms=AT_MS + minute * MINUTE_MS, **values)


def test_a_sample_has_what_redis_says_of_itself(redis_server: EmbeddedRedis, queue_client):
    queue_client.config_set("maxmemory", 50_000_000)
    queue_client.set("a", 1)
    queue_client.set("b", 2, ex=100)
    with redis_server.client(0) as other:
        other.set("c", 1)
    taken = take_sample(queue_client, queues=QUEUES)
    info = queue_client.info("memory")

    assert abs(taken.at_ms - queue_client.time()[0] * 1000) <= 2_000
    assert taken.maxmemory_bytes == 50_000_000
    assert taken.policy == "noeviction"
    assert 0 < taken.used_memory_bytes <= taken.peak_bytes
    assert taken.used_memory_bytes == pytest.approx(info["used_memory"], rel=0.2)
    assert isinstance(taken.fragmentation, float)
    assert taken.databases == {
        "0": {"keys": 1, "expires": 0, "estimated_bytes": None},
        "2": {"keys": 2, "expires": 1, "estimated_bytes": None},
    }
    assert taken.queues == QUEUES


def test_the_bytes_of_the_queues_are_estimated_from_their_keys(queue_client):
    queue_client.hset("q.msgs", mapping={f"id-{number}": "x" * 300 for number in range(5_000)})
    queue_client.rpush("q", *range(5_000))
    taken = take_sample(queue_client, queues={}, keys=["q", "q.msgs", "q.absent"])

    assert 5_000 * 300 < taken.databases["2"]["estimated_bytes"] < 5_000 * 600


def test_what_a_user_may_not_ask_is_none_and_the_depths_are_there(queue_client, make_user):
    queue_client.set("q", 1)
    taken = take_sample(make_user("+time", "+select"), queues=QUEUES, keys=["q"])

    shown = taken.as_json()
    assert shown["queues"] == QUEUES
    assert [
        shown[name] for name in ("used_memory_bytes", "peak_bytes", "maxmemory_bytes", "policy", "fragmentation")
    ] == [None] * 5
    assert shown["databases"] == {}


def test_a_user_without_memory_usage_gets_no_estimate(queue_client, make_user):
    queue_client.set("q", 1)
    taken = take_sample(make_user("+time", "+select", "+info"), queues={}, keys=["q"])

    assert taken.databases["2"] == {"keys": 1, "expires": 0, "estimated_bytes": None}
    assert taken.used_memory_bytes


def test_a_recorded_sample_comes_back_as_it_was(queue_client):
    written = sample(
        used_memory_bytes=1_000,
        peak_bytes=2_000,
        maxmemory_bytes=0,
        policy="noeviction",
        fragmentation=1.25,
        databases={"0": {"keys": 7, "expires": 1, "estimated_bytes": None}},
        queues=QUEUES,
    )

    assert record(queue_client, KEY, written)

    assert latest(queue_client, KEY, count=5) == [written]


def test_a_sample_of_unknowns_comes_back_unknown(queue_client):
    record(queue_client, KEY, sample())

    assert latest(queue_client, KEY, count=1) == [sample()]


def test_a_second_writer_of_a_minute_is_harmless(queue_client):
    first = sample(used_memory_bytes=1)
    again = Sample(at_ms=AT_MS + 59_999, used_memory_bytes=2)

    assert [record(queue_client, KEY, each) for each in (first, again, first)] == [True, False, False]

    assert latest(queue_client, KEY, count=10) == [first]


def test_a_late_sample_does_not_rewrite_the_past(queue_client):
    assert record(queue_client, KEY, sample(5))
    assert not record(queue_client, KEY, sample(4))
    assert record(queue_client, KEY, sample(6))

    assert [each.at_ms for each in latest(queue_client, KEY, count=10)] == [sample(5).at_ms, sample(6).at_ms]


def test_the_newest_samples_are_read_oldest_first(queue_client):
    for minute in range(10):
        record(queue_client, KEY, sample(minute))

    assert [each.at_ms for each in latest(queue_client, KEY, count=3)] == [sample(m).at_ms for m in (7, 8, 9)]


def test_the_stream_keeps_a_week_and_stays_small(queue_client):
    pipe = queue_client.pipeline(transaction=False)
    fields = {f"field.{number}": number for number in range(24)}
    for minute in range(MAX_SAMPLES + 500):
        pipe.xadd(KEY, fields, id=f"{AT_MS + minute * MINUTE_MS}-0")
    pipe.execute()

    assert record(queue_client, KEY, sample(MAX_SAMPLES + 500))

    # Redis drops whole nodes of 100 entries.
    assert MAX_SAMPLES <= queue_client.xlen(KEY) <= MAX_SAMPLES + 100
    assert queue_client.memory_usage(KEY, samples=0) < 3_000_000


def test_the_public_shape_is_that_of_the_contract():
    shown = sample(
        databases={"2": {"keys": 1, "expires": 0, "estimated_bytes": 10}}, queues={"work": {"ready": 1}}
    ).as_json()

    assert list(shown) == [
        "at",
        "used_memory_bytes",
        "peak_bytes",
        "maxmemory_bytes",
        "policy",
        "fragmentation",
        "databases",
        "queues",
    ]
    assert shown["at"] == "2026-01-05T12:00:00+00:00"


def test_a_full_redis_refuses_the_record_and_says_so(queue_client):
    queue_client.config_set("maxmemory", 1)
    with pytest.raises(QueueFull):
        record(queue_client, KEY, sample())


def test_a_redis_that_is_away_is_not_a_sample_of_nothing():
    with EmbeddedRedis() as server:
        client = server.client(2)
        server.stop()
        with pytest.raises(QueueUnavailable):
            take_sample(client, queues={}, keys=["q"])
        client.close()
