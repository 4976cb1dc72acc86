"""Sentry away, deaf or slow costs a message nothing but its report."""

import logging
import socket
from collections.abc import Callable
from contextlib import closing
from time import perf_counter_ns, thread_time_ns
from typing import Any

import dramatiq
import pytest
import sentry_sdk
from dramatiq import MessageProxy
from dramatiq.brokers.stub import StubBroker
from sentry_sdk.transport import Transport
from waiting import until

from middleware import default_stack
from middleware.outcomes import Done
from middleware.sentry_client import ClientOptions, start

#: More than the SDK keeps before it drops.
MANY = 150
#: Messages whose times are measured.
MEASURED = 2_000


class NowhereToSend(Transport):
    """The SDK's transport at its worst: it raises where it should only drop."""

    def __init__(self, dsn: str) -> None:
        super().__init__({"dsn": dsn})

    def capture_envelope(self, envelope: Any) -> None:
        raise ConnectionError("no route")


def give_up(line: Any, count: int) -> None:
    """``count`` messages run and are given up, each a transaction and an event."""
    actor = line.declare(lambda: (_ for _ in ()).throw(ValueError("no")))
    for _ in range(count):
        actor.send_with_options(max_attempts=1)
    with line.working():
        line.dead(count)
        until(lambda: not line.broker.client.zcard("test:traces:work.dead.unannounced"), within_ms=10_000)


@pytest.mark.redis
def test_a_sentry_that_never_answers_holds_up_no_message_and_no_dead_letter(line, sink, generous_host):
    generous_host()
    sink.hold()
    give_up(line, MANY)

    # All of them ended, and were announced, while the first request still waits for its answer.
    assert sink.waiting == 1
    assert sink.bodies == []


@pytest.mark.redis
def test_a_sentry_that_refuses_connections_holds_up_nothing(line, sink, generous_host):
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        generous_host(dsn=f"http://public@127.0.0.1:{one.getsockname()[1]}/1")
        give_up(line, 10)

    assert line.broker.transitions.stats(["work"])[0].counters["dead"] == 10


@pytest.mark.redis
def test_an_sdk_that_breaks_holds_up_nothing(line, sink):
    start(sink.dsn, ClientOptions(transport=NowhereToSend(sink.dsn), traces_sample_rate=1.0))
    runs: list[int] = []
    actor = line.declare(lambda: runs.append(1))
    with sentry_sdk.start_transaction(op="http.server", name="/reply") as request:
        request.sampled = False
        actor.send()
    with line.working():
        line.done()

    assert runs == [1]


# -- the price -----------------------------------------------------------------------------------------------------


def _p99_ms(broker: StubBroker, messages: int, clock_ns: Callable[[], int]) -> float:
    """What the whole stack takes around one message, sent and run, in milliseconds."""
    took = []
    for number in range(messages):
        message: Any = dramatiq.Message(queue_name="work", actor_name="work", args=(), kwargs={}, options={})
        began = clock_ns()
        broker.emit_before("enqueue", message, None)
        broker.emit_after("enqueue", message, None)
        proxy: Any = MessageProxy(message)
        broker.emit_before("process_message", proxy)
        error = ValueError("no") if number % 10 == 0 else None
        proxy.outcome = None if error else Done()
        broker.emit_after("process_message", proxy, result=None, exception=error)
        took.append(clock_ns() - began)
    return sorted(took)[int(messages * 0.99)] / 1e6


def _broker() -> StubBroker:
    broker = StubBroker(middleware=default_stack())
    dramatiq.actor(lambda: None, broker=broker, actor_name="work", queue_name="work")
    broker.emit_after("process_boot")
    return broker


@pytest.mark.slow
@pytest.mark.parametrize("state", ["answers", "never answers", "refuses"])
def test_a_message_waits_for_sentry_no_longer_than_5_ms(
    sink: Any,
    generous_host: Callable[..., None],
    state: str,
    record_property: Callable[[str, object], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every message is traced. The bar is on the time of the thread's own, which other processes do not stretch; that it waits
    for nobody is shown above. What a wall clock says is recorded beside it."""
    caplog.set_level(logging.CRITICAL)
    clocks = {"cpu": thread_time_ns, "wall": perf_counter_ns}
    without_ms = {name: _p99_ms(_broker(), MEASURED, clock) for name, clock in clocks.items()}
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        refusing = f"http://public@127.0.0.1:{nobody.getsockname()[1]}/1"
        generous_host(**({"dsn": refusing} if state == "refuses" else {}))
        if state == "never answers":
            sink.hold()
        broker = _broker()
        with sentry_sdk.start_transaction(op="http.server", name="/reply"):
            with_ms = {name: _p99_ms(broker, MEASURED, clock) for name, clock in clocks.items()}
    for name in clocks:
        record_property(f"sentry_{state.replace(' ', '_')}_{name}_p99_ms", round(with_ms[name] - without_ms[name], 3))

    assert with_ms["cpu"] - without_ms["cpu"] <= 5
