"""One message per slot, whoever sends it and whenever somebody dies."""

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import dramatiq
import pytest
import redis
from broker_world import working
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ActorNotFound
from waiting import until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.brokers.redis.transitions import Memory
from middleware.errors import QueueUnavailable
from middleware.ticks import ProcessMarks, Ticks

SLOT_MS = 1_767_614_400_000
KEY = "test:ticks:__ticks__"
MakeBroker = Callable[..., CarrierBroker]


@pytest.fixture
def make_broker(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[MakeBroker]:
    made = []

    def make(**options: Any) -> CarrierBroker:
        broker = CarrierBroker(
            connect=lambda: kwargs_for_db(redis_server.url(0), 2),
            options=lambda: CarrierOptions(namespace="test:ticks", dead_suffix=".dead", pinned_db=2, **options),
            middleware=[Ticks()],
        )
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()


def declare(broker: dramatiq.Broker, ran: list[int] | None = None) -> None:
    dramatiq.actor(lambda: (ran if ran is not None else []).append(1), broker=broker, actor_name="sample")


def counter(broker: CarrierBroker, name: str) -> int:
    return broker.transitions.stats(["default"])[0].counters.get(name, 0)


@pytest.mark.redis
def test_many_processes_send_each_slot_once(make_broker):
    # Each thread is a process of its own here: a broker, a client and marks that nobody shares.
    brokers = [make_broker() for _ in range(6)]
    slots = [SLOT_MS + minute * 60_000 for minute in range(20)]
    ran: list[int] = []
    firsts: list[bool] = []
    line = threading.Barrier(len(brokers))

    def schedule(broker: CarrierBroker) -> None:
        for slot_ms in slots:
            line.wait(10)
            firsts.append(broker.middleware[0].fire(broker, "sample", slot_ms))
            until(lambda: broker.do_qsize("default") == 0, within_ms=5_000)

    for broker in brokers:
        declare(broker, ran)
    threads = [threading.Thread(target=schedule, args=(broker,)) for broker in brokers]
    with working(brokers[0]):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert sum(firsts) == len(slots)
    assert len(ran) == len(slots)
    assert counter(brokers[0], "enqueued") == len(slots)


@pytest.mark.redis
def test_a_slot_is_marked_by_the_script_that_enqueues_it_and_outlives_its_message(make_broker):
    ran: list[int] = []
    broker = make_broker(memory=Memory(remember_ms=0))
    declare(broker, ran)
    assert broker.middleware[0].fire(broker, "sample", SLOT_MS)
    with working(broker):
        until(lambda: counter(broker, "done") == 1, within_ms=5_000)

    # Nothing else is left of it: its id is forgotten after two rounds of care.
    for _ in range(2):
        broker.transitions.tend(["default"], max_deliveries=5)
    assert not broker.middleware[0].fire(broker, "sample", SLOT_MS)
    assert (ran, counter(broker, "enqueued")) == ([1], 1)


@pytest.mark.redis
def test_slots_are_forgotten_in_time_by_the_clock_of_redis(make_broker):
    broker, minutes = make_broker(memory=Memory(tick_ms=1)), count()
    declare(broker)
    broker.middleware[0].fire(broker, "sample", SLOT_MS)

    # Whoever marks next throws away what is over.
    def others() -> list[bytes]:
        broker.middleware[0].fire(broker, "sample", SLOT_MS + 60_000 * next(minutes))
        return [slot for slot in broker.client.zrange(KEY, 0, -1) if slot == f"sample@{SLOT_MS}".encode()]

    until(lambda: next(minutes) > 1 and not others(), within_ms=20_000)


@pytest.mark.redis
def test_a_sender_that_dies_before_it_enqueues_leaves_the_slot_to_the_next(make_broker):
    broker = make_broker()
    with pytest.raises(ActorNotFound):
        broker.middleware[0].fire(broker, "sample", SLOT_MS)
    declare(broker)

    assert broker.middleware[0].fire(broker, "sample", SLOT_MS)


@pytest.mark.redis
def test_a_slot_whose_message_is_queued_is_not_sent_again(make_broker, queue_client):
    broker = make_broker()
    declare(broker)
    broker.middleware[0].fire(broker, "sample", SLOT_MS)
    queue_client.delete("test:ticks:__ticks__")

    assert not broker.middleware[0].fire(broker, "sample", SLOT_MS)
    assert counter(broker, "enqueued") == 1


@pytest.mark.redis
def test_slots_do_not_pile_up_behind_a_stopped_worker(make_broker):
    ran: list[int] = []
    broker = make_broker()
    declare(broker, ran)
    for minute in range(5):
        broker.middleware[0].fire(broker, "sample", SLOT_MS + minute * 60_000)
    with working(broker):
        until(lambda: counter(broker, "done") == 1, within_ms=5_000)

    assert broker.do_qsize("default") == 0
    assert ran == [1]
    assert broker.middleware[0].fire(broker, "sample", SLOT_MS + 300_000)


@pytest.mark.redis
def test_when_redis_is_away_the_slot_stays_open(make_broker):
    with EmbeddedRedis() as server:
        broker = CarrierBroker(
            connect=lambda: kwargs_for_db(server.url(0), 2),
            options=lambda: CarrierOptions(namespace="test:ticks"),
            middleware=[Ticks()],
        )
        declare(broker)
        server.stop()
        with pytest.raises(QueueUnavailable, match="enqueueing"):
            broker.middleware[0].fire(broker, "sample", SLOT_MS)
        server.start()

        assert broker.middleware[0].fire(broker, "sample", SLOT_MS)
        broker.close()


def test_without_a_redis_slots_are_kept_in_the_process_and_the_log_says_so(caplog):
    ticks = Ticks()
    broker = StubBroker(middleware=[ticks])
    declare(broker)
    with caplog.at_level(logging.WARNING):
        fired = [ticks.fire(broker, "sample", slot_ms) for slot_ms in (SLOT_MS, SLOT_MS, SLOT_MS + 60_000, SLOT_MS)]

    assert fired == [True, False, True, False]
    assert broker.queues["default"].qsize() == 2
    assert [record.getMessage() for record in caplog.records] == ["ticks.kept_in_process"]


def test_marks_of_a_process_do_not_grow():
    marks = ProcessMarks()
    for minute in range(1_000):
        assert marks.add("sample", SLOT_MS + minute * 60_000)

    assert len(vars(marks)["_latest_ms"]) == 1
