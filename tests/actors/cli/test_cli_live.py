"""``doctor --live`` asks the processes of this deployment on this machine, and says whether a restart helps."""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

import pytest

from actors import watching
from middleware.board import Board
from middleware.errors import ExitCode
from middleware.vitals import Vitals

pytestmark = pytest.mark.redis

WELL = Vitals(pid=7, state="serving", up_ms=60_000, threads=4)


@pytest.fixture
def show(site) -> Iterator[Callable[..., None]]:
    """``show(state="draining")``: this process answers as a worker with these vitals would."""
    shown = []

    def show(**facts: object) -> None:
        report: Mapping[str, Any] = {"meters": {}, "vitals": asdict(WELL) | facts}
        shown.append(watching.serve(Board(own=lambda: report), site.broker, site.settings))

    yield show
    for one in shown:
        one.stop()


def live(run, *options: str) -> tuple[int, dict[str, Any]]:
    ran = run("doctor", "--live", "--json", *options)
    [check] = json.loads(ran.out)["checks"]
    return ran.code, check


def test_a_worker_that_can_work_is_well(run, show):
    show()

    code, check = live(run, "--strict")

    assert (code, check["status"]) == (ExitCode.OK, "ok")
    assert check["found"] == f"worker 1 of process {os.getpid()}: ready"


@pytest.mark.parametrize(
    ("facts", "code", "strict_code"),
    [
        ({"gone": ("lease keeper",)}, ExitCode.FAILED, ExitCode.FAILED),
        ({"overdue": (("send_message", 300),)}, ExitCode.FAILED, ExitCode.FAILED),
        ({"state": "draining"}, ExitCode.OK, ExitCode.FAILED),
    ],
    ids=str,
)
def test_only_what_a_restart_mends_fails_unless_it_is_strict(run, show, facts, code, strict_code):
    show(**facts)

    assert live(run)[0] == code
    assert live(run, "--strict")[0] == strict_code


def test_nobody_is_a_failure_of_its_own(run, site):
    code, check = live(run)

    assert (code, check["found"]) == (ExitCode.UNAVAILABLE, "no worker answers")


def test_another_deployment_on_this_machine_is_not_asked(run, show, site):
    show()
    site.change(namespace="another:queue")

    assert live(run)[0] == ExitCode.UNAVAILABLE


def test_a_process_that_takes_the_question_and_says_nothing_hangs(run, site, monkeypatch):
    monkeypatch.setattr(watching, "LIVE_WITHIN_S", 0.2)
    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(f"\0{watching.local_name(site.settings)}:1")
        silent.listen()

        code, check = live(run)

    assert (code, check["status"]) == (ExitCode.FAILED, "fail")
    assert "process 1: no answer" in check["found"]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\nnonsense", b"HTTP/1.1 200 OK\r\n\r\n[]", b"nonsense\r\n"])
def test_an_answer_that_is_none_is_a_failure(run, site, answer):
    import threading

    def answers(listener: socket.socket) -> None:
        channel, _ = listener.accept()
        with channel:
            channel.recv(4_096)
            channel.sendall(answer)

    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(f"\0{watching.local_name(site.settings)}:2")
        listener.listen()
        thread = threading.Thread(target=answers, args=(listener,))
        thread.start()
        code, check = live(run)
        thread.join()

    assert (code, check["status"]) == (ExitCode.FAILED, "fail")
