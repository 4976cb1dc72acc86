"""A worker tells the launcher how it is, waits for nobody who does not listen, and says the last word when it ends."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from waiting import until

from middleware import reporter
from middleware.reporter import Reporter


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with closing(ours):
        yield ours, theirs


def test_the_last_report_is_made_when_it_ends(channel):
    ours, theirs = channel
    count = [0]
    one = Reporter(theirs, lambda: {"count": count[0]})
    one.start()
    lines = ours.makefile("rb")
    assert json.loads(lines.readline()) == {"count": 0}

    count[0] = 5
    one.stop()

    assert [json.loads(line) for line in lines][-1] == {"count": 5}
    lines.close()


def test_a_launcher_that_does_not_read_for_a_while_hears_the_rest_later(channel, monkeypatch):
    monkeypatch.setattr(reporter, "EVERY_S", 0.0)
    ours, theirs = channel
    number = iter(range(1_000_000))
    one = Reporter(theirs, lambda: {"number": next(number), "text": "x" * 100_000})
    one.start()
    # It stands still with its buffer full.
    seen = [-1]

    def stands() -> bool:
        before, seen[0] = seen[0], _thread_waits(one)
        return before == seen[0] > 0

    until(stands, within_ms=5_000, poll_ms=100)

    with ours.makefile("rb") as lines:
        numbers = [json.loads(lines.readline())["number"] for _ in range(50)]
    assert numbers == list(range(50))
    ours.close()
    until(lambda: not one._thread.is_alive(), within_ms=5_000)


def _thread_waits(one: Reporter) -> int:
    frame = sys._current_frames().get(one._thread.ident)
    return frame.f_lineno if frame is not None else 0


def test_a_launcher_that_is_gone_ends_it(channel):
    ours, theirs = channel
    ours.close()
    one = Reporter(theirs, dict)
    one.start()

    until(lambda: not one._thread.is_alive(), within_ms=5_000)
    assert "reporter" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), RuntimeError("dictionary changed size")])
def test_a_report_that_cannot_be_made_is_left_out_and_the_next_one_is_told(channel, monkeypatch, caplog, error):
    monkeypatch.setattr(reporter, "EVERY_S", 0.0)
    ours, theirs = channel
    count = [0]

    def make() -> dict[str, int]:
        count[0] += 1
        if count[0] == 2:
            raise error
        return {"count": count[0]}

    one = Reporter(theirs, make)
    one.start()
    with ours.makefile("rb") as lines:
        numbers = [json.loads(lines.readline())["count"] for _ in range(2)]

    assert numbers == [1, 3]
    assert [record.code for record in caplog.records if record.message == "report.not_made"] == [type(error).__name__]
    ours.close()
    until(lambda: not one._thread.is_alive(), within_ms=5_000)
