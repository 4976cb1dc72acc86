"""A sample says what Redis says of itself, and bytes by database that are true, within a bound on what it costs."""

import itertools
import random
from collections.abc import Callable, Iterator

import pytest
import redis
import servers
from waiting import until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.values import NewMessage
from middleware.errors import QueueUnavailable
from middleware.memory_databases import MINUTE_KEYS, Thorough
from middleware.memory_estimate import unseen_bytes
from middleware.memory_keys import census, draw, sizes, survey
from middleware.memory_sample import take_sample, take_sample_of

pytestmark = pytest.mark.redis

QUEUES = {"work": {"ready": 3}, "idle": {"ready": 0}}
MakeUser = Callable[..., redis.Redis]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One that nothing else of the suite has used: what is left of that is missing from the bytes that keys explain."""
    servers.require("redis")
    with EmbeddedRedis(binary=servers.REDIS_BINARY) as server:
        yield server


@pytest.fixture
def make_user(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[MakeUser]:
    """Client of a user with ``commands`` only."""
    made: dict[str, redis.Redis] = {}

    def make(*commands: str, keys: str = "*") -> redis.Redis:
        name = f"user-{len(made)}"
        queue_client.acl_setuser(name, enabled=True, reset=True, passwords=["+x"], keys=[keys], commands=list(commands))
        made[name] = redis.Redis(port=redis_server.port, db=2, username=name, password="x")
        return made[name]

    yield make
    for name, client in made.items():
        client.close()
        queue_client.acl_deluser(name)


#: Sets keys of the sizes that it is given; ARGV: prefix, first number, expiry in seconds or 0, sizes.
FILL = """
for index = 4, #ARGV do
  local key, value = string.format("%s:%07d", ARGV[1], ARGV[2] + index), string.rep("x", ARGV[index])
  if ARGV[3] == "0" then redis.call("SET", key, value) else redis.call("SET", key, value, "EX", ARGV[3]) end
end
"""


def fill(client: redis.Redis, count: int, size: Callable[[], int], *, prefix: str = "k", ex: int = 0) -> None:
    for start in range(0, count, 5_000):
        client.eval(FILL, 0, prefix, start, ex, *(size() for _ in range(min(5_000, count - start))))


def fill_database(server: EmbeddedRedis, number: int, count: int, size: Callable[[], int], *, ex: int = 0) -> int:
    """Fill a database; returns its bytes: of every key what the server says, and the tables.

    ``test_memory_figures.py`` has what a server's memory grew by, of which a small database is too little to be seen.
    """
    with server.client(number) as client:
        fill(client, count, size, ex=ex)
        everyone = census(client, most=count)
    assert everyone is not None
    return sum(size for _, size in everyone) + unseen_bytes(count, count if ex else 0)


# -- what the server says ------------------------------------------------------------------------------------------


def test_a_sample_has_what_redis_says_of_itself(redis_server, queue_client):
    queue_client.config_set("maxmemory", 50_000_000)
    queue_client.set("a", 1)
    queue_client.set("b", 2, ex=100)

    taken = take_sample(queue_client, queues=QUEUES, workers={"alive": 2})

    info = queue_client.info()
    assert abs(taken.at_ms - queue_client.time()[0] * 1000) <= 2_000
    assert (taken.maxmemory_bytes, taken.policy) == (50_000_000, "noeviction")
    assert 0 < taken.used_memory_bytes <= taken.peak_bytes
    assert isinstance(taken.fragmentation, float)
    assert taken.server["version"] == info["redis_version"]
    assert taken.clients["limit"] == info["maxclients"]
    assert (taken.replication["role"], taken.replication["lag_s"]) == ("master", None)
    assert taken.persistence["rdb_last_save"] == "ok"
    assert taken.stats["commands"] > 0
    assert taken.workers == {"alive": 2}
    assert {name: facts["ready"] for name, facts in taken.queues.items()} == {"work": 3, "idle": 0}
    assert (taken.databases["2"]["keys"], taken.databases["2"]["expires"]) == (2, 1)


def test_a_replica_is_seen_with_its_lag(redis_server, queue_client):
    # Else a replica's first copy waits five seconds for more replicas.
    queue_client.config_set("repl-diskless-sync-delay", 0)
    with EmbeddedRedis() as server, server.client(0) as replica:
        replica.config_set("masterauth", redis_server.password)
        replica.execute_command("REPLICAOF", "127.0.0.1", redis_server.port)
        until(lambda: queue_client.info("replication").get("slave0", {}).get("state") == "online", within_ms=15_000)
        found = take_sample(queue_client, queues={}).replication

        assert found["replicas"] == 1
        assert found["lag_s"] <= 30
        assert found["behind_bytes"] >= 0


def test_what_a_user_may_not_ask_is_none_and_the_depths_are_there(queue_client, make_user):
    queue_client.set("q", 1)

    shown = take_sample(make_user("+time", "+select"), queues=QUEUES, keys={"work": ["q"]}).as_json()

    assert shown["queues"] == {
        "work": {"ready": 3, "estimated_bytes": None},
        "idle": {"ready": 0, "estimated_bytes": None},
    }
    for name in ("used_memory_bytes", "peak_bytes", "maxmemory_bytes", "policy", "fragmentation"):
        assert shown[name] is None
    assert shown["databases"] == {}
    assert set(shown["stats"].values()) == {None}


def test_a_user_without_memory_usage_gets_no_estimate(queue_client, make_user):
    queue_client.set("q", 1)

    taken = take_sample(make_user("+time", "+select", "+info"), queues={"work": {}}, keys={"work": ["q"]})

    assert taken.databases["2"] == {"keys": 1, "expires": 0, "estimated_bytes": None, "error": None, "bound": None}
    assert taken.used_memory_bytes


def test_a_database_that_a_user_may_not_look_at_has_no_estimate_and_the_others_have(
    redis_server, queue_client, make_user, caplog
):
    queue_client.set("q", 1)
    with redis_server.client(3) as limits:
        limits.set("somebody:else", 1)
    user = make_user("+time", "+select|2", "+info", "+memory|usage", "+scan", "+hello", keys="q*")

    taken = take_sample(user, queues={"work": {}}, keys={"work": ["q"]})

    assert taken.databases["2"]["estimated_bytes"] > 0
    assert taken.databases["2"]["bound"] == "about"
    assert taken.databases["3"] == {"keys": 1, "expires": 0, "estimated_bytes": None, "error": None, "bound": None}
    assert "memory.database_refused" in caplog.text


def test_a_user_with_a_right_to_our_keys_alone_knows_these_at_least(queue_client, make_user):
    queue_client.set("q", 1)
    queue_client.set("stranger", 1)
    user = make_user("+time", "+select|2", "+info", "+memory|usage", "+scan", "+hello", keys="q*")

    found = take_sample(user, queues={"work": {}}, keys={"work": ["q"]}).databases["2"]

    assert found["bound"] == "at_least"
    assert 0 < found["estimated_bytes"] < 500


def test_a_redis_that_is_away_is_not_a_sample_of_nothing():
    with EmbeddedRedis() as server:
        client = server.client(2)
        server.stop()
        with pytest.raises(QueueUnavailable):
            take_sample(client, queues={}, keys={"work": ["q"]})
        client.close()


# -- bytes ---------------------------------------------------------------------------------------------------------


def test_every_database_has_the_bytes_that_it_took(redis_server, queue_client):
    """The cache's are what the others leave; those are counted."""
    dice = random.Random(1)  # noqa: S311
    truth = {
        "0": fill_database(redis_server, 0, 20_000, lambda: int(dice.lognormvariate(6, 1)), ex=3_000),
        "1": fill_database(redis_server, 1, 800, lambda: 20_000, ex=60),
        "3": fill_database(redis_server, 3, 900, lambda: 9_000, ex=60),
    }

    found = take_sample(queue_client, queues={}).databases

    assert {name: facts["bound"] for name, facts in found.items()} == dict.fromkeys("013", "about")
    for name, size in truth.items():
        assert found[name]["estimated_bytes"] == pytest.approx(size, rel=0.10), name


def test_a_large_database_is_drawn_from_and_checked_against_the_whole(redis_server, queue_client):
    dice = random.Random(2)  # noqa: S311
    truth = fill_database(redis_server, 3, MINUTE_KEYS * 4, lambda: dice.randint(50, 1_000), ex=3_000)
    with redis_server.client(0) as cache:
        fill(cache, 2_000, lambda: 500)

    found = take_sample(queue_client, queues={}).databases

    assert found["3"]["bound"] == found["0"]["bound"] == "about"
    assert found["3"]["estimated_bytes"] == pytest.approx(truth, rel=0.15)
    assert 0 < found["3"]["error"] <= 0.10


def test_giants_that_no_draw_meets_make_it_at_least_and_the_cache_at_most(redis_server, queue_client):
    with redis_server.client(3) as limits, redis_server.client(0) as cache:
        fill(limits, MINUTE_KEYS * 8, lambda: 50)
        for number in range(3):
            limits.set(f"giant:{number}", b"x" * 2_000_000)
        fill(cache, 2_000, lambda: 500)

    found = take_sample(queue_client, queues={}).databases

    assert (found["3"]["bound"], found["0"]["bound"]) == ("at_least", "at_most")


def test_the_bytes_of_each_queue_are_those_of_its_keys(redis_server, queue_client):
    broker = CarrierBroker(url=redis_server.url(2), options=lambda: CarrierOptions(namespace="chat:queue"))
    for name in ("work", "idle"):
        broker.declare_queue(name)
    new = [NewMessage(f"m{number:030}", b"x" * 300) for number in range(10_000)]
    for start in range(0, 10_000, 200):
        broker.transitions.enqueue_many("work", new[start : start + 200])
    keys = broker.machinery.keys.queue("work")
    truth = sum(queue_client.memory_usage(key, samples=0) or 0 for key in keys)

    found = take_sample_of(broker)
    broker.close()

    assert found.queues["work"]["estimated_bytes"] == pytest.approx(truth, rel=0.05)
    assert (found.queues["work"]["ready"], found.queues["idle"]["estimated_bytes"]) == (10_000, 0)
    assert found.databases["2"]["estimated_bytes"] >= found.queues["work"]["estimated_bytes"]
    assert found.databases["2"]["bound"] == "about"
    assert found.workers["alive"] == 0


def test_a_thorough_look_asks_the_cache_too_and_tells_its_keys(redis_server, queue_client):
    dice = random.Random(3)  # noqa: S311
    truth = fill_database(redis_server, 0, 15_000, lambda: dice.randint(50, 1_000), ex=3_000)
    drawn: dict[str, list[tuple[bytes, int]]] = {}

    found = take_sample(queue_client, queues={}, thorough=Thorough(on_draw=drawn.__setitem__)).databases["0"]

    assert found["bound"] == "about"
    assert found["estimated_bytes"] == pytest.approx(truth, rel=0.10)
    assert len(drawn["0"]) >= 500
    assert all(name.startswith(b"k:") for name, _ in drawn["0"])


# -- what it costs -------------------------------------------------------------------------------------------------


def test_a_sample_asks_a_bounded_number_of_commands_whatever_there_is(redis_server, queue_client):
    with redis_server.client(0) as cache, redis_server.client(1) as channels, redis_server.client(3) as limits:
        # Of such sizes no number of draws is enough.
        sizes_of = itertools.cycle([20] * 99 + [20_000])
        for client in (cache, channels, limits):
            fill(client, 8_000, lambda: next(sizes_of))
    queue_client.config_resetstat()

    found = take_sample(queue_client, queues={}, keys={"work": [f"q{number}" for number in range(30)]}).databases

    assert [found[name]["bound"] for name in "013"] == ["at_most", "at_least", "at_least"]
    stats = queue_client.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): facts["calls"] for name, facts in stats.items()}
    assert calls["memory|usage"] <= MINUTE_KEYS + 500 + 30
    assert calls["randomkey"] <= MINUTE_KEYS + 500
    assert calls.get("scan", 0) <= 1
    assert not {"keys", "dbsize", "flushdb"} & calls.keys()


def test_a_key_of_any_type_is_asked_and_one_that_went_away_is_left_out(queue_client):
    queue_client.set("string", "x")
    queue_client.rpush("list", *range(50))
    queue_client.hset("hash", mapping={"a": 1})
    queue_client.zadd("zset", {"a": 1})
    queue_client.xadd("stream", {"a": 1})

    found = census(queue_client, most=10)

    assert [name for name, _ in found] == [b"hash", b"list", b"stream", b"string", b"zset"]
    assert sizes(queue_client, ["string", "gone"])[1] is None
    assert census(queue_client, most=4) is None


def test_an_empty_database_has_nothing_to_draw(queue_client):
    assert draw(queue_client, 10) == []
    assert survey(queue_client, keys=10_000, expires=0, most=500).size_bytes == 0
