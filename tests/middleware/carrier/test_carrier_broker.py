"""The broker under Dramatiq's own worker: what it promises when things go wrong."""

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import dramatiq
import pytest
from broker_world import OPTIONS, working
from dramatiq import Middleware, Worker
from dramatiq.middleware import CurrentMessage
from waiting import stays, until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.clock import SystemClock
from middleware.errors import ExitCode, QueueFull, QueueUnavailable, Refusal
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


def declare(broker: CarrierBroker, fn: Callable[..., Any], **options: Any) -> dramatiq.Actor[..., Any]:
    return dramatiq.actor(broker=broker, queue_name="work", **options)(fn)


def depth(broker: CarrierBroker, state: str) -> int:
    return getattr(broker.transitions.stats(["work"])[0], state)


def counter(broker: CarrierBroker, name: str) -> int:
    return broker.transitions.stats(["work"])[0].counters.get(name, 0)


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


def test_an_idle_process_asks_redis_for_less_than_one_thing_a_second(make_broker, queue_client):
    broker = make_broker(options=replace(OPTIONS, lease_ms=15_000))
    for number in range(6):
        dramatiq.actor(broker=broker, queue_name=f"q{number}", actor_name=f"a{number}")(lambda: None)

    def asked() -> tuple[int, int]:
        """Waits, and all that was asked. A script's own commands are counted too; a process asks by EVALSHA and BLPOP."""
        calls = queue_client.info("commandstats")
        waits, scripts = (calls.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("blpop", "evalsha"))
        return waits, waits + scripts

    with working(broker):
        counts = [(0, -1)]
        # Booted: nothing was asked between two looks.
        until(lambda: counts.append(asked()) or counts[-1] == counts[-2], within_ms=5_000, poll_ms=300)
        # From the end of a wait to the end of a later one: so both ends cut the same thing.
        waits, _ = counts[-1]
        first = until(lambda: (now := asked())[0] > waits and now, within_ms=10_000)
        first_ms = broker.clock.boot_ms()
        last = until(lambda: (now := asked())[0] > first[0] and now, within_ms=10_000)
        idle_s = (broker.clock.boot_ms() - first_ms) / 1000

    # A wait and the fetch behind it each five seconds, a round of care each two: of these three fit in when one is at the edge.
    assert idle_s > 4.5
    assert 3 <= last[1] - first[1] <= idle_s + 1


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


def test_sending_to_a_silent_redis_fails_in_time_and_says_so(make_broker):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        broker = make_broker(url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        actor = declare(broker, lambda: None, actor_name="note")
        began_ms = broker.clock.boot_ms()
        with pytest.raises(QueueUnavailable, match="chat-actors doctor"):
            actor.send()

    # Within 5 s on a quiet machine: tests/flows/test_figures.py.
    assert broker.clock.boot_ms() - began_ms <= 15_000


def test_sending_to_a_closed_port_fails_at_once(make_broker):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    broker = make_broker(url=f"redis://127.0.0.1:{port}/0")

    with pytest.raises(QueueUnavailable, match="Redis did not answer while enqueueing"):
        declare(broker, lambda: None, actor_name="note").send()


def test_a_full_redis_refuses_new_messages_and_still_drains(make_broker, queue_client):
    if int(queue_client.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("draining a full Redis is promised from version 7 on")
    broker, ran = make_broker(), []
    actor = declare(broker, lambda: ran.append(1), actor_name="note")
    for _ in range(20):
        actor.send()
    queue_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueFull, match="maxmemory"):
            actor.send()
        with working(broker):
            until(lambda: len(ran) == 20 and broker.do_qsize("work") == 0, within_ms=5_000)
    finally:
        queue_client.config_set("maxmemory", 0)


def test_a_worker_goes_on_when_redis_was_restarted(tmp_path):
    ran = []
    with EmbeddedRedis(directory=tmp_path, persist=True) as server:
        broker = CarrierBroker(
            connect=lambda: kwargs_for_db(server.url(0), 2), options=lambda: OPTIONS, middleware=[CurrentMessage()]
        )
        actor = declare(broker, lambda: ran.append(1), actor_name="note")
        with closing(broker), working(broker):
            actor.send()
            until(lambda: len(ran) == 1, within_ms=5_000)
            server.stop()
            server.start()
            until(lambda: _sent(actor), within_ms=10_000)
            until(lambda: len(ran) == 2, within_ms=10_000)


def _sent(actor: dramatiq.Actor[..., Any]) -> bool:
    try:
        actor.send()
    except QueueUnavailable:
        return False
    return True


def test_a_worker_on_another_database_refuses_to_start(make_broker, redis_server):
    broker = CarrierBroker(url=redis_server.url(1), options=lambda: OPTIONS, middleware=[])
    with closing(broker), pytest.raises(Refusal, match="database 1, it must be 2") as refusal:
        Worker(broker).start()

    assert refusal.value.code == ExitCode.WRONG_DATABASE


def test_a_broker_needs_neither_redis_nor_settings_until_it_is_used():
    asked = []

    def connect() -> dict[str, Any]:
        asked.append("connect")
        raise RuntimeError("no settings")

    broker = CarrierBroker(connect=connect, options=lambda: asked.append("options") or OPTIONS, middleware=[])
    actor = declare(broker, lambda: None, actor_name="note")
    assert asked == []
    with pytest.raises(RuntimeError, match="no settings"):
        actor.send()
