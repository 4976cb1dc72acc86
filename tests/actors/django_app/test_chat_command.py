"""``manage.py chat`` is the command line of the package with the host's settings loaded, and adds nothing to it.

In a process of its own, with a command line that only shows what it was given: what the real one does with it is tested where
it stands.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "project"
STARTS = """
import sys, types
shown = types.ModuleType("actors.cli")
def main(arguments):
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
