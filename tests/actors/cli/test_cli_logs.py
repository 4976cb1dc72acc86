"""The log of a worker: the event and its fields; never a text that is not ours."""

import io
import json
import logging
import sys
import threading

import pytest
from waiting import stays, until

from actors.cli import logs
from actors.errors import BadPayload


def record(name="actors.chat", event="message.sent", *, error=None, **fields):
    info = None
    if error is not None:
        try:
            raise error
        except type(error):
            info = sys.exc_info()
    made = logging.LogRecord(name, logging.INFO, __file__, 1, event, None, info)
    made.created, made.process = 0.926, 1234
    vars(made).update(fields)
    return made


def test_a_line_shows_the_event_and_what_it_is_about():
    line = logs.TextLines().format(record(chat_message_id="m1", instance="support", lane=None))

    assert line == "1970-01-01T00:00:00.926Z INFO    1234 message.sent chat_message_id=m1 instance=support"


def test_a_json_line_is_one_object_with_the_same():
    found = json.loads(logs.JsonLines().format(record(delay_ms=250, code="throttled")))

    assert found == {
        "at": "1970-01-01T00:00:00.926+00:00",
        "level": "info",
        "pid": 1234,
        "logger": "actors.chat",
        "event": "message.sent",
        "delay_ms": 250,
        "code": "throttled",
    }


def test_what_a_host_attaches_to_its_records_is_not_shown():
    assert logs.TextLines().format(record("host.views", "saved", body="a chat message")).endswith(" saved")


@pytest.mark.parametrize("form", [logs.TextLines, logs.JsonLines])
def test_a_foreign_error_shows_where_and_not_what(form):
    line = form().format(record(error=RuntimeError("Failing row contains (a chat message)")))

    assert "RuntimeError" in line
    assert "test_cli_logs.py" in line
    assert "chat message" not in line


def test_an_error_of_ours_shows_its_text():
    assert "BadPayload: message m1 has neither" in logs.TextLines().format(
        record(error=BadPayload("message m1 has neither"))
    )


def test_the_root_logger_is_set_up_for_the_process(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    for switch in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, switch, getattr(logging, switch))
    before = root.level
    try:
        logs.set_up("text", "warning")
        logging.getLogger("actors.chat").info("not.shown")
        logging.getLogger("actors.chat").warning("shown.once")
        logging.getLogger("httpx").setLevel(logging.NOTSET)
    finally:
        root.setLevel(before)
        logging.captureWarnings(capture=False)

    said = capsys.readouterr().err
    assert said.count("shown.once") == 1
    assert "not.shown" not in said


class Plain(logging.Formatter):
    """The event alone."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage()


@pytest.fixture
def batches(monkeypatch):
    # Whoever is not asked to write does not write in this test's time.
    monkeypatch.setattr(logs, "BATCH_S", 60.0)
    handler = logs.Batches(io.StringIO())
    handler.setFormatter(Plain())
    yield handler
    handler.close()


def said(handler):
    return handler.stream.getvalue().splitlines()


def made(event, level=logging.INFO, *args):
    return logging.LogRecord("actors.chat", level, __file__, 1, event, args, None)


def test_lines_are_written_together_and_a_warning_at_once_with_all_before_it(batches):
    batches.handle(made("first"))
    batches.handle(made("second"))
    stays(lambda: said(batches) == [], for_ms=150)

    batches.handle(made("third", logging.WARNING))

    assert said(batches) == ["first", "second", "third"]


def test_lines_that_nobody_hurries_are_written_soon(monkeypatch):
    monkeypatch.setattr(logs, "BATCH_S", 0.02)
    handler = logs.Batches(io.StringIO())
    handler.setFormatter(Plain())
    for number in range(3):
        handler.handle(made(f"line {number}"))
        until(lambda: len(said(handler)) > number, within_ms=5_000)  # noqa: B023 - called before the loop goes on
    handler.close()


def test_a_line_says_what_was_so_when_it_was_logged(batches):
    seen = ["as it was"]
    batches.handle(made("%s", logging.INFO, seen))
    seen[0] = "changed since"
    batches.flush()

    assert said(batches) == ["['as it was']"]


def test_many_threads_lose_no_line_and_each_keeps_its_order(batches):
    def log(name: int) -> None:
        for number in range(500):
            batches.handle(made(f"{name} {number}", logging.WARNING if number % 50 == 0 else logging.INFO))

    threads = [threading.Thread(target=log, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batches.close()

    lines = said(batches)
    assert len(lines) == 2_000
    assert [line for line in lines if line.startswith("2 ")] == [f"2 {number}" for number in range(500)]


def test_what_comes_after_the_end_is_written_at_once(batches):
    batches.handle(made("before"))
    batches.close()
    batches.handle(made("after"))

    assert said(batches) == ["before", "after"]


def test_a_log_that_nobody_takes_any_more_stops_nobody(batches):
    batches.stream.close()

    batches.handle(made("lost", logging.ERROR))
    batches.stream = io.StringIO()
    batches.handle(made("kept", logging.ERROR))

    assert said(batches) == ["kept"]
