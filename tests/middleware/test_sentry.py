"""Dead letters in Sentry: one event each, and nothing that must not leave. The SDK is real, its wire is not."""

import logging
from dataclasses import replace
from typing import Any

import sentry_sdk
from sentry_wire import DSN, PLANTED, Wire, forgotten, host_wire, wire

from middleware.letters import DeadLetter
from middleware.sentry import report_dead_letter
from middleware.sentry_client import ClientOptions, SentryState, start

__all__ = ["forgotten", "host_wire", "wire"]


class CutWire(Wire):
    def capture_envelope(self, envelope: Any) -> None:
        raise ConnectionError("no route to Maria")


def letter(**changes: Any) -> DeadLetter:
    dead = DeadLetter(
        id="r-1",
        queue="work",
        reason="attempts_exhausted",
        died_at_ms=1_767_614_400_123,
        deliveries=1,
        actor="send",
        job_id="j-1",
        kwargs={"text": "Olá Maria", "phone": "+5511988887777"},
        options={"apikey": "sk-very-secret"},
        error="gateway answered 500 for m-1",
        error_class="Transient",
        attempts=8,
        failures=(
            {"attempt": 7, "code": "transient", "frames": []},
            {
                "attempt": 8,
                "code": "gateway_500",
                "frames": ["dramatiq/worker.py:538 WorkerThread.process_message", "actors/chat.py:41 send_message"],
            },
        ),
        lane="lane-7",
        group="inst-1",
    )
    return replace(dead, **changes)


def test_a_dead_letter_is_one_event_that_says_what_where_and_why(wire):
    report_dead_letter(letter())

    (event,) = wire.events
    assert event["tags"] == {
        "actor": "send",
        "queue": "work",
        "job_id": "j-1",
        "attempt": "8",
        "instance": "inst-1",
        "reason": "attempts_exhausted",
        "code": "gateway_500",
    }
    assert event["fingerprint"] == ["send", "Transient"]
    assert (event["level"], event["environment"], event["transaction"]) == ("error", "test", "send")
    assert event["timestamp"].startswith("2026-01-05T12:00:00.123")
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("Transient", "gateway answered 500 for m-1")
    assert [(f["filename"], f["lineno"], f["function"], f["in_app"]) for f in error["stacktrace"]["frames"]] == [
        ("dramatiq/worker.py", 538, "WorkerThread.process_message", False),
        ("actors/chat.py", 41, "send_message", True),
    ]


def test_an_event_holds_no_argument_option_or_lane(wire):
    report_dead_letter(letter(error="unreachable: +5511988887777 (Maria@example.com)"))

    assert [word for word in PLANTED if word in wire.bytes] == []


def test_the_same_letter_is_the_same_event_and_a_redriven_death_another(wire):
    for dead in (letter(), letter(), letter(died_at_ms=1_767_614_500_000)):
        report_dead_letter(dead)

    ids = [event["event_id"] for event in wire.events]
    assert ids[0] == ids[1] != ids[2]


def test_a_letter_that_nobody_could_read_is_reported_too(wire):
    report_dead_letter(DeadLetter(id="r-9", queue="work", reason="undecodable", died_at_ms=1, deliveries=5))

    (event,) = wire.events
    assert event["fingerprint"] == ["unreadable", "undecodable"]
    assert event["exception"]["values"][0]["type"] == "undecodable"


def test_without_a_dsn_nothing_happens():
    assert start(None) is SentryState.OFF
    assert start("") is SentryState.OFF

    report_dead_letter(letter())

    assert not sentry_sdk.get_client().is_active()


def test_a_dsn_that_cannot_be_used_is_said_without_quoting_it(caplog):
    assert start("not-a-dsn-sk-very-secret") is SentryState.BAD_DSN

    assert "sentry.bad_dsn" in caplog.text
    assert "sk-very-secret" not in caplog.text


def test_a_client_of_the_host_is_used_and_never_replaced(host_wire):
    client = sentry_sdk.get_client()

    assert start("https://other@sentry.invalid/2") is SentryState.HOST

    assert sentry_sdk.get_client() is client
    report_dead_letter(letter())
    assert len(host_wire.events) == 1


def test_what_the_thread_had_in_its_scope_is_not_in_the_event(host_wire):
    start(None)
    sentry_sdk.get_isolation_scope().set_user({"username": "Maria"})
    sentry_sdk.get_isolation_scope().set_tag("lane", "lane-7")
    sentry_sdk.get_current_scope().set_extra("key", "sk-very-secret")
    logging.getLogger("host").warning("called +5511988887777")
    try:
        report_dead_letter(letter())
        assert [word for word in PLANTED if word in host_wire.bytes] == []
        sentry_sdk.capture_message("the host's own")
        assert host_wire.events[-1]["user"] == {"username": "Maria"}
    finally:
        sentry_sdk.get_isolation_scope().clear()
        sentry_sdk.get_current_scope().clear()


def test_a_wire_that_is_cut_fails_nothing(caplog):
    start(DSN, ClientOptions(transport=CutWire()))

    report_dead_letter(letter())

    (record,) = [record for record in caplog.records if record.name == "middleware.sentry_client"]
    assert (record.getMessage(), vars(record)["code"]) == ("sentry.report_failed", "ConnectionError")
    assert "Maria" not in caplog.text
