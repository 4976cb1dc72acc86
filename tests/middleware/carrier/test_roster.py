"""Who serves the queues: signed in with the round of care, struck off at the end, forgotten when killed."""

import json
import os
from collections.abc import Iterator
from contextlib import closing

import dramatiq
import pytest
import redis
from waiting import until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.brokers.redis.roster import Roster, ServingWorker, SignOfLife
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Transitions

pytestmark = pytest.mark.redis

CARE = {"max_deliveries": 5}
KEYS = Keys("test:roster")
WORKER = ServingWorker(host="box", pid=7, threads=4, queues=("a", "b"), started_at_ms=1_000)


@pytest.fixture
def moves(queue_client: redis.Redis) -> Transitions:
    return Transitions(Scripts(queue_client, KEYS))


@pytest.fixture
def broker(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[CarrierBroker]:
    with closing(
        CarrierBroker(
            connect=lambda: kwargs_for_db(redis_server.url(0), 2),
            options=lambda: CarrierOptions(namespace="test:roster", lease_ms=600),
            middleware=[],
        )
    ) as made:
        dramatiq.actor(lambda: None, broker=made, queue_name="a", actor_name="nothing")
        yield made


def test_a_sign_of_life_travels_with_a_round_of_care(moves, queue_client):
    sign = SignOfLife("w-1", 5_000, WORKER.facts(in_flight=3))

    moves.tend(["a", "b"], **CARE, sign=sign)
    [entry] = Roster(queue_client, KEYS).alive()

    assert (entry.id, entry.in_flight) == ("w-1", 3)
    assert entry.worker == WORKER


def test_a_process_that_serves_nothing_is_not_on_the_roster(moves, queue_client):
    moves.tend(["a"], **CARE)

    assert Roster(queue_client, KEYS).alive() == []
    assert queue_client.exists(KEYS.workers, KEYS.worker_facts) == 0


def test_a_worker_without_a_sign_of_life_is_forgotten_by_the_next_one(moves, queue_client):
    moves.tend(["a"], **CARE, sign=SignOfLife("killed", 1, WORKER.facts(in_flight=0)))
    until(lambda: Roster(queue_client, KEYS).alive() == [], within_ms=20_000)

    moves.tend(["a"], **CARE, sign=SignOfLife("new", 5_000, WORKER.facts(in_flight=0)))

    assert [entry.id for entry in Roster(queue_client, KEYS).alive()] == ["new"]
    assert queue_client.hkeys(KEYS.worker_facts) == [b"new"]


def test_striking_off_twice_is_harmless(moves, queue_client):
    moves.tend(["a"], **CARE, sign=SignOfLife("w-1", 5_000, WORKER.facts(in_flight=0)))
    roster = Roster(queue_client, KEYS)

    roster.strike("w-1")
    roster.strike("w-1")

    assert roster.alive() == []
    assert queue_client.exists(KEYS.workers, KEYS.worker_facts) == 0


def test_a_worker_signs_in_when_it_starts_and_out_when_it_stops(broker, queue_client):
    worker = dramatiq.Worker(broker, worker_threads=3, worker_timeout=50)
    worker.start()
    try:
        [entry] = until(lambda: Roster(queue_client, KEYS).alive(), within_ms=5_000)

        assert (entry.id, entry.worker.pid, entry.worker.threads) == (broker.broker_id, os.getpid(), 3)
        assert (entry.worker.queues, entry.in_flight) == (("a",), 0)
    finally:
        worker.stop(timeout=2_000)

    assert Roster(queue_client, KEYS).alive() == []


def test_facts_hold_what_an_operator_needs_and_nothing_else():
    assert json.loads(WORKER.facts(in_flight=1, rss_bytes=50_000_000)) == {
        "host": "box",
        "pid": 7,
        "threads": 4,
        "queues": ["a", "b"],
        "started_at_ms": 1_000,
        "in_flight": 1,
        "rss_bytes": 50_000_000,
    }


def test_the_roster_can_be_read_when_redis_is_full(moves, queue_client):
    moves.tend(["a"], **CARE, sign=SignOfLife("w-1", 60_000, WORKER.facts(in_flight=0, rss_bytes=7)))
    queue_client.config_set("maxmemory", 1)

    [entry] = Roster(queue_client, KEYS).alive()

    assert (entry.id, entry.rss_bytes) == ("w-1", 7)
