"""One trace from the send through retries and waits, as an OpenTelemetry SDK records it; nothing where there is none."""

import sys
from collections.abc import Iterator

import pytest
import redis
from carriage import Carriage, carriage, fail
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from waiting import until

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import Described, QueueUnavailable, Snooze
from middleware.tracing import Tracing

pytestmark = pytest.mark.redis

SOON_MS = 10_000
PHONE = "+5511988887777"


class Hopeless(Described):
    code = "hopeless"
    permanent = True


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What an SDK exports; the API's global provider is set once in a process, so ours takes its place here."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
def carrier(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Carriage]:
    with carriage(redis_server.url(0), namespace="test:tracing") as made:
        yield made


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    spans = [span for span in exporter.get_finished_spans() if span.name == name]
    return sorted(spans, key=lambda span: span.start_time or 0)


def raising(error: Exception):
    def plan() -> None:
        raise error

    return plan


def test_every_attempt_is_in_the_trace_of_the_send_and_linked_to_the_one_before(carrier, exporter):
    carrier.plans[PHONE] = [fail, raising(Snooze("later", delay_ms=20))]
    carrier.send(PHONE, group="line-1", lane="c1")
    with carrier.working():
        until(lambda: len(named(exporter, "process work")) == 3, within_ms=SOON_MS)

    [sent] = named(exporter, "send work")
    attempts = named(exporter, "process work")
    assert {span.context.trace_id for span in attempts} == {sent.context.trace_id}
    assert [span.parent.span_id for span in attempts if span.parent] == [sent.context.span_id] * 3
    before = [None, *(span.context.span_id for span in attempts)]
    for number, span in enumerate(attempts):
        linked = [link.context.span_id for link in span.links]
        assert linked == [one for one in (sent.context.span_id, before[number]) if one is not None]
    assert [span.attributes["messaging.dramatiq.attempt"] for span in attempts] == [1, 2, 2]
    assert [span.attributes["messaging.dramatiq.put_backs"] for span in attempts] == [0, 0, 1]
    assert [span.attributes.get("messaging.dramatiq.outcome") for span in attempts] == ["retry", "snooze", None]


def test_spans_are_called_as_the_conventions_say_and_hold_no_argument(carrier, exporter):
    carrier.plans[PHONE] = [raising(ValueError(f"row of {PHONE}"))]
    carrier.send(PHONE, group="line-1", lane="c1")
    with carrier.working():
        until(lambda: len(named(exporter, "process work")) == 2, within_ms=SOON_MS)

    [sent], [failed, done] = named(exporter, "send work"), named(exporter, "process work")
    assert (sent.kind, failed.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    common = {
        "messaging.system": "dramatiq",
        "messaging.destination.name": "work",
        "messaging.message.id": sent.attributes["messaging.message.id"],
        "messaging.dramatiq.actor": "step",
        "messaging.dramatiq.group": "line-1",
        "messaging.dramatiq.lane": "c1",
    }
    operation = {"messaging.operation.name": "send", "messaging.operation.type": "send"}
    assert dict(sent.attributes) == common | operation
    assert common.items() <= failed.attributes.items()
    assert failed.attributes["messaging.operation.type"] == "process"
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "value_error")
    assert failed.attributes["error.type"] == "value_error"
    assert done.status.status_code is StatusCode.UNSET
    assert "5511988887777" not in "".join(span.to_json() for span in exporter.get_finished_spans())
    assert [span.events for span in exporter.get_finished_spans()] == [(), (), ()]


def test_what_an_actor_does_is_inside_its_attempt(carrier, exporter):
    seen = []
    carrier.plans["m"] = [lambda: seen.append(trace.get_current_span().get_span_context().span_id)]
    carrier.send("m")
    with carrier.working(1):
        until(lambda: named(exporter, "process work"), within_ms=SOON_MS)
        carrier.plans["n"] = [lambda: seen.append(trace.get_current_span().get_span_context().span_id)]
        carrier.send("n")
        until(lambda: len(seen) == 2, within_ms=SOON_MS)

    first = named(exporter, "process work")[0]
    assert seen[0] == first.context.span_id
    assert seen[1] != seen[0]


def test_a_send_that_fails_or_finds_its_message_there_ends_its_span(carrier, exporter, monkeypatch):
    carrier.send("m", unique_key="u")
    carrier.send("m", unique_key="u")
    until(lambda: len(named(exporter, "send work")) == 2, within_ms=SOON_MS)

    def refuse(*_: object, **__: object) -> None:
        raise QueueUnavailable("away")

    monkeypatch.setattr(carrier.broker.transitions, "enqueue_many", refuse)
    with pytest.raises(QueueUnavailable):
        carrier.send("n")
    until(lambda: len(named(exporter, "send work")) == 3, within_ms=SOON_MS)
    assert next(one for one in carrier.broker.middleware if isinstance(one, Tracing))._sends == {}


def test_a_context_that_cannot_be_read_begins_a_new_trace(carrier, exporter, monkeypatch):
    monkeypatch.setattr(Tracing, "before_enqueue", lambda *_: None)
    carrier.send("a", otel={"traceparent": "nonsense", "last": 7})
    carrier.send("b", otel="nonsense")
    with carrier.working():
        until(lambda: len(named(exporter, "process work")) == 2, within_ms=SOON_MS)

    assert [span.parent for span in named(exporter, "process work")] == [None, None]


def test_without_an_sdk_messages_carry_nothing(carrier):
    assert "opentelemetry.trace" in sys.modules
    carrier.send("m")
    body = carrier.broker.client.hgetall("test:tracing:work.msgs")
    with carrier.working():
        carrier.drained(done=1)

    assert body
    assert not any(b"otel" in value for value in body.values())
