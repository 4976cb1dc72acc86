"""What Sentry hears while messages run: of a failed attempt nothing, of a capture the ids alone, whichever client is there."""

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import dramatiq
import sentry_sdk
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from sentry_wire import PLANTED, forgotten, host_wire, wire

from middleware.retries import Retries, RetryPolicy
from middleware.sentry import SentryScope, stock_sentry_present

__all__ = ["forgotten", "host_wire", "wire"]

ROOT = Path(__file__).parents[2]


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


#: A host with the stock integration, and one failing message.
STOCK = """
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


def test_the_stock_integration_is_found_and_even_then_arguments_stay_here():
    # It patches Dramatiq for good, so it gets an interpreter of its own.
    out = run_apart(STOCK)
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
