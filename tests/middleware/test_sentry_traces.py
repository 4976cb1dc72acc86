"""One trace from the sender through waits, retries and put-backs; real carrier, real SDK, real HTTP to a local sink."""

from typing import Any

import dramatiq
import pytest
import sentry_sdk
from traced_line import Away

from middleware.clock import SystemClock
from middleware.errors import Snooze
from middleware.letters import DeadLetter
from middleware.sentry import event_of
from middleware.sentry_spans import MAX_TRACE_CHARS, carried, headers_of, request_span, trace_context
from middleware.sentry_traces import SentryTraces
from middleware.trace_context import trace_id_of

TRACE = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


class StoppedClock(SystemClock):
    def now_ms(self) -> int:
        return 10_000


def spans(transaction: dict[str, Any], op: str) -> list[dict[str, Any]]:
    return [span for span in transaction["spans"] if span["op"] == op]


@pytest.mark.redis
def test_a_delayed_message_that_fails_twice_is_one_trace_with_its_request(line, sink, generous_host):
    generous_host()
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise Away("not yet")
        with request_span("POST", "gateway.invalid") as request:
            request.answered(201)

    actor = line.declare(work)
    with sentry_sdk.start_transaction(op="http.server", name="/reply") as request:
        sent = actor.send_with_options(delay=50)
    with line.working():
        line.done()
    sink.wait(lambda: len(sink.transactions()) == 4)

    web, *tasks = sorted(sink.transactions(), key=lambda one: one["start_timestamp"])
    assert {one["contexts"]["trace"]["trace_id"] for one in (web, *tasks)} == {request.trace_id}
    [publish] = spans(web, "queue.publish")
    assert (publish["description"], publish["data"]["messaging.message.id"]) == ("work", sent.message_id)
    assert publish["data"]["messaging.destination.name"] == "work"
    processed = [span for task in tasks for span in spans(task, "queue.process")]
    assert [span["data"]["messaging.message.retry.count"] for span in processed] == [0, 1, 2]
    assert [span["status"] for span in processed] == ["internal_error", "internal_error", "ok"]
    assert {span["data"]["messaging.message.id"] for span in processed} == {sent.message_id}
    assert {span["data"]["messaging.destination.name"] for span in processed} == {"work"}
    assert {task["contexts"]["trace"]["parent_span_id"] for task in tasks} == {publish["span_id"]}
    [call] = spans(tasks[2], "http.client")
    assert call["parent_span_id"] == processed[2]["span_id"]
    assert call["data"]["http.response.status_code"] == 201


@pytest.mark.redis
def test_the_latency_is_from_when_a_message_could_have_run(line, sink, generous_host):
    generous_host()
    line.declare(lambda: None).send_with_options(delay=3_600_000)
    assert line.body()["due_at_ms"] > 0
    line.broker.flush("work")

    hook = SentryTraces(StoppedClock())

    def latency_ms(**options: Any) -> int:
        message: Any = dramatiq.Message(
            queue_name="work", actor_name="work", args=(), kwargs={}, options=options, message_timestamp=4_000
        )
        return hook._latency_ms(message)

    assert latency_ms() == 6_000
    assert latency_ms(due_at_ms=9_500) == 500
    assert latency_ms(redriven_at_ms=9_000) == 1_000
    # The sender's clock may be ahead.
    assert latency_ms(due_at_ms=11_000) == 0


@pytest.mark.redis
def test_being_put_back_is_no_failure_and_stays_in_the_trace(line, sink, generous_host):
    generous_host()
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise Snooze("later", delay_ms=10)

    actor = line.declare(work)
    with sentry_sdk.start_transaction(op="http.server", name="/reply") as request:
        actor.send()
    with line.working():
        line.done()
    sink.wait(lambda: len(sink.transactions()) == 3)

    tasks = [one for one in sink.transactions() if one["contexts"]["trace"]["op"] == "queue.task"]
    assert {task["contexts"]["trace"]["trace_id"] for task in tasks} == {request.trace_id}
    statuses = [spans(task, "queue.process")[0]["status"] for task in tasks]
    assert statuses == ["cancelled", "ok"]


@pytest.mark.redis
def test_a_message_carries_little_and_nothing_of_others(line, sink, generous_host):
    generous_host()
    actor = line.declare(lambda: None)
    headers = {
        "sentry-trace": f"{TRACE}-1",
        "baggage": "sentry-release=a,theirs=+5511988887777,sentry-transaction=%2Fmaria",
    }
    transaction = sentry_sdk.continue_trace(headers, op="http.server", name="/reply")
    with sentry_sdk.start_transaction(transaction):
        actor.send()

    trace = line.body()["trace"]
    assert trace.startswith(TRACE.partition("-")[0])
    assert len(trace) <= MAX_TRACE_CHARS
    assert "5511988887777" not in trace
    assert "maria" not in trace
    assert headers_of({"trace": trace})["baggage"].startswith("sentry-trace_id=0af7651916cd43dd8448eb211c80319c,")


@pytest.mark.redis
def test_without_traces_a_message_still_names_the_trace_of_its_sender(line, sink, generous_host):
    generous_host(traces_sample_rate=None)
    seen: list[str] = []
    actor = line.declare(lambda: seen.append(sentry_sdk.get_traceparent() or ""))
    sent_from = sentry_sdk.get_traceparent() or ""
    actor.send()
    assert len(line.body()["trace"]) == 49
    with line.working():
        line.done()

    assert seen[0].partition("-")[0] == sent_from.partition("-")[0]
    assert sink.transactions() == []


@pytest.mark.redis
def test_without_sentry_a_message_carries_nothing(line):
    line.declare(lambda: None).send_with_options(delay=50)

    assert {"trace", "due_at_ms"} & line.body().keys() == set()


@pytest.mark.redis
@pytest.mark.parametrize("rate", [1.0, None])
def test_a_periodic_message_begins_a_trace_of_its_own_each_time(line, sink, generous_host, rate):
    generous_host(traces_sample_rate=rate)
    seen: list[str] = []
    actor = line.declare(lambda: seen.append((sentry_sdk.get_traceparent() or "").partition("-")[0]))
    # One thread: it is still in the trace of the message before.
    with line.working(threads=1):
        for slot_ms in (60_000, 120_000):
            actor.send_with_options(enqueue_id=f"tick-{slot_ms}", tick=slot_ms)
            line.done(slot_ms // 60_000)

    assert len(set(seen)) == 2


@pytest.mark.redis
def test_a_duplicate_has_no_publish_span(line, sink, generous_host):
    generous_host()
    actor = line.declare(lambda: None)
    with sentry_sdk.start_transaction(op="http.server", name="/reply"):
        first = actor.send_with_options(unique_key="k")
        assert actor.send_with_options(unique_key="k").message_id == first.message_id
    sink.wait(sink.transactions)

    [web] = sink.transactions()
    assert [span["data"]["messaging.message.id"] for span in spans(web, "queue.publish")] == [first.message_id]


@pytest.mark.redis
def test_a_client_that_streams_its_spans_has_the_same_ones(line, sink, generous_host):
    if not hasattr(sentry_sdk, "traces"):
        pytest.skip("this SDK does not stream")
    generous_host(trace_lifecycle="stream")

    def work() -> None:
        with request_span("POST", "gateway.invalid") as request:
            request.answered(500)

    actor = line.declare(work)
    with sentry_sdk.traces.start_span("/reply", {"sentry.op": "http.server"}) as request:
        trace_id = request.trace_id
        actor.send()
    with line.working():
        line.done()

    def all_spans() -> list[dict[str, Any]]:
        return [span for item in sink.items("span") for span in item.get("items", [item])]

    sink.wait(lambda: len(all_spans()) >= 5)
    by_op = {span["attributes"]["sentry.op"]["value"]: span for span in all_spans()}
    assert by_op.keys() == {"http.server", "queue.publish", "queue.task", "queue.process", "http.client"}
    assert {span["trace_id"] for span in all_spans()} == {trace_id}
    said = by_op["queue.process"]["attributes"]
    assert said["messaging.message.retry.count"]["value"] == 0
    assert said["messaging.destination.name"]["value"] == "work"
    assert by_op["queue.task"]["parent_span_id"] == by_op["queue.publish"]["span_id"]
    assert by_op["http.client"]["parent_span_id"] == by_op["queue.process"]["span_id"]


def test_a_dead_letter_is_in_the_trace_of_its_message():
    letter = DeadLetter(
        id="r", queue="q", reason="x", died_at_ms=1, deliveries=1, options={"trace": f"{TRACE}-1 sentry-release=a"}
    )

    assert event_of(letter)["contexts"]["trace"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("trace", [None, "", "x", 7, "0af7-b7ad-1", f"{TRACE}-2", ["a"], f"{TRACE} \n"])
def test_what_cannot_be_read_is_no_trace(trace):
    assert headers_of({"trace": trace}).get("sentry-trace") in (None, TRACE)
    assert trace_context({"trace": trace}).get("trace_id") in (None, TRACE.partition("-")[0])


def test_the_log_can_name_the_trace():
    assert trace_id_of({"trace": f"{TRACE}-1 sentry-release=a"}) == "0af7651916cd43dd8448eb211c80319c"
    assert trace_id_of({"trace": "maria"}) is None


def test_a_long_baggage_is_left_out():
    assert carried(f"{TRACE}-1", f"sentry-release={'x' * 500}") == f"{TRACE}-1"
    assert carried(f"{TRACE}-0", "sentry-release=a") == f"{TRACE}-0"
    assert carried(f"{TRACE}-1", "sentry-release=a,sentry-user=maria") == f"{TRACE}-1 sentry-release=a"


def test_a_request_outside_of_a_trace_is_none(sink, generous_host):
    generous_host()
    with request_span("GET", "gateway.invalid") as request:
        request.answered(200)
    sentry_sdk.get_client().flush(timeout=1)

    assert sink.items() == []
