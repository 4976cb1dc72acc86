"""The broker under Dramatiq's own worker: what it promises when messages, hooks and workers go wrong."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dramatiq
import pytest
from broker_world import OPTIONS, counter, declare, depth, working
from dramatiq import Middleware, Worker
from dramatiq.middleware import CurrentMessage
from waiting import stays, until

from middleware.clock import SystemClock
from middleware.outcomes import PutBack, Retry

pytestmark = pytest.mark.redis


class Outcomes(Middleware):
    """Decides as the test says: a stand-in for the policy, not for the carrier."""

    decides_outcomes = True

    def __init__(self, decide: Callable[[BaseException], Any]) -> None:
        self.decide = decide

    def after_process_message(self, broker, message, *, result=None, exception=None):
        if exception is not None:
            message.outcome = self.decide(exception)


class Broken(Middleware):
    """A hook that fails, as hooks do when what they need is down."""

    decides_outcomes = True

    def after_process_message(self, broker, message, *, result=None, exception=None):
        raise RuntimeError("hook")


def test_a_message_runs_once_and_leaves_nothing(make_broker):
    broker, ran = make_broker(), []
    send = declare(broker, lambda word: ran.append(word), actor_name="note").send

    with working(broker):
        send("a")
        until(lambda: counter(broker, "done") == 1, within_ms=5_000)

    assert ran == ["a"]
    assert broker.do_qsize("work") == 0


def test_a_retry_is_the_outcome_of_the_attempt_and_not_a_second_message(make_broker):
    seen = []

    def fail_once() -> None:
        message = CurrentMessage.get_current_message()
        seen.append(message.message_id)
        if len(seen) == 1:
            raise RuntimeError

    broker = make_broker(CurrentMessage(), Outcomes(lambda _: Retry(10, "transient")))
    with working(broker):
        sent = declare(broker, fail_once).send()
        until(lambda: counter(broker, "done") == 1, within_ms=5_000)

    assert seen == [sent.message_id] * 2
    assert (counter(broker, "enqueued"), counter(broker, "retried")) == (1, 1)


def test_dramatiqs_own_retries_become_one_atomic_step_too(make_broker):
    ran = []

    def fail_once() -> None:
        ran.append(1)
        if len(ran) == 1:
            raise RuntimeError

    broker = make_broker(dramatiq.middleware.Retries(min_backoff=10, max_backoff=20))
    with working(broker):
        declare(broker, fail_once).send()
        until(lambda: counter(broker, "done") == 1, within_ms=5_000)

    assert (len(ran), counter(broker, "enqueued"), counter(broker, "retried")) == (2, 1, 1)


def test_a_message_whose_hook_failed_is_not_acknowledged(make_broker):
    def fail() -> None:
        raise RuntimeError

    broker = make_broker(Broken())
    with working(broker):
        declare(broker, fail).send()
        until(lambda: counter(broker, "retried") == 1, within_ms=5_000)

    assert (depth(broker, "delayed"), counter(broker, "done")) == (1, 0)


def test_a_put_back_message_keeps_its_place_in_its_lane(make_broker):
    ran = []

    def note(name: str) -> None:
        ran.append(name)
        if ran == ["a"]:
            raise RuntimeError

    broker = make_broker(Outcomes(lambda _: PutBack(30, "throttled")))
    actor = declare(broker, note)
    for name in "abc":
        broker.enqueue(actor.message_with_options(args=(name,), lane="l"))
    with working(broker, threads=4):
        until(lambda: counter(broker, "done") == 3, within_ms=5_000)

    assert ran == ["a", "a", "b", "c"]


def test_an_undecodable_payload_dies_alone_with_its_bytes(make_broker):
    broker, ran = make_broker(), []
    actor = declare(broker, lambda word: ran.append(word), actor_name="note")
    actor.send("before")
    broker.transitions.enqueue("work", "rubbish", b"\xff{not json")
    actor.send("after")

    with working(broker):
        until(lambda: counter(broker, "done") == 2 and depth(broker, "dead") == 1, within_ms=5_000)

    assert sorted(ran) == ["after", "before"]
    assert broker.client.hget(broker.machinery.keys.of("work", "bodies"), "rubbish") == b"\xff{not json"


def test_an_unknown_actor_waits_for_a_newer_worker(make_broker):
    options = replace(OPTIONS, unknown_actor_grace_ms=60_000)
    old, new, ran = make_broker(options=options), make_broker(options=options), []
    declare(old, lambda: None, actor_name="other")
    newer = declare(new, lambda: ran.append(1), actor_name="newer")

    with working(old):
        newer.send()
        until(lambda: counter(old, "snoozed") == 1, within_ms=5_000)
    with working(new):
        until(lambda: ran, within_ms=5_000)

    assert depth(old, "dead") == 0


def test_the_time_of_an_unknown_actor_is_what_it_waited_whatever_the_clocks_say(make_broker):
    class Ahead(SystemClock):
        """Ten minutes ahead of whoever sent."""

        def now_ms(self) -> int:
            return super().now_ms() + 600_000

    options = replace(OPTIONS, unknown_actor_grace_ms=600_000)
    old, new = make_broker(options=options), make_broker(options=options)
    old.clock = Ahead()
    declare(old, lambda: None, actor_name="other")
    with working(old):
        declare(new, lambda: None, actor_name="newer").send()
        until(lambda: counter(old, "snoozed") == 1, within_ms=5_000)

    assert depth(old, "dead") == 0


def test_an_unknown_actor_is_a_dead_letter_when_its_time_is_over(make_broker):
    old, new = make_broker(), make_broker()
    declare(old, lambda: None, actor_name="other")
    with working(old):
        declare(new, lambda: None, actor_name="newer").send()
        until(lambda: depth(old, "dead") == 1, within_ms=5_000)

    assert old.transitions.announce("work", limit=1, hold_ms=1)[0].record["reason"] == "unknown_actor"


def test_a_lease_is_renewed_while_its_message_runs(make_broker):
    broker, ran, go_on = make_broker(), [], threading.Event()

    def slow() -> None:
        ran.append(1)
        assert go_on.wait(10)

    with working(broker):
        declare(broker, slow).send()
        until(lambda: ran, within_ms=5_000)
        stays(lambda: len(ran) == 1 and counter(broker, "reclaimed") == 0, for_ms=3 * OPTIONS.lease_ms)
        go_on.set()
        until(lambda: counter(broker, "done") == 1, within_ms=5_000)

    assert counter(broker, "stale_finishes") == 0


def test_a_dead_workers_message_runs_on_another_and_its_late_end_changes_nothing(make_broker):
    """The first broker fetches and then falls silent, as a frozen process does."""
    frozen, healthy, ran = make_broker(), make_broker(), []
    actor = declare(healthy, lambda: ran.append(1), actor_name="note")
    actor.send()
    lease = frozen.do_fetch("work", 1).messages[0].lease

    with working(healthy):
        until(lambda: counter(healthy, "done") == 1, within_ms=10_000)

    assert ran == [1]
    assert not frozen.transitions.finish(lease, Retry(0, "late"), body=b"late")
    assert (counter(healthy, "reclaimed"), counter(healthy, "stale_finishes")) == (1, 1)


def test_a_delayed_message_runs_when_it_is_due_without_polling(make_broker):
    broker, ran = make_broker(), []
    actor = declare(broker, lambda: ran.append(1), actor_name="note")
    with working(broker):
        actor.send_with_options(delay=60_000)
        actor.send_with_options(delay=50)
        until(lambda: ran, within_ms=20_000)

    assert depth(broker, "delayed") == 1


def test_a_stop_that_takes_too_long_gives_the_running_message_to_others(make_broker):
    broker, began, go_on = make_broker(), threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        assert go_on.wait(10)

    declare(broker, slow).send()
    worker = Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    assert began.wait(5)
    worker.stop(timeout=100)

    assert (depth(broker, "ready"), depth(broker, "in_flight"), counter(broker, "released")) == (1, 0, 1)
    go_on.set()
    until(lambda: not any(thread.is_alive() for thread in worker.workers), within_ms=5_000)
    assert depth(broker, "ready") == 1


def test_no_more_is_taken_than_threads_can_run(make_broker):
    broker, go_on = make_broker(), threading.Event()
    actor = declare(broker, lambda: go_on.wait(10) and None, actor_name="slow")
    for _ in range(10):
        actor.send()

    with working(broker, threads=3):
        until(lambda: depth(broker, "in_flight") == 3, within_ms=5_000)
        stays(lambda: depth(broker, "in_flight") == 3 and depth(broker, "ready") == 7, for_ms=200)
        go_on.set()
        until(lambda: counter(broker, "done") == 10, within_ms=5_000)


def test_a_message_of_a_stock_producer_is_seen(make_broker, redis_server):
    broker, ran = make_broker(), []
    actor = declare(broker, lambda: ran.append(1), actor_name="note")
    stock = dramatiq.brokers.redis.RedisBroker(
        client=redis_server.client(2), namespace=OPTIONS.namespace, maintenance_chance=0, middleware=[]
    )
    with working(broker):
        until(lambda: broker.machinery.keeper.last_round_boot_ms, within_ms=5_000)
        stock.declare_queue("work")
        stock.enqueue(actor.message())
        until(lambda: ran, within_ms=5_000)
    stock.client.close()
