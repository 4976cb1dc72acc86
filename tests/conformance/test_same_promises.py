"""What some tests of Dramatiq promise to a user, asked of the carrier without looking into its keys.

Most are waived: ``waivers.py`` names one of these for each. The two about retries are in no source distribution. The broker is
bare, with Dramatiq's own middleware.
"""

import logging
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import dramatiq
import pytest
import redis
from broker_world import working
from dramatiq import Message
from dramatiq.common import current_millis
from dramatiq.errors import QueueJoinTimeout, RateLimitExceeded, Retry
from dramatiq.middleware import TimeLimit, default_middleware
from waiting import until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions

pytestmark = pytest.mark.redis

MakeBroker = Callable[[], CarrierBroker]


@pytest.fixture
def make_broker(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[MakeBroker]:
    made: list[CarrierBroker] = []

    def make() -> CarrierBroker:
        middleware = [TimeLimit(interval=50) if one is TimeLimit else one() for one in default_middleware]
        options = CarrierOptions(namespace="test:waived", lease_ms=600)
        made.append(CarrierBroker(url=redis_server.url(2), middleware=middleware, options=lambda: options))
        made[-1].declare_queue("work")
        made[-1].emit_after("process_boot")
        return made[-1]

    yield make
    for broker in made:
        broker.close()


@pytest.fixture
def broker(make_broker: MakeBroker) -> CarrierBroker:
    return make_broker()


def finish(broker: CarrierBroker) -> None:
    """Let a worker end everything that is in the queue."""
    with working(broker) as worker:
        broker.join("work", interval=10, timeout=20_000)
        worker.join()


def declare(broker: CarrierBroker, fn: Callable[..., Any], **options: Any) -> dramatiq.Actor[..., Any]:
    return dramatiq.actor(broker=broker, queue_name="work", actor_name="act", **options)(fn)


def depth(broker: CarrierBroker, state: str) -> int:
    return getattr(broker.transitions.stats(["work"])[0], state)


def test_what_a_broker_took_and_never_finished_runs_elsewhere(make_broker):
    first, second, taken, ran = make_broker(), make_broker(), [], []
    declare(second, ran.append)
    sent = [first.enqueue(Message("work", "act", (number,), {}, {})) for number in range(300)]
    consumer = first.consume("work", prefetch=len(sent), timeout=50)
    until(lambda: taken.append(next(consumer)) or len([one for one in taken if one]) == len(sent), within_ms=20_000)

    first.close()
    finish(second)

    assert sorted(ran) == list(range(300))


def test_a_delayed_message_is_left_alone_by_a_worker_that_comes_and_goes(broker):
    ran = []
    declare(broker, lambda: ran.append(1)).send_with_options(delay=60_000)

    with working(broker):
        pass

    assert [depth(broker, state) for state in ("delayed", "ready", "in_flight")] == [1, 0, 0]
    assert ran == []


def test_what_runs_and_what_is_delayed_are_counted_together(broker):
    begun, may_end = Event(), Event()

    def act() -> None:
        begun.set()
        may_end.wait(20)

    actor = declare(broker, act)
    actor.send()
    actor.send_with_options(delay=60_000)

    with working(broker):
        until(begun.is_set, within_ms=5_000)
        assert broker.do_qsize("work") == 2
        may_end.set()
        until(lambda: broker.do_qsize("work") == 1, within_ms=5_000)
        with pytest.raises(QueueJoinTimeout):
            broker.join("work", interval=10, timeout=50)


def test_what_was_sent_is_what_is_received(broker):
    sent = declare(broker, lambda x, y: x + y).send(1, y="é")
    consumer = broker.consume("work", timeout=50)

    received = until(lambda: next(consumer), within_ms=5_000)

    assert (received.args, received.kwargs) == ((1,), {"y": "é"})
    assert received.asdict() == sent.asdict()


@pytest.mark.parametrize("eta", [None, "not-a-number"])
def test_an_eta_that_is_no_number_holds_no_message_up(broker, eta):
    ran = []
    broker.enqueue(declare(broker, lambda: ran.append(1)).message_with_options(eta=eta))

    finish(broker)

    assert ran == [1]


@pytest.mark.parametrize(("of_actor", "of_message"), [({"time_limit": 500}, {}), ({}, {"time_limit": 500})])
def test_a_time_limit_ends_an_actor_and_buries_its_message(broker, of_actor, of_message):
    begun, ended = [], []

    def act() -> None:
        begun.append(1)
        until(lambda: False, within_ms=10_000)
        ended.append(1)

    declare(broker, act, max_retries=0, **of_actor).send_with_options(**of_message)
    finish(broker)

    assert (begun, ended) == ([1], [])
    assert depth(broker, "dead") == 1


@pytest.mark.parametrize(("of_actor", "of_message"), [({"max_age": 1}, {}), ({}, {"max_age": 1})])
def test_a_message_above_its_age_limit_never_runs_and_is_buried(broker, of_actor, of_message):
    ran = []
    sent = declare(broker, lambda: ran.append(1), **of_actor).send_with_options(**of_message)
    until(lambda: current_millis() > sent.message_timestamp + 1, within_ms=5_000)

    finish(broker)

    assert ran == []
    assert depth(broker, "dead") == 1


def test_a_message_for_an_actor_that_is_missing_is_buried(broker):
    broker.enqueue(Message("work", "nobody", (), {}, {}))

    finish(broker)

    assert depth(broker, "dead") == 1


def test_a_message_over_a_rate_limit_is_buried_without_an_error_in_the_log(broker, caplog):
    def act() -> None:
        raise RateLimitExceeded("enough")

    caplog.set_level(logging.DEBUG, logger="dramatiq")
    declare(broker, act, max_retries=0).send()
    finish(broker)

    assert [record.levelname for record in caplog.records if "Rate limit exceeded" in record.message] == ["DEBUG"]
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert depth(broker, "dead") == 1


def test_a_retry_with_a_delay_starts_on_time(broker):
    started_s = []

    def act() -> None:
        started_s.append(time.monotonic())
        if len(started_s) % 2:
            raise Retry(delay=100)

    actor = declare(broker, act)
    with working(broker):
        for number in range(1, 12):
            actor.send()
            until(lambda times=2 * number: len(started_s) == times, within_ms=5_000)

    gaps_ms = [(second - first) * 1000 for first, second in zip(started_s[0::2], started_s[1::2], strict=True)]
    assert min(gaps_ms) >= 100
    # Dramatiq allows each of them 150 ms. A machine that is busy takes longer as often as it likes; a broker that is late is late
    # each time.
    assert min(gaps_ms) < 150


@pytest.mark.parametrize("which", ["min_backoff", "max_backoff"])
def test_retries_without_backoff_follow_at_once(broker, which):
    started_s, took_ms = [], []

    def act() -> None:
        started_s.append(time.monotonic())
        raise RuntimeError("again")

    actor = declare(broker, act, max_retries=10, **{which: 0})
    with working(broker):
        for number in range(1, 6):
            actor.send()
            until(lambda times=number: depth(broker, "dead") == times, within_ms=10_000)
            took_ms.append((started_s[-1] - started_s[-11]) * 1000)

    assert len(started_s) == 5 * 11
    assert min(took_ms) < 200
