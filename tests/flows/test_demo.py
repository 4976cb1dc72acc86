"""``chat-actors demo`` as a person runs it: it passes, it fails when a promise breaks, and it leaves nothing."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from waiting import until

from actors.cli.demo_plan import ending
from actors.cli.demo_story import make_plan

pytestmark = [pytest.mark.redis, pytest.mark.process]

ROOT = Path(__file__).parents[2]
SMALL = ("--messages", "40")
#: A run takes 15 s on an idle machine.
WITHIN_S = 150


@contextmanager
def demo(tmp_path: Path, *arguments: str, cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """A running demo whose temporary files lie in ``tmp_path``."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "actors.cli", "demo", *arguments],
            cwd=cwd,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def said(tmp_path: Path) -> str:
    return (tmp_path / "output.txt").read_text()


def left_over(tmp_path: Path) -> list[str]:
    """What a demo left: its directories, and processes that were started in them."""
    found = [str(path) for path in tmp_path.iterdir() if path.name != "output.txt"]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(tmp_path).encode() in words:
                found.append(f"process {entry.name}: {words[:200]!r}")
    return found


def chat_in(entry: str) -> None:
    """Write something in the chat that is held, as a visitor with the link does, and see it read."""
    with httpx.Client(follow_redirects=True, trust_env=False, timeout=30) as visitor:
        chat = visitor.get(entry).raise_for_status()
        first = re.findall(r'href="(/chat/[0-9a-f-]{36}/)"', chat.text)[0]
        page = visitor.get(chat.url.join(first))
        [form] = re.findall(r'<form class="composer".*?</form>', page.text, re.DOTALL)
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        visitor.post(page.url.join("write/"), data={**fields, "text": "olá"}, headers={"Referer": str(page.url)})

        def status() -> str:
            return str(visitor.get(page.url.join("state/")).json()["bubbles"][-1]["status"])

        until(lambda: status() == "seen", within_ms=60_000, poll_ms=200)


@pytest.mark.parametrize("hold", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["held", "not held"])
def test_the_demo_keeps_every_promise_and_leaves_nothing(tmp_path: Path, hold: bool):
    with demo(tmp_path, *SMALL, "--seed", "3", *(["--hold"] if hold else [])) as process:
        if hold:
            entry = r"the chat: +(http://\S+)"
            until(lambda: process.poll() is not None or re.search(entry, said(tmp_path)), within_ms=WITHIN_S * 1000)
            chat_in(re.findall(entry, said(tmp_path))[0])
            process.send_signal(signal.SIGINT)
        code = process.wait(WITHIN_S)

    text = said(tmp_path)
    assert code == 0, text
    assert "BROKEN" not in text
    assert re.search(r"kill -9 \d+: a worker process with \d+ messages in hand is gone", text)
    # Whether a message or a picture was it that met the refused key cannot be said.
    assert re.search(r"number \d+ in the gateway's log|reason +actor[^$]*\n1 sent again", text)
    assert left_over(tmp_path) == []


def test_the_demo_names_the_promises_that_a_gateway_broke(tmp_path: Path):
    plan = make_plan(seed=4, messages=40)
    victim = next(
        message for message in plan.messages if message.parts[0].op == "sendText" and not ending(message).reason
    )
    refused = next(
        message for message in plan.messages if message.thread is not victim.thread and not ending(message).reason
    )
    faults = [
        # The gateway keeps no record of what it sent and cuts the connection: looking finds nothing, so it goes out twice.
        _fault(victim.id, {"type": "persist_lag", "never": True}),
        _fault(victim.id, {"type": "drop", "when": "after_accept"}, next=1),
        # A message that had to arrive is refused for good.
        _fault(refused.id, {"type": "status", "status": 413, "body": "too large"}),
    ]
    with demo(tmp_path, *SMALL, "--seed", "4", *faults) as process:
        code = process.wait(WITHIN_S)

    text = said(tmp_path)
    assert code == 1, text
    assert f"part 0 of message {victim.id} was delivered 2 times" in text
    assert f"message {refused.id} had to end sent and is failed (payload_too_large)" in text
    assert left_over(tmp_path) == []


def _fault(message_id: str, action: dict[str, object], **trigger: object) -> str:
    rule = {"match": {"ref_re": f"^{message_id}:0$"}, "trigger": trigger or {"always": True}, "action": action}
    return f"--fault={json.dumps(rule)}"


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL],
    ids=lambda number: number.name,
)
def test_a_demo_that_is_broken_off_leaves_nothing(tmp_path: Path, number: signal.Signals):
    with demo(tmp_path, *SMALL) as process:
        until(lambda: re.search(r"\d+ of 40 saved", said(tmp_path)), within_ms=60_000)
        assert left_over(tmp_path) != []
        process.send_signal(number)
        code = process.wait(30)

    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 130)
    with suppress(AssertionError):
        until(lambda: not left_over(tmp_path), within_ms=30_000)
    # Its message names what stayed.
    assert left_over(tmp_path) == []


def test_the_demo_says_that_it_needs_the_repository(tmp_path: Path):
    elsewhere = tmp_path / "installed"
    for name in ("actors", "middleware"):
        (elsewhere / name).parent.mkdir(exist_ok=True)
        (elsewhere / name).symlink_to(ROOT / name)
    # A link and not a copy, so the interpreter must not be told the true place.
    done = subprocess.run(
        [sys.executable, "-m", "actors.cli", "demo"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(elsewhere)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert "clone the repository and run `make demo`" in done.stderr
