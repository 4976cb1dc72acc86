"""What messages came to is counted on a real broker, shown as Prometheus reads it, and never stands in a message's way."""

import sys
from collections.abc import Iterator

import pytest
import redis
from carriage import Carriage, carriage, fail
from dramatiq import MessageProxy
from dramatiq.middleware import SkipMessage
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from waiting import until

from middleware import metrics
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import Described, Snooze
from middleware.meters import ACCEPTED, ATTEMPTS, ENQUEUED, GROUPS, LATENCY, REASONS, Family, Meters, families
from middleware.metrics import Metrics, NotInstalled, exposed

SOON_MS = 10_000
pytestmark = pytest.mark.redis


class Hopeless(Described):
    code = "hopeless"
    permanent = True


@pytest.fixture
def meters() -> Meters:
    return Meters()


@pytest.fixture
def carrier(redis_server: EmbeddedRedis, queue_client: redis.Redis, meters: Meters) -> Iterator[Carriage]:
    with carriage(redis_server.url(0), namespace="test:metrics") as made:
        next(one for one in made.broker.middleware if isinstance(one, Metrics)).meters = meters
        yield made


def rows(meters: Meters, name: str) -> dict[tuple[str, ...], float]:
    """Label values and the count; of a histogram how often."""
    found = meters.snapshot().get(name, [])
    return {tuple(values): numbers[0] if len(numbers) == 1 else sum(numbers[:-1]) for values, numbers in found}


def raising(error: Exception):
    def plan() -> None:
        raise error

    return plan


def test_every_attempt_is_counted_by_what_it_came_to(carrier, meters):
    carrier.plans |= {
        "flaky": [fail],
        "throttled": [raising(Snooze("later", delay_ms=1))],
        "hopeless": [raising(Hopeless("no"))],
        "skipped": [raising(SkipMessage())],
    }
    carrier.send("fine", "flaky", "throttled", "hopeless", "skipped", group="line-1/bulk")
    with carrier.working():
        until(lambda: sum(rows(meters, ATTEMPTS.name).values()) == 7, within_ms=SOON_MS)

    assert rows(meters, ATTEMPTS.name) == {
        ("work", "step", "done"): 3,
        ("work", "step", "retry"): 1,
        ("work", "step", "snooze"): 1,
        ("work", "step", "dead"): 1,
        ("work", "step", "skipped"): 1,
    }
    assert rows(meters, REASONS.name) == {
        ("step", "retry", "runtime_error"): 1,
        ("step", "snooze", "snoozed"): 1,
        ("step", "dead", "hopeless"): 1,
    }
    assert rows(meters, GROUPS.name)[("line-1", "done")] == 3
    # What went back into the queue was not sent a second time.
    assert rows(meters, ENQUEUED.name) == {("work",): 5}
    assert rows(meters, LATENCY.name) == {("step",): 3}


def test_the_latency_is_from_the_enqueue_on_through_all_waits(carrier, meters):
    carrier.plans["m"] = [raising(Snooze("later", delay_ms=600))]
    carrier.send("m")
    with carrier.working():
        until(lambda: rows(meters, LATENCY.name) == {("step",): 1}, within_ms=SOON_MS)

    [[_, numbers]] = meters.snapshot()[LATENCY.name]
    assert numbers[-1] >= 0.6


def test_what_is_accepted_outside_is_timed_for_the_message_that_runs(carrier, meters):
    metrics.accepted(meters=meters)
    assert meters.snapshot() == {}

    carrier.plans["m"] = [lambda: metrics.accepted(meters=meters)]
    carrier.send("m")
    with carrier.working():
        until(lambda: rows(meters, ACCEPTED.name) == {("step",): 1}, within_ms=SOON_MS)


def test_a_redriven_message_is_as_old_as_its_redrive(carrier):
    message = carrier.message("m", redriven_at_ms=9_999_999_999_999)

    assert metrics.born_ms(message) == 9_999_999_999_999
    assert metrics.born_ms(carrier.message("m", redriven_at_ms="no number")) < 9_999_999_999_999


def test_a_message_that_stock_retries_enqueues_again_is_no_new_one(carrier, meters):
    message = carrier.message("m")
    counting = Metrics(meters=meters)

    counting.after_enqueue(carrier.broker, message, None)
    counting.after_enqueue(carrier.broker, MessageProxy(message), 100)

    assert rows(meters, ENQUEUED.name) == {("work",): 1}


def test_without_the_package_messages_go_on_and_the_page_says_what_is_missing(carrier, meters, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    carrier.send("m")
    with carrier.working():
        carrier.drained(done=1)

    with pytest.raises(NotInstalled):
        exposed(families(meters.snapshot()), accept="")
    assert rows(meters, ATTEMPTS.name) == {("work", "step", "done"): 1}


@pytest.mark.parametrize(
    ("accept", "read"), [("text/plain", read_text), ("application/openmetrics-text; version=1.0.0", read_openmetrics)]
)
def test_what_is_shown_can_be_read_as_it_was_counted(accept, read):
    meters = Meters()
    meters.count(ATTEMPTS, "work", "step", "done", by=3)
    meters.observe(LATENCY, 'a "quoted" name\n', seconds=0.3)
    gauge = Family("chat_actors_queue_messages", "gauge", "Messages.", ("queue", "state"), [(("work", "ready"), (7,))])

    content_type, body = exposed([*families(meters.snapshot()), gauge], accept=accept)

    assert content_type.startswith(accept.partition(";")[0])
    samples = {
        (one.name, *sorted(one.labels.values())): one.value for family in read(body.decode()) for one in family.samples
    }
    assert samples[("chat_actors_attempts_total", "done", "step", "work")] == 3
    assert samples[("chat_actors_queue_messages", "ready", "work")] == 7
    assert samples[("chat_actors_message_latency_seconds_bucket", "+Inf", 'a "quoted" name\n')] == 1
    assert samples[("chat_actors_message_latency_seconds_bucket", "0.25", 'a "quoted" name\n')] == 0
    assert samples[("chat_actors_message_latency_seconds_sum", 'a "quoted" name\n')] == 0.3
