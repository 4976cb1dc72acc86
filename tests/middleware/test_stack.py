"""The whole stack on the real carrier: what must hold however the hooks and Redis fail."""

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import pytest
import redis
from broker_world import working
from dramatiq import Middleware, Worker
from dramatiq.middleware import CurrentMessage, TimeLimitExceeded
from waiting import until

from middleware import default_stack
from middleware.actor import routed
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.dead_letter import DeadLetterAnnouncer
from middleware.errors import Described, Snooze
from middleware.finished import FinishedLog
from middleware.health import Health
from middleware.letters import DeadLetter, DeadLetters
from middleware.metrics import Metrics
from middleware.retries import Retries, RetryPolicy
from middleware.sentry import SentryScope
from middleware.sentry_crons import SentryCrons
from middleware.sentry_traces import SentryTraces
from middleware.ticks import Ticks
from middleware.time_limit import TimeLimit
from middleware.tracing import Tracing

pytestmark = pytest.mark.redis

POLICY = RetryPolicy(max_attempts=3, base_ms=20, cap_ms=40)
SECRET = "Olá Maria, +5511988887777"


class Flaky(Described):
    code = "flaky"


class Hopeless(Described):
    code = "hopeless"
    permanent = True


class Stack:
    """A broker with our stack, and what it was told."""

    def __init__(self, server: EmbeddedRedis, *more: Middleware) -> None:
        self.broker = CarrierBroker(
            connect=lambda: {**kwargs_for_db(server.url(0), 2), "socket_timeout": 0.3, "socket_connect_timeout": 0.3},
            options=lambda: CarrierOptions(namespace="test:stack", dead_suffix=".dead", pinned_db=2, lease_ms=1_000),
            middleware=[*default_stack(retry_policy=lambda: POLICY), *more],
        )
        self.heard: list[DeadLetter] = []
        self.part(DeadLetterAnnouncer).listeners.append(self.heard.append)
        self.part(TimeLimit).manager.interval = 0.02

    def part(self, kind: type) -> Any:
        return next(one for one in self.broker.middleware if isinstance(one, kind))

    def declare(self, fn: Callable[..., Any], **options: Any) -> dramatiq.Actor[..., Any]:
        return dramatiq.actor(
            fn, broker=self.broker, queue_name="work", actor_name="work", actor_class=routed(), **options
        )

    def counter(self, name: str) -> int:
        return self.broker.transitions.stats(["work"])[0].counters.get(name, 0)

    @contextmanager
    def working(self, *, threads: int = 1) -> Iterator[Worker]:
        with working(self.broker, threads=threads, boots=True) as worker:
            yield worker


@pytest.fixture
def stack(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Stack]:
    stack = Stack(redis_server)
    yield stack
    stack.broker.close()


def test_the_order_of_the_stack_is_the_one_that_was_proven():
    assert [type(one) for one in default_stack()] == [
        SentryScope,
        Tracing,
        SentryTraces,
        SentryCrons,
        CurrentMessage,
        DeadLetterAnnouncer,
        Health,
        Metrics,
        FinishedLog,
        Ticks,
        Retries,
        TimeLimit,
    ]


def test_a_message_that_keeps_failing_ends_as_a_letter_with_its_whole_life(stack):
    stack.declare(lambda: (_ for _ in ()).throw(Flaky("gateway is away: inst-1")))
    with stack.working():
        sent = stack.broker.get_actor("work").send_with_options(lane="lane-1", group="inst-1")
        until(lambda: stack.heard, within_ms=5_000)

    (letter,) = stack.heard
    assert (letter.job_id, letter.reason, letter.attempts) == (sent.message_id, "attempts_exhausted", 3)
    assert (letter.error, letter.error_class, letter.lane, letter.group) == (
        "gateway is away: inst-1",
        "Flaky",
        "lane-1",
        "inst-1",
    )
    assert [failure["attempt"] for failure in letter.failures] == [1, 2, 3]
    assert letter.first_failed_at_ms == letter.failures[0]["at_ms"]
    assert letter.failures[-1]["frames"][-1].startswith("tests/middleware/test_stack.py:")
    assert (stack.counter("retried"), stack.counter("dead"), stack.counter("enqueued")) == (2, 1, 1)


def test_a_permanent_error_is_a_letter_after_one_attempt(stack):
    def refuse() -> None:
        raise Hopeless("row m-1 does not exist")

    stack.declare(refuse).send()
    with stack.working():
        until(lambda: stack.heard, within_ms=5_000)

    assert (stack.heard[0].reason, stack.heard[0].attempts) == ("hopeless", 1)
    assert stack.counter("retried") == 0


def test_being_put_back_uses_no_attempt_and_ends_when_it_may(stack):
    ran = []

    def wait() -> None:
        ran.append(1)
        if len(ran) < 6:
            raise Snooze("not yet", delay_ms=5)

    stack.declare(wait).send()
    with stack.working():
        until(lambda: stack.counter("done") == 1, within_ms=5_000)

    assert (len(ran), stack.counter("snoozed"), stack.counter("retried")) == (6, 5, 0)


def test_a_redriven_letter_starts_with_fresh_attempts(stack):
    stack.declare(lambda: (_ for _ in ()).throw(Flaky("away")))
    letters = DeadLetters(stack.broker)
    with stack.working():
        stack.broker.get_actor("work").send()
        until(lambda: stack.heard, within_ms=5_000)
        assert letters.redrive(stack.heard[0]) == "redriven"
        until(lambda: len(stack.heard) == 2, within_ms=5_000)

    assert [(letter.attempts, len(letter.failures)) for letter in stack.heard] == [(3, 3), (3, 3)]


def test_a_retry_decided_while_redis_is_away_happens_when_it_returns():
    # Stock loses this message: its retry is enqueued in a hook whose error is swallowed, then the original is acknowledged.
    with EmbeddedRedis(persist=True) as server:
        stack, ran = Stack(server), []

        def fail_as_redis_goes() -> None:
            ran.append(1)
            if len(ran) == 1:
                server.stop()
                raise Flaky("away")

        stack.declare(fail_as_redis_goes).send()
        with stack.working():
            until(lambda: ran, within_ms=5_000)
            until(lambda: server.pid is None, within_ms=5_000)
            server.start()
            until(lambda: len(ran) == 2, within_ms=15_000)
            until(lambda: stack.counter("done") == 1, within_ms=5_000)
        stack.broker.close()

    assert len(ran) == 2


def test_a_time_limit_inside_the_actor_is_a_failed_attempt_and_the_thread_lives(stack):
    begun = threading.Event()

    def overlong() -> None:
        if not begun.is_set():
            begun.set()
            while True:
                threading.Event().wait(0.01)

    stack.declare(overlong, time_limit=150).send()
    with stack.working() as worker:
        until(lambda: stack.counter("done") == 1, within_ms=8_000)
        assert [thread.is_alive() for thread in worker.workers] == [True]

    assert stack.counter("retried") == 1


class SlowHook(Middleware):
    """A hook that takes longer than the actor's limit leaves; ``strike`` stands for any interrupt that reaches it."""

    def __init__(self, strike: type[BaseException] | None = None) -> None:
        self.strike = strike
        self.struck = 0

    def after_process_message(self, broker, message, *, result=None, exception=None):
        threading.Event().wait(0.4)
        if self.strike is not None and not self.struck:
            self.struck += 1
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_long(threading.get_ident()), ctypes.py_object(self.strike)
            )
            for _ in range(100):
                threading.Event().wait(0.001)


def test_a_time_limit_that_passes_inside_a_hook_harms_nobody(redis_server, queue_client):
    # Stock lists the limit before Retries, so it is disarmed last: the thread dies and the message is acknowledged.
    ran = []
    stack = Stack(redis_server)
    stack.broker.add_middleware(SlowHook(), before=Retries)

    def fail_once() -> None:
        ran.append(1)
        if len(ran) == 1:
            raise Flaky("away")

    stack.declare(fail_once, time_limit=200).send()
    with stack.working() as worker:
        until(lambda: stack.counter("done") == 1, within_ms=8_000)
        assert [thread.is_alive() for thread in worker.workers] == [True]
    stack.broker.close()

    assert len(ran) == 2
    assert stack.counter("retried") == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_interrupt_inside_a_hook_loses_no_message(redis_server, queue_client):
    # The hook stands where it runs before the decision, so nothing is decided when it is struck.
    ran = []
    stack = Stack(redis_server, SlowHook(TimeLimitExceeded))

    def fail_once() -> None:
        ran.append(1)
        if len(ran) == 1:
            raise Flaky("away")

    stack.declare(fail_once, time_limit=60_000).send()
    with stack.working(threads=2):
        until(lambda: stack.counter("retried") == 1, within_ms=8_000)
        queue_client.zadd(
            "test:stack:work.delayed", dict.fromkeys(queue_client.zrange("test:stack:work.delayed", 0, -1), 1)
        )
        until(lambda: stack.counter("done") == 1, within_ms=8_000)
    stack.broker.close()

    assert len(ran) == 2


def test_what_an_error_quotes_is_logged_nowhere(stack, caplog):
    def fail(message_id: str) -> None:
        raise ValueError(f"Failing row contains ({message_id}, {SECRET})")

    stack.declare(fail)
    with caplog.at_level(logging.INFO), stack.working():
        stack.broker.get_actor("work").send("m-1")
        until(lambda: stack.heard, within_ms=5_000)

    said = [*(str(vars(record)) for record in caplog.records), caplog.text]
    assert [text for text in said if "Maria" in text or "5511988887777" in text] == []
    assert stack.heard[0].error is None
    assert {"message.retried", "message.died"} <= {record.getMessage() for record in caplog.records}
