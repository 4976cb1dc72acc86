"""One message per slot, whoever sends it and whenever somebody dies."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import dramatiq
import pytest
import redis
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ActorNotFound
from waiting import until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.errors import QueueUnavailable
from middleware.slots import tick_options
from middleware.ticks import ProcessMarks, RedisMarks, Ticks

SLOT_MS = 1_767_614_400_000
KEY = "test:ticks:__ticks__"
MakeBroker = Callable[..., CarrierBroker]


@pytest.fixture
def make_broker(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[MakeBroker]:
    made = []

    def make(ticks: Ticks | None = None, **options: int) -> CarrierBroker:
        broker = CarrierBroker(
            connect=lambda: kwargs_for_db(redis_server.url(0), 2),
            options=lambda: CarrierOptions(namespace="test:ticks", dead_suffix=".dead", pinned_db=2, **options),
            middleware=[ticks or Ticks()],
        )
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()


def declare(broker: dramatiq.Broker, ran: list[int] | None = None) -> None:
    dramatiq.actor(lambda: (ran if ran is not None else []).append(1), broker=broker, actor_name="sample")


@contextmanager
def working(broker: CarrierBroker) -> Iterator[None]:
    worker = Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        yield
    finally:
        worker.stop(timeout=5_000)


def counter(broker: CarrierBroker, name: str) -> int:
    return broker.transitions.stats(["default"])[0].counters.get(name, 0)


@pytest.mark.redis
def test_the_first_to_mark_a_slot_is_told_so_and_no_other(queue_client):
    marks = RedisMarks(queue_client, KEY)

    assert not marks.has("sample", SLOT_MS)
    assert [marks.add("sample", SLOT_MS) for _ in range(3)] == [True, False, False]
    assert marks.has("sample", SLOT_MS)
    assert not marks.has("sample", SLOT_MS + 60_000)
    assert not marks.has("other", SLOT_MS)


@pytest.mark.redis
def test_marks_are_forgotten_in_time_by_the_clock_of_redis(queue_client):
    RedisMarks(queue_client, KEY, keep_ms=1).add("sample", SLOT_MS)
    marks, minutes = RedisMarks(queue_client, KEY), count()

    # Whoever marks next throws away what is over.
    until(lambda: marks.add("other", next(minutes)) and not marks.has("sample", SLOT_MS), within_ms=2_000)
    assert marks.has("other", 0)


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

    # The worker may be faster than any sender to mark a slot.
    assert sum(firsts) <= len(slots)
    assert len(ran) == len(slots)
    assert counter(brokers[0], "enqueued") == len(slots)


@pytest.mark.redis
def test_a_sender_that_dies_before_it_marks_neither_loses_nor_doubles_the_slot(make_broker):
    class DyingMarks(RedisMarks):
        def add(self, actor_name: str, slot_ms: int) -> bool:
            raise KeyboardInterrupt

    ran: list[int] = []
    broker = make_broker(remember_ms=1)
    declare(broker, ran)
    dying = Ticks(DyingMarks(broker.client, broker.machinery.keys.ticks))
    with pytest.raises(KeyboardInterrupt):
        dying.fire(broker, "sample", SLOT_MS)
    with working(broker):
        until(lambda: counter(broker, "done") == 1, within_ms=5_000)

    # Its id is forgotten by now (remember_ms), only the mark that the worker made is left.
    assert not broker.middleware[0].fire(broker, "sample", SLOT_MS)
    assert ran == [1]
    assert counter(broker, "enqueued") == 1


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

    assert broker.middleware[0].fire(broker, "sample", SLOT_MS)
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
        with pytest.raises(QueueUnavailable, match="slot"):
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


def test_a_message_without_a_slot_needs_no_marks():
    class NoMarks:
        def add(self, actor_name: str, slot_ms: int) -> bool:
            raise AssertionError

    broker = StubBroker(middleware=[])
    declare(broker)
    ticks = Ticks(NoMarks())
    ticks.before_process_message(broker, dramatiq.MessageProxy(broker.get_actor("sample").message()))

    message = broker.get_actor("sample").message_with_options(**tick_options("sample", SLOT_MS))
    with pytest.raises(AssertionError):
        ticks.before_process_message(broker, dramatiq.MessageProxy(message))


def test_a_slot_that_cannot_be_marked_runs_all_the_same(caplog):
    class AwayMarks:
        def add(self, actor_name: str, slot_ms: int) -> bool:
            raise QueueUnavailable("away")

    broker = StubBroker(middleware=[])
    declare(broker)
    message = broker.get_actor("sample").message_with_options(**tick_options("sample", SLOT_MS))

    Ticks(AwayMarks()).before_process_message(broker, dramatiq.MessageProxy(message))

    assert [record.getMessage() for record in caplog.records] == ["tick.mark_failed"]
