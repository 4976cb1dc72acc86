"""Check-ins of periodic messages, as a real sink gets them."""

from collections.abc import Callable
from typing import Any

import dramatiq
import pytest
import sentry_sdk
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from middleware.errors import Described, Snooze
from middleware.letters import DeadLetter
from middleware.retries import Retries, RetryPolicy
from middleware.sentry import SentryScope
from middleware.sentry_crons import Monitor, SentryCrons, slug_of
from middleware.sentry_traces import SentryTraces
from middleware.slots import Cron

MONITOR = Monitor(slug="chat-actors-sweep", cron=Cron("*/5 * * * *", "America/Sao_Paulo"), max_runtime_ms=90_000)


class Bad(Described):
    code = "bad"
    permanent = True


def run(fn: Callable[[], Any], **options: Any) -> SentryCrons:
    """Run one message through the hooks, on a broker whose outcomes nobody applies: one attempt."""
    crons = SentryCrons()
    crons.watch({"sweep": MONITOR})
    policy = RetryPolicy(max_attempts=3)
    broker = StubBroker(middleware=[SentryScope(), SentryTraces(), crons, Retries(policy=lambda: policy)])
    broker.emit_after("process_boot")
    dramatiq.actor(fn, broker=broker, actor_name="sweep", queue_name="work").send_with_options(
        **{"tick": 60_000, **options}
    )
    worker = Worker(broker, worker_threads=1, worker_timeout=20)
    worker.start()
    broker.join("work", fail_fast=False)
    worker.stop()
    return crons


def raises(error: Exception) -> Callable[[], None]:
    def fn() -> None:
        raise error

    return fn


def test_a_slot_that_ends_well_is_begun_and_ok_under_one_id(sink, generous_host):
    generous_host()
    run(lambda: None)
    sink.wait(lambda: len(sink.check_ins()) == 2)

    begun, ended = sink.check_ins()
    assert (begun["status"], ended["status"]) == ("in_progress", "ok")
    assert begun["check_in_id"] == ended["check_in_id"]
    assert {one["monitor_slug"] for one in (begun, ended)} == {"chat-actors-sweep"}
    assert ended["duration"] >= 0
    assert (ended["environment"], ended["release"]) == ("test", "host@1")
    assert begun["monitor_config"] == {
        "schedule": {"type": "crontab", "value": "*/5 * * * *"},
        "timezone": "America/Sao_Paulo",
        "checkin_margin": 5,
        "max_runtime": 2,
        "failure_issue_threshold": 3,
        "recovery_threshold": 1,
    }


@pytest.mark.parametrize("error", [Snooze("later", delay_ms=1), RuntimeError("again"), Bad("never")])
def test_what_is_not_over_or_has_a_dead_letter_has_only_begun(sink, generous_host, error):
    generous_host()
    run(raises(error))
    sink.wait(sink.check_ins)

    assert [one["status"] for one in sink.check_ins()] == ["in_progress"]


def test_a_later_attempt_does_not_begin_again(sink, generous_host):
    generous_host()
    run(lambda: None, retries=1)
    sink.wait(sink.check_ins)

    assert [one["status"] for one in sink.check_ins()] == ["ok"]


def test_a_slot_that_was_given_up_is_an_error_wherever_it_died(sink, generous_host):
    generous_host()
    crons = run(raises(Bad("never")))
    sink.wait(sink.check_ins)
    [begun] = sink.check_ins()
    known = {"id": "r", "queue": "work", "died_at_ms": 1, "deliveries": 1}
    job_id = next(one["tags"]["job_id"] for one in sink.transactions())
    for dead in (
        DeadLetter(**known, reason="crash_loop", actor="sweep", job_id=job_id, options={"tick": 60_000}),
        DeadLetter(**known, reason="crash_loop", actor="sweep", job_id="sent-by-hand", options={}),
        DeadLetter(**known, reason="undecodable"),
    ):
        crons.tell(dead)
    sink.wait(lambda: len(sink.check_ins()) == 2)

    assert [one["status"] for one in sink.check_ins()] == ["in_progress", "error"]
    assert sink.check_ins()[1]["check_in_id"] == begun["check_in_id"]


def test_what_was_sent_by_hand_or_has_no_monitor_checks_nothing_in(sink, generous_host):
    generous_host()
    run(lambda: None, tick=None).watch({})
    sentry_sdk.get_client().flush(timeout=1)
    crons = SentryCrons()
    crons._check_in("other", "j", "ok")

    assert [one["status"] for one in sink.check_ins()] == []


@pytest.mark.parametrize(("line", "threshold"), [("* * * * *", 3), ("0 3 * * *", 1), ("@hourly", 1)])
def test_an_actor_that_comes_often_may_miss_some(line, threshold):
    monitor = Monitor(slug="s", cron=Cron(line), max_runtime_ms=1)

    assert monitor.config(0)["failure_issue_threshold"] == threshold
    assert monitor.config(0)["max_runtime"] == 1


def test_a_slug_is_one_that_sentry_takes():
    assert slug_of("chat-actors", "record_memory_usage") == "chat-actors-record-memory-usage"
    assert len(slug_of("chat-actors", "x" * 80)) <= 50
    assert slug_of("a", "É b_") == "a---b"
