"""One book for all processes, on a real Redis: each change is told once, whoever looks, dies or is cut off."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from middleware.alert_book import AlertBook
from middleware.alerts import Fact, Rule, Standing
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock

pytestmark = pytest.mark.redis

RULES = {"age": Rule(name="age", raise_at=10, clear_below=5)}
KEY = "test:alerts"


class Ears:
    """What a person heard, and under which name."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.keys: list[str] = []
        self._lock = threading.Lock()

    def hear(self, notice: Standing, key: str) -> None:
        with self._lock:
            self.heard.append((notice.state, notice.subject))
            self.keys.append(key)


@pytest.fixture
def ears() -> Ears:
    return Ears()


def book(client: redis.Redis, ears: Ears) -> AlertBook:
    return AlertBook(lambda: client, KEY, tell=ears.hear, clock=SystemClock())


def facts(value: float, *subjects: str) -> list[Fact]:
    return [Fact(rule="age", subject=subject, value=value) for subject in subjects or ("q",)]


def test_of_many_replicas_one_tells(queue_client, ears):
    books = [book(queue_client, ears) for _ in range(8)]
    begin = threading.Barrier(8)

    def look(one: AlertBook) -> None:
        for value in (12, 3, 12):
            begin.wait(10)
            one.advance(facts(value, "a", "b"), RULES, whole=["age"])
            begin.wait(10)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, books))

    once = [("cleared", "a"), ("cleared", "b"), ("raised", "a"), ("raised", "a"), ("raised", "b"), ("raised", "b")]
    # One that always lost leaves its change to the next look; nobody tells what another has told.
    books[0].advance(facts(12, "a", "b"), RULES, whole=["age"])
    assert sorted(ears.heard) == once
    assert len(set(ears.keys)) == len(ears.keys)
    assert [one.subject for one in books[0].standing()] == ["a", "b"]


def test_one_that_dies_before_it_tells_is_followed_by_another(queue_client, ears):
    def die(notice: Standing, key: str) -> None:
        raise SystemExit

    dying = AlertBook(lambda: queue_client, KEY, tell=die, clock=SystemClock())
    with pytest.raises(SystemExit):
        dying.advance(facts(12), RULES)
    survivor = book(queue_client, ears)
    assert survivor.advance(facts(12), RULES) == []
    # A minute later.
    [standing] = json.loads(queue_client.hget(KEY, "book"))
    queue_client.hset(KEY, "book", json.dumps([{**standing, "telling_until_ms": 1}]))

    survivor.advance(facts(12), RULES)
    survivor.advance(facts(12), RULES)

    assert ears.heard == [("raised", "q")]


def test_when_somebody_looked_at_everything_is_known(queue_client, ears):
    one = book(queue_client, ears)
    assert one.age_ms() is None
    one.advance(facts(1), RULES)
    assert one.age_ms() is None
    one.advance(facts(1), RULES, whole=["age"])

    assert 0 <= one.age_ms() < 60_000


def test_a_full_redis_takes_down_that_it_is_full(queue_client, ears):
    if int(queue_client.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("before 7 a script cannot ask for room in a full Redis")
    queue_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            queue_client.set("x", "y")
        other = Ears()
        book(queue_client, ears).advance(facts(12), RULES)
        book(queue_client, other).advance(facts(12), RULES)
    finally:
        queue_client.config_set("maxmemory", 0)

    assert (ears.heard, other.heard) == ([("raised", "q")], [])


def test_an_old_server_that_knows_no_flags_keeps_it_too(queue_client, ears):
    class Old:
        """Redis 6.2 as far as the text of a script goes."""

        def eval(self, script: str, *args: object) -> object:
            if script.startswith("#!"):
                raise redis.ResponseError(
                    "Error compiling script (new function): user_script:1: unexpected symbol near '#'"
                )
            return queue_client.eval(script, *args)

        def pipeline(self, **options: object) -> object:
            return queue_client.pipeline(**options)

    one = book(Old(), ears)  # type: ignore[arg-type]
    one.advance(facts(12), RULES)
    one.advance(facts(3), RULES)

    assert ears.heard == [("raised", "q"), ("cleared", "q")]


def test_without_redis_a_process_tells_by_itself_and_ends_it_when_redis_is_back(ears, caplog):
    with EmbeddedRedis() as server, closing(server.client(2)) as client:
        one = book(client, ears)
        server.stop()
        one.advance(facts(12), RULES)
        one.advance(facts(12), RULES)
        assert ears.heard == [("raised", "q")]
        server.start()
        one.advance(facts(1), RULES, whole=["age"])
        one.advance(facts(1), RULES, whole=["age"])

    assert ears.heard == [("raised", "q"), ("cleared", "q")]
    assert "alerts.kept_in_process" in caplog.messages


def test_processes_that_cannot_see_each_other_use_one_name(ears):
    dead = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    for one in (book(dead, ears), book(dead, ears)):
        one.advance(facts(12), RULES)

    # Sentry takes an event once.
    assert len(ears.keys) == 2
    assert len(set(ears.keys)) == 1
