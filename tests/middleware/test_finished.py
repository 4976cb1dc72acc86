"""One line for each message that is over, with its ids, its times and its trace, and nothing of what it says."""

import json
import logging
from collections.abc import Iterator

import pytest
import redis
from carriage import Carriage, carriage, fail
from waiting import until

from actors.cli import logs
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import Described, Snooze
from middleware.trace_context import trace_id_of

pytestmark = pytest.mark.redis

SOON_MS = 10_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Hopeless(Described):
    code = "hopeless"
    permanent = True


@pytest.fixture
def carrier(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Carriage]:
    with carriage(redis_server.url(0), namespace="test:finished") as made:
        yield made


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [logs.fields_of(record) for record in caplog.records if record.getMessage() == "message.finished"]


def raising(error: Exception):
    def plan() -> None:
        raise error

    return plan


def test_a_message_that_is_done_leaves_one_line_however_often_it_ran(carrier, caplog):
    carrier.plans["+5511988887777"] = [fail, raising(Snooze("later", delay_ms=50))]
    with caplog.at_level(logging.INFO), carrier.working():
        carrier.send("+5511988887777", lane="c1", group="line-1", unique_key="m1", otel={"traceparent": PARENT})
        carrier.drained(done=1)

    [line] = lines(caplog)
    times = line.pop("duration_ms"), line.pop("age_ms")
    assert len(str(line.pop("job_id"))) == 36
    assert line == {
        "actor": "step",
        "queue": "work",
        "outcome": "done",
        "unique_key": "m1",
        "lane": "c1",
        "instance": "line-1",
        "attempt": 2,
        "trace_id": TRACE,
    }
    assert 0 <= int(str(times[0])) <= int(str(times[1]))
    assert int(str(times[1])) >= 50


def test_a_message_that_is_given_up_leaves_one_line_with_its_reason(carrier, caplog):
    carrier.plans["m"] = [raising(Hopeless("no"))]
    with caplog.at_level(logging.INFO), carrier.working():
        carrier.send("m")
        until(lambda: lines(caplog), within_ms=SOON_MS)

    [line] = lines(caplog)
    assert (line["outcome"], line["code"], line["attempt"]) == ("dead", "hopeless", 1)


def test_what_a_line_shows_is_one_object_of_ids_and_numbers(carrier, caplog):
    with caplog.at_level(logging.INFO), carrier.working():
        carrier.send("+5511988887777")
        until(lambda: lines(caplog), within_ms=SOON_MS)

    [record] = [record for record in caplog.records if record.getMessage() == "message.finished"]
    shown = json.loads(logs.JsonLines().format(record))
    assert shown["event"] == "message.finished"
    assert "5511988887777" not in json.dumps(shown)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, None),
        ({"otel": {"traceparent": PARENT}}, TRACE),
        ({"otel": {"traceparent": "nonsense"}}, None),
        ({"otel": {"traceparent": 7}}, None),
        ({"otel": "nonsense"}, None),
        # Sentry's, in the words of its own header.
        ({"trace": f"{TRACE}-b7ad6b7169203331-1 sampled"}, TRACE),
        ({"otel": {"traceparent": "nonsense"}, "trace": f"{TRACE}-b7ad6b7169203331"}, TRACE),
        ({"trace": 7}, None),
    ],
    ids=str,
)
def test_the_trace_is_read_from_the_message_or_there_is_none(options, found):
    assert trace_id_of(options) == found
