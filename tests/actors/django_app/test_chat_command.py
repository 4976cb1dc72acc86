"""``manage.py chat`` is the command line of the package with the host's settings loaded, and adds nothing to it.

How it is called is tried in a process of its own, with a command line that only shows what it was given; what the real one does,
in this process.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import actors
from actors import services
from actors.cli import main
from actors.cli.app import app
from actors.django_app.management.commands.chat import Command
from middleware.errors import ExitCode


def every_command(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command that can be run, by its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, one in inner.items():
        yield from every_command(one, (*words, name))


PROJECT = Path(__file__).parents[2] / "project"
#: Every command, from the command line itself.
COMMANDS = [words for words, _ in every_command(typer.main.get_command(app))]
STARTS = """
import importlib.machinery, sys, types
shown = types.ModuleType("actors.cli")
# What a worker needs of it is found all the same.
shown.__path__ = importlib.machinery.PathFinder.find_spec("actors").submodule_search_locations
shown.__path__ = [path + "/cli" for path in shown.__path__]
def main(arguments, *, program):
    assert program == "manage.py chat"
    from django.conf import settings
    print(arguments, settings.SETTINGS_MODULE)
    return 3
shown.main = main
sys.modules["actors.cli"] = shown
"""
FROM_A_SHELL = "from django.core.management import execute_from_command_line as run; run(['manage.py', *sys.argv[1:]])"
FROM_CODE = (
    "import django; django.setup(); from django.core.management import call_command; call_command(*sys.argv[1:])"
)


def _start(how: str, *arguments: str, **environ: str) -> tuple[str, int]:
    path = f"{PROJECT.parents[1]}{os.pathsep}{PROJECT}"
    done = subprocess.run(
        [sys.executable, "-c", STARTS + how, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip(), done.returncode


@pytest.mark.parametrize(
    "arguments", [["stats", "--json"], ["dlq", "show", "x", "--verbosity", "3"], ["--help"], ["--version"], []]
)
def test_every_argument_arrives_as_it_was_written(arguments):
    said, code = _start(FROM_A_SHELL, "chat", *arguments, DJANGO_SETTINGS_MODULE="chatsite.settings")

    assert (said, code) == (f"{arguments} chatsite.settings", 3)


def test_what_django_itself_was_told_is_not_passed_on():
    said, code = _start(FROM_A_SHELL, "chat", "--settings=chatsite.suite", "stats", "--json")

    assert (said, code) == ("['stats', '--json'] chatsite.suite", 3)


def test_code_may_call_it_too():
    said, code = _start(FROM_CODE, "chat", "stats", "--json", DJANGO_SETTINGS_MODULE="chatsite.settings")

    assert (said, code) == ("['stats', '--json'] chatsite.settings", 3)


# -- the real one ----------------------------------------------------------------------------------------------------


@pytest.fixture
def chat(monkeypatch, capsys):
    """``chat("stats", "--json")`` → what ``manage.py chat`` prints, and its exit code."""
    # pytest-django's connections are not the command's to close.
    monkeypatch.setattr("actors.django_app.management.commands.chat.connections.close_all", lambda: None)

    def run(*arguments: str) -> tuple[str, str, int]:
        with pytest.raises(SystemExit) as ended:
            Command().run_from_argv(["manage.py", "chat", *arguments])
        said = capsys.readouterr()
        return said.out, said.err, ended.value.code

    actors.broker.close()
    yield run
    actors.broker.close()
    services.install(None)


def test_there_are_all_the_commands():
    assert {words[0] for words in COMMANDS} >= {
        *("worker", "doctor", "stats", "dlq", "memory", "pause", "resume", "cancel", "instances"),
        *("migrate-legacy", "sandbox", "demo"),
    }


@pytest.mark.parametrize("words", [words for words in COMMANDS if words != ("demo",)], ids=" ".join)
def test_every_command_shows_the_same_help_under_its_name(chat, capsys, words):
    said, _, code = chat(*words, "--help")
    assert main([*words, "--help"]) == ExitCode.OK
    plain = capsys.readouterr().out

    def rest(text: str) -> str:
        # The usage is longer by the name, and wraps elsewhere.
        return re.sub(r"\s+", " ", text.partition("\n\n")[2] or text)

    assert code == ExitCode.OK
    assert f"manage.py chat {words[0]}" in said
    assert rest(said) == rest(plain)


def test_settings_that_cannot_be_used_are_said_with_their_code(chat, settings):
    settings.CHAT_ACTORS = {"QUEUE_DB": 1}

    _, said, code = chat("stats")

    assert code == ExitCode.SETTINGS
    assert "CHAT_ACTORS['QUEUE_DB']" in said
    assert "Traceback" not in said


def test_a_redis_that_is_down_and_a_wrong_line_have_their_codes(chat, settings):
    settings.CHAT_ACTORS = {"REDIS_URL": "redis://127.0.0.1:1"}

    assert chat("stats")[2] == ExitCode.UNAVAILABLE
    assert chat("stats", "--no-such")[2] == ExitCode.USAGE
    assert chat("no-such")[2] == ExitCode.USAGE
    assert chat("dlq")[2] == ExitCode.USAGE


@pytest.mark.redis
@pytest.mark.django_db
def test_it_reads_the_redis_of_the_settings(chat, settings, redis_server, queue_client):
    settings.CHAT_ACTORS = {"REDIS_URL": redis_server.url(0)}

    said, error, code = chat("stats", "--json")

    assert (code, error) == (ExitCode.OK, "")
    assert json.loads(said)["queues"]["send_message"]["ready"] == 0
    assert chat("dlq", "list", "--json")[0].strip() == "[]"
