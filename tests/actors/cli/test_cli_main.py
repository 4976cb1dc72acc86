"""The command line as a whole: quick help, clear errors, documented codes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from actors.cli import main
from actors.errors import BadRecipient, GatewayUnreachable, SettingsError
from actors.exit_codes import code_of
from middleware.errors import ExitCode, QueueFull, QueueRefused, QueueUnavailable, Refusal

ROOT = Path(__file__).parents[3]
COMMANDS = ["worker", "doctor", "stats", "dlq", "memory", "sandbox", "demo"]


def test_the_help_lists_every_command_and_ends_with_examples(run):
    ran = run("--help")

    assert ran.code == ExitCode.OK
    assert [name for name in COMMANDS if not re.search(rf"^  {name} ", ran.out, re.MULTILINE)] == []
    assert "Examples:\n" in ran.out


@pytest.mark.parametrize(
    "command",
    [*COMMANDS[:3], *COMMANDS[4:6], "dlq list", "dlq show", "dlq groups", "dlq redrive", "dlq discard"],
)
def test_the_help_of_a_command_ends_with_examples(run, command):
    ran = run(*command.split(), "--help")

    assert ran.code == ExitCode.OK
    assert f"chat-actors {command}" in ran.out.partition("Examples:\n")[2]


def test_the_help_loads_nothing_that_only_a_command_needs():
    code = "import sys; from actors.cli import main; main(['--help']); print(*sorted(sys.modules))"

    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    loaded = {name.partition(".")[0] for name in said.splitlines()[-1].split()}
    assert loaded & {"rich", "django", "httpx", "pydantic", "apscheduler", "sentry_sdk", "prometheus_client"} == set()


def test_what_is_missing_is_said_in_one_sentence_without_a_traceback(run, unset):
    ran = run("stats")

    assert ran.code == ExitCode.SETTINGS
    assert ran.err.startswith("chat-actors: settings cannot be used:\n  - REDIS_URL is not set")
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_a_foreign_error_is_told_by_its_class_only(run, site, monkeypatch):
    monkeypatch.setattr(site.broker, "get_declared_queues", lambda: 1 / 0)

    ran = run("stats")

    assert ran.code == ExitCode.FAILED
    assert ran.err == "chat-actors: it failed with ZeroDivisionError; run it again with --debug to see where\n"


def test_debug_shows_where_an_error_came_from(run, unset):
    ran = run("stats", "--debug")

    assert ran.code == ExitCode.SETTINGS
    assert "Traceback" in ran.err


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["stats", "--no-such-option"], ["dlq"], ["memory", "-n", "x"]]
)
def test_a_wrong_command_line_is_refused(run, arguments):
    assert run(*arguments).code == ExitCode.USAGE


def test_the_version_is_that_of_the_distribution(run):
    from importlib.metadata import PackageNotFoundError, version

    try:
        expected = version("chat-actors")
    except PackageNotFoundError:
        pytest.skip("run from a checkout that is not installed")

    assert run("--version").out == f"chat-actors {expected}\n"


def test_the_arguments_of_the_process_are_taken_when_none_are_given(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["chat-actors", "--help"])

    assert main() == ExitCode.OK
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError(["x"]), ExitCode.SETTINGS),
        (QueueUnavailable("x"), ExitCode.UNAVAILABLE),
        (QueueFull("x"), ExitCode.UNAVAILABLE),
        (QueueRefused("x"), ExitCode.UNAVAILABLE),
        (GatewayUnreachable("x"), ExitCode.UNAVAILABLE),
        (Refusal(ExitCode.WRONG_DATABASE, "x"), ExitCode.WRONG_DATABASE),
        (BadRecipient("x"), ExitCode.FAILED),
        (RuntimeError("x"), ExitCode.FAILED),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    assert code_of(error) is code


def test_every_exit_code_is_documented():
    text = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| .+ \| .+ \|$", text, re.MULTILINE)

    assert rows == [(str(int(code)), code.name) for code in ExitCode]
