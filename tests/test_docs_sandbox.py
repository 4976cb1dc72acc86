"""The page of the sandbox, done to the letter: every rule in it is added and met, every command run, its test collected."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from docs_pages import Page, only, quoted
from sandbox_fixture import Sandbox, sandbox

from actors.gateways.sandbox.conformance import load
from actors.gateways.sandbox.evolution import OPERATIONS
from actors.gateways.sandbox.replies import PRESETS, Subject
from actors.gateways.sandbox.server import SandboxServer
from actors.gateways.sandbox.webhook_sender import Retry
from actors.gateways.sandbox.webhooks import EVENTS, WebhookConfig

__all__ = ["sandbox"]

PAGE = Page("docs/sandbox.md")
#: What the page says when there is no status to see.
BROKEN = {
    "no answer": (httpx.RemoteProtocolError, httpx.ReadError),
    "no connection": (httpx.ConnectError,),
}


def send(sandbox: Sandbox, n: int = 1) -> httpx.Response:
    return httpx.post(
        f"{sandbox.url}/message/sendText/line-1",
        headers={"apikey": sandbox.apikey, "X-Client-Ref": f"m-{n}"},
        json={"number": "5511988887777", "text": f"oi {n}"},
        timeout=10,
        trust_env=False,
    )


@pytest.mark.parametrize("row", PAGE.rows("rule", "client sees"), ids=lambda row: row["rule"])
def test_every_rule_of_the_page_does_what_it_says(sandbox: Sandbox, row: dict[str, str]):
    sandbox.admin.put_instance("line-1")
    sandbox.admin.call("POST", "faults", json.loads(only(row["rule"])))

    if row["client sees"] in BROKEN:
        with pytest.raises(BROKEN[row["client sees"]]):
            send(sandbox)
        sandbox.server.open_again()
    else:
        assert str(send(sandbox).status_code) == only(row["client sees"])

    assert sandbox.admin.counters()["accepted"] == int(row["sent"])
    assert [rule["hits"] for rule in sandbox.admin.faults()] == [1]


def test_the_page_has_a_rule_for_every_action():
    tried = {json.loads(only(row["rule"]))["action"]["type"] for row in PAGE.rows("rule", "client sees")}

    assert tried == {only(row["action"]) for row in PAGE.rows("action")}


@pytest.mark.parametrize("row", PAGE.rows("match and trigger", "struck"), ids=lambda row: row["match and trigger"])
def test_every_match_and_trigger_of_the_page_chooses_as_it_says(sandbox: Sandbox, row: dict[str, str]):
    sandbox.admin.put_instance("line-1")
    rule = {**json.loads(only(row["match and trigger"])), "action": {"type": "status", "status": 418}}
    sandbox.admin.call("POST", "faults", rule)

    struck = [n for n in range(1, 7) if send(sandbox, n).status_code == 418]

    assert struck == ([] if row["struck"] == "none" else [int(n) for n in row["struck"].split()])


@pytest.mark.parametrize("row", PAGE.rows("preset", "rule"), ids=lambda row: row["preset"])
def test_every_preset_has_the_status_that_the_page_says(row: dict[str, str]):
    assert PRESETS[only(row["preset"])](Subject("line-1")).status == int(row["status"])


def test_the_configuration_of_the_page_is_taken():
    (block,) = [block for block in PAGE.blocks if block.language == "json"]
    server = SandboxServer()

    server.load(json.loads(block.text))

    assert set(server.state.instances) == {"line-1", "line-2"}
    assert len(server.contract.faults.listed()) == 1
    assert server.contract.limits.mode == "429"
    with pytest.raises(ValueError, match="unknown: colour"):
        server.load({"colour": "red"})


def test_the_fields_that_the_page_names_are_those_that_there_are(sandbox: Sandbox):
    sandbox.admin.put_instance("line-1")
    send(sandbox)
    (sentence,) = [line for line in PAGE.prose.splitlines() if line.startswith("A delivery has")]
    inner = {"wall_ms", "boot_ms", "sha256", "bytes", "url", "fileName", "mimetype"}

    assert set(quoted(sentence)) - inner == set(sandbox.admin.deliveries()[0])
    assert {only(row["count"]) for row in PAGE.rows("count")} == set(sandbox.admin.counters())


def test_the_webhooks_of_the_page_are_those_that_there_are():
    fields = {name for row in PAGE.rows("webhook") for name in quoted(row["webhook"])}
    defaults = next(row[""] for row in PAGE.rows("webhook") if "retry" in row["webhook"])

    assert {only(row["event"]) for row in PAGE.rows("event", "when")} == set(EVENTS)
    assert fields == set(WebhookConfig.__dataclass_fields__) - {"url"}
    assert set(quoted(defaults)) == set(Retry.__dataclass_fields__)


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_commands_of_the_page_run_as_they_stand(tmp_path: Path):
    lines = [line for block in PAGE.blocks if block.language == "sh" for line in block.text.splitlines()]
    start = next(line for line in lines if line.startswith("chat-actors sandbox --port"))
    asked = [shlex.split(line) for line in lines if line.startswith("curl")]
    command = [sys.executable, "-m", "actors.cli", *shlex.split(start)[1:]]
    # Another port than the page's, which may be taken here.
    command[command.index("--port") + 1] = "0"

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            answers = [_curl(words, told["url"]) for words in asked]
        finally:
            process.terminate()

    assert told["admin_token"] == "let-me-in"
    assert len(answers) == 5
    assert [one["text"] for one in answers[2]["deliveries"]] == ["oi"]
    assert answers[3]["limits"]["mode"] == "429"
    assert answers[4]["events"] == ["send.message", "messages.update"]


def _curl(words: list[str], url: str) -> dict[str, object]:
    words = [word.replace("http://127.0.0.1:8099", url) for word in words]
    run = subprocess.run([*words, "--silent", "--fail-with-body", "--noproxy", "*"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    answer: dict[str, object] = json.loads(run.stdout)
    return answer


@pytest.mark.process
def test_the_test_of_the_page_passes_outside_of_this_project(tmp_path: Path):
    (block,) = [block for block in PAGE.blocks if block.language == "python"]
    (tmp_path / "test_mine.py").write_text(block.text)
    # None of this project's variables, settings or fixtures.
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1]), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:randomly", "-p", "no:cacheprovider"]

    run = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


def test_the_page_counts_the_cases_as_they_are():
    counts = [int(one) for one in re.findall(r"\b\d{3}\b", PAGE.prose.split("## Start")[0])]

    assert counts == [len(load()), sum(case["source"] == "executed" for case in load())]


def test_the_page_names_every_route():
    named = {tuple(only(row["question"]).split()) for row in PAGE.rows("question", "answer")}
    routes = {(one.method, f"/{one.group}/{one.op}/<name>") for one in OPERATIONS.values()}

    assert named == routes | {("GET", "/"), ("GET", "/instance/fetchInstances")}
