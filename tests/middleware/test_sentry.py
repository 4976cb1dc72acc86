"""Dead letters in Sentry: one event each, nothing for a retry, nothing that must not leave. The SDK is real, its wire is not."""

import json
import logging
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import sentry_sdk
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from sentry_sdk.integrations.logging import LoggingIntegration, unignore_logger
from sentry_sdk.scope import global_event_processors
from sentry_sdk.transport import Transport

from middleware.letters import DeadLetter
from middleware.retries import Retries, RetryPolicy
from middleware.sentry import SentryScope, report_dead_letter, stock_sentry_present
from middleware.sentry_client import QUIET_LOGGERS, ClientOptions, SentryState, start

ROOT = Path(__file__).parents[2]
DSN = "https://public@sentry.invalid/1"
PLANTED = ("Maria", "5511988887777", "sk-very-secret", "lane-7")


class Wire(Transport):
    """Where events would leave the machine."""

    def __init__(self) -> None:
        super().__init__({"dsn": DSN})
        self.envelopes: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.envelopes.append(envelope)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for envelope in self.envelopes if (event := envelope.get_event())]

    @property
    def bytes(self) -> str:
        return b"".join(envelope.serialize() for envelope in self.envelopes).decode()


class CutWire(Wire):
    def capture_envelope(self, envelope: Any) -> None:
        raise ConnectionError("no route to Maria")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)
    global_event_processors.clear()
    for name in QUIET_LOGGERS:
        unignore_logger(name)


@pytest.fixture
def wire() -> Wire:
    """A process without a host's Sentry, started as a worker does."""
    wire = Wire()
    assert start(DSN, ClientOptions(environment="test", transport=wire)) is SentryState.STARTED
    return wire


@pytest.fixture
def host_wire() -> Wire:
    """A process whose host has initialised Sentry, as generously as it may."""
    wire = Wire()
    with warnings.catch_warnings():
        # The newer way to say "send everything" is not in the oldest SDK that we take.
        warnings.simplefilter("ignore", DeprecationWarning)
        sentry_sdk.init(
            dsn=DSN,
            transport=wire,
            default_integrations=False,
            integrations=[LoggingIntegration()],
            send_default_pii=True,
            include_local_variables=True,
        )
    return wire


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


# -- while messages run --------------------------------------------------------------------------------------------


def work(fn: Any, *, attempts: int = 1) -> None:
    """Run one message of ``fn``, arguments planted, through Dramatiq's worker until it is given up or done."""
    broker = StubBroker(middleware=[SentryScope(), Retries(policy=lambda: RetryPolicy(max_attempts=attempts))])
    broker.emit_after("process_boot")
    actor = dramatiq.actor(fn, broker=broker, actor_name="send", queue_name="work")
    actor.send_with_options(args=("Olá Maria +5511988887777",), group="inst-1", lane="lane-7")
    worker = Worker(broker, worker_threads=1, worker_timeout=20)
    worker.start()
    broker.join("work", fail_fast=False)
    worker.stop()


def fail(text: str) -> None:
    # Made of parts: Sentry ships the lines of code around a failure, and those are no secret.
    secret = "-".join(("sk", "very", "secret"))
    raise RuntimeError(f"{text} {secret}")


def test_a_failed_attempt_is_no_event_whoever_initialised_sentry(host_wire):
    work(fail)

    assert host_wire.events == []


def test_a_failed_attempt_is_no_event_with_our_own_client(wire):
    work(fail, attempts=1)

    assert wire.events == []


def test_what_an_actor_captures_itself_has_the_ids_and_nothing_else(host_wire):
    def capture(text: str) -> None:
        try:
            fail(text)
        except RuntimeError:
            logging.getLogger("some.library").exception("could not handle %s", text)

    work(capture)

    (event,) = host_wire.events
    tags = event["tags"]
    assert (tags["actor"], tags["queue"], tags["attempt"], tags["instance"]) == ("send", "work", "1", "inst-1")
    assert tags["job_id"]
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert event["logentry"] == {"message": "could not handle %s", "params": ["[hidden]"]}
    assert [word for word in PLANTED if word in host_wire.bytes] == []


def test_the_scope_of_a_message_ends_with_it(host_wire):
    work(lambda text: None)
    sentry_sdk.capture_message("later")

    assert "job_id" not in host_wire.events[-1].get("tags", {})


def test_a_broker_without_the_stock_integration_is_told_apart():
    class SentryMiddleware(dramatiq.Middleware):
        pass

    assert not stock_sentry_present(StubBroker(middleware=[SentryScope(), SentryMiddleware()]))


# -- in a process of its own ---------------------------------------------------------------------------------------


def run_apart(script: str) -> str:
    """Output of ``script`` in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_stock_integration_is_found_and_even_then_arguments_stay_here():
    # It patches Dramatiq for good, so it gets an interpreter of its own.
    out = run_apart(
        """
        import json, sys, types
        import sentry_sdk
        from sentry_sdk.integrations.dramatiq import DramatiqIntegration
        from sentry_sdk.transport import Transport

        class Wire(Transport):
            sent = []
            def capture_envelope(self, envelope):
                self.sent.append(envelope.get_event())

        sentry_sdk.init(dsn="https://public@sentry.invalid/1", transport=Wire(), send_default_pii=True,
                        auto_enabling_integrations=False, integrations=[DramatiqIntegration()])
        import dramatiq
        from dramatiq import Worker
        from dramatiq.brokers.stub import StubBroker
        from middleware.retries import Retries, RetryPolicy
        from middleware.sentry import SentryScope, stock_sentry_present
        from middleware.sentry_client import start

        start(None)
        broker = StubBroker(middleware=[SentryScope(), Retries(policy=lambda: RetryPolicy(max_attempts=1))])

        def fail(text):
            secret = text
            raise RuntimeError(text)

        actor = dramatiq.actor(fail, broker=broker, actor_name="send", queue_name="work")
        actor.send("Maria +5511988887777")
        worker = Worker(broker, worker_threads=1, worker_timeout=20)
        worker.start(); broker.join("work", fail_fast=False); worker.stop()
        sentry_sdk.get_client().close()
        print(json.dumps({"found": stock_sentry_present(broker), "events": [e for e in Wire.sent if e]}, default=str))
        """
    )
    seen = json.loads(out)

    assert seen["found"] is True
    assert [word for word in PLANTED if word in out] == []
    # What it does even so, and why doctor warns of it: an event for an attempt.
    assert [event["exception"]["values"][0]["type"] for event in seen["events"]] == ["RuntimeError"]
    assert seen["events"][0]["contexts"]["dramatiq"]["data"]["actor_name"] == "send"


def test_without_sentry_sdk_everything_else_works():
    out = run_apart(
        """
        import sys
        sys.modules["sentry_sdk"] = None
        import dramatiq
        from dramatiq import Worker
        from dramatiq.brokers.stub import StubBroker
        from middleware.letters import DeadLetter
        from middleware.sentry import SentryScope, report_dead_letter
        from middleware.sentry_client import start

        print(start("https://public@sentry.invalid/1"), start(None))
        report_dead_letter(DeadLetter(id="r", queue="q", reason="x", died_at_ms=1, deliveries=1))
        broker = StubBroker(middleware=[SentryScope()])
        broker.emit_after("process_boot")
        dramatiq.actor(lambda: print("ran"), broker=broker, actor_name="a").send()
        worker = Worker(broker, worker_threads=1, worker_timeout=20)
        worker.start(); broker.join("default"); worker.stop()
        """
    )

    assert out.split() == ["not_installed", "off", "ran"]


def test_sentry_is_not_imported_where_nobody_asked_for_it():
    out = run_apart(
        """
        import sys
        from middleware.sentry import SentryScope, report_dead_letter
        from middleware.sentry_client import start
        from middleware.letters import DeadLetter
        start(None)
        report_dead_letter(DeadLetter(id="r", queue="q", reason="x", died_at_ms=1, deliveries=1))
        print("sentry_sdk" in sys.modules)
        """
    )

    assert out.strip() == "False"
