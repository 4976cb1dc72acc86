"""Nothing of a message leaves: planted everywhere that Sentry looks, and looked for in what a real sink received.

The host's client is as generous as it may be, and its code as careless.
"""

import http.client
import logging
import sqlite3
import threading
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from middleware.sentry import report_alert
from middleware.sentry_spans import is_streaming

pytestmark = [
    pytest.mark.redis,
    # A client that streams says so of ways to name things that it does not take.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PHONE, TEXT, ADDRESS = "+5511988887777", "Olá Maria, tudo certo", "5511988887777@s.example.net"
# Made of parts: Sentry ships the lines of code around a failure, and those are no secret.
KEY = "-".join(("sk", "very", "secret"))
PLANTED = ("5511988887777", "Maria", "tudo certo", KEY)


class RowRefused(Exception):
    """As a database says it: "Failing row contains (…)"."""


def careless(text: str, *, phone: str, key: str, port: int) -> None:
    """What a host's code, and its libraries, may do while a message runs."""
    secret = f"{text} {phone} {key}"
    sentry_sdk.set_tag("phone", phone)
    sentry_sdk.set_tag("instance", phone)
    sentry_sdk.set_user({"username": text, "ip_address": phone})
    sentry_sdk.set_extra("text", secret)
    sentry_sdk.set_context("order", {"text": secret})
    sentry_sdk.get_isolation_scope().add_attachment(bytes=secret.encode(), filename=f"{phone}.txt")
    sentry_sdk.get_isolation_scope().set_transaction_name(f"/{phone}/{text}")
    sentry_sdk.add_breadcrumb(message=secret, category="http", data={"url": f"https://x.y/?to={phone}&key={key}"})
    log = logging.getLogger("careless.library")
    log.info("to %s", phone, extra={"text": secret})
    log.warning(f"to {phone}: {text}", extra={"key": key})  # noqa: G004 - that is the point
    log.error(f"could not send {text} to {phone} with {key}", extra={"text": secret})  # noqa: G004
    log.error("could not send %s to %s", text, phone, extra={"key": key})
    sentry_sdk.capture_message(f"could not send {secret}")
    _spans(secret, phone=phone, key=key)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/{phone}?key={key}", headers={"Authorization": f"Bearer {key}", "apikey": key})
    connection.getresponse().read()
    connection.close()
    elsewhere = threading.Thread(target=_in_a_thread, args=(secret,))
    elsewhere.start()
    elsewhere.join()
    _fail(secret, caught=True)
    sentry_sdk.get_isolation_scope().clear_breadcrumbs()
    sentry_sdk.get_isolation_scope().remove_tag("actor")
    _fail(secret, caught=False)


def _spans(secret: str, *, phone: str, key: str) -> None:
    query = f"INSERT INTO message VALUES ('{secret}')"  # noqa: S608 - it is never run
    said = {"db.params": secret, "url": f"https://gw.invalid/{phone}?key={key}", "http.query": key}
    names = {"db.sql.query": query, "http.client": f"POST https://gw.invalid/{phone}?key={key}", "cache.get": phone}
    for op, name in names.items():
        if is_streaming(sentry_sdk):
            with sentry_sdk.traces.start_span(name, {"sentry.op": op, **said}):
                pass
        else:
            with sentry_sdk.start_span(op=op, name=name) as span:
                span.update_data(said)
                span.set_tag("row", phone)
    sqlite3.connect(":memory:").execute("SELECT ?", (secret,)).close()


def _in_a_thread(secret: str) -> None:
    sentry_sdk.capture_exception(RowRefused(secret))


def _fail(secret: str, *, caught: bool) -> None:
    try:
        try:
            raise sqlite3.IntegrityError(f"Failing row contains ({secret})")
        except sqlite3.Error as error:
            raise RowRefused(secret) from error
    except RowRefused as error:
        if not caught:
            raise
        error.add_note(secret)
        sentry_sdk.capture_exception(error)


@pytest.fixture(params=["static", "stream"])
def lifecycle(request: pytest.FixtureRequest) -> str:
    if request.param == "stream" and not hasattr(sentry_sdk, "traces"):
        pytest.skip("this SDK does not stream")
    return str(request.param)


@pytest.fixture
def careless_run(line: Any, sink: Any, generous_host: Any, lifecycle: str) -> Any:
    """The actor above ran until it was given up, with everything that Sentry can be told to send."""
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.stdlib import StdlibIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    generous_host(
        integrations=[
            *(LoggingIntegration(sentry_logs_level=logging.INFO), StdlibIntegration()),
            *(ThreadingIntegration(), ExcepthookIntegration()),
        ],
        enable_logs=True,
        attach_stacktrace=True,
        max_request_body_size="always",
        trace_lifecycle=lifecycle,
    )

    def work(text: str, *, phone: str, key: str, port: int) -> None:
        careless(text, phone=phone, key=key, port=port)

    actor = line.declare(work)
    with line.working():
        actor.send_with_options(
            args=(f"{TEXT} {ADDRESS}",),
            kwargs={"phone": PHONE, "key": KEY, "port": sink.server.server_port},
            group="inst-1",
            max_attempts=1,
        )
        line.dead()
    return sink


def test_nothing_planted_arrives(careless_run, lifecycle):
    careless_run.wait(lambda: [one for one in careless_run.events() if one.get("logger") == "dead_letter"])

    # The proof is worth something only if all of it has arrived.
    reported = careless_run.events()
    assert {one.get("logger") for one in reported} >= {"dead_letter", "careless.library"}
    assert {error["type"] for one in reported for error in one.get("exception", {}).get("values", [])} >= {
        "RowRefused",
        "IntegrityError",
    }
    if lifecycle == "static":
        [transaction] = careless_run.transactions()
        assert {"INSERT", "POST", "GET"} <= {span["description"] for span in transaction["spans"]}
    else:
        careless_run.wait(lambda: careless_run.items("span"))
    assert {one["tags"].get("instance") for one in reported} == {"inst-1"}
    arrived = careless_run.bytes()
    assert [word for word in PLANTED if word in arrived] == []
    assert "inst-1" in arrived


def test_of_log_lines_only_our_own_arrive(careless_run):
    careless_run.wait(lambda: careless_run.items("log"))

    lines = [line for item in careless_run.items("log") for line in item["items"]]
    assert {line["attributes"]["logger.name"]["value"].partition(".")[0] for line in lines} == {"middleware"}
    assert "message.died" in {line["body"] for line in lines}


def test_what_the_host_reports_for_itself_is_its_own(sink, generous_host, line):
    generous_host()
    line.declare(lambda: None).send()
    with line.working():
        line.done()
    sentry_sdk.capture_message("the host's own words")
    sink.wait(sink.events)

    assert [event["message"] for event in sink.events()] == ["the host's own words"]


def test_an_alert_raised_inside_a_message_says_what_it_says(sink, generous_host, line):
    generous_host()

    def work() -> None:
        sentry_sdk.get_current_scope().set_extra("text", TEXT)
        sentry_sdk.get_isolation_scope().set_tag("phone", PHONE)
        report_alert("alert_x", "queue q is old", tags={"subject": "q"}, key="k")

    line.declare(work).send()
    with line.working():
        line.done()
    sink.wait(sink.events)

    [event] = sink.events()
    assert (event["message"], event["tags"]) == ("queue q is old", {"subject": "q", "code": "alert_x"})
    assert event["fingerprint"] == ["alert_x", "q"]
    assert [word for word in PLANTED if word in sink.bytes()] == []
