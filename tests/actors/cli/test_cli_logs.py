"""The log of a worker: the event and its fields; never a text that is not ours."""

import json
import logging
import sys

import pytest

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
