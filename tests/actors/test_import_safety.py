"""Importing the package costs and needs nothing: Django imports it at build time, where there is no Redis."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What must not be loaded by an import: each costs a tenth of a second or more, or belongs to a backend not chosen.
LAZY = (
    "pydantic",
    "pydantic_settings",
    "httpx",
    "django",
    "sentry_sdk",
    "apscheduler",
    "cronsim",
    "pika",
    "typer",
    "rich",
)

PROBE = """
import json, socket, sys, threading
def refuse(*args, **kwargs):
    raise AssertionError("an import connected")
socket.socket.connect = refuse
import actors
print(json.dumps({"modules": sorted(sys.modules), "threads": threading.active_count(), "broker": type(actors.broker).__name__}))
"""


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**bare, **environ}, capture_output=True, text=True, timeout=60
    )


def test_an_import_connects_to_nothing_starts_nothing_and_needs_no_variable():
    done = run(PROBE)

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["threads"], seen["broker"]) == (1, "CarrierBroker")
    assert [name for name in LAZY if name in seen["modules"]] == []


def test_a_fault_in_the_settings_breaks_no_import_and_is_told_at_first_use():
    done = run(
        "import actors; print('imported'); actors.send_message.send('m1')",
        CHAT_BROKER="kafka",
        CHAT_LEASE_MS="soon",
        REDIS_URL="http://cache",
    )

    assert done.stdout == "imported\n"
    for fault in ("CHAT_BROKER", "CHAT_LEASE_MS", "REDIS_URL"):
        assert fault in done.stderr


def test_collectstatic_works_without_redis(tmp_path):
    code = (
        "import actors; from django.core.management import execute_from_command_line;"
        "execute_from_command_line(['manage.py', 'collectstatic', '--noinput', '--verbosity=0'])"
    )
    done = run(
        f"import sys; sys.path[:0] = [{str(ROOT / 'tests' / 'project')!r}]; {code}",
        DJANGO_SETTINGS_MODULE="chatsite.settings",
        CHATSITE_STATIC_ROOT=str(tmp_path / "static"),
        REDIS_URL="redis://127.0.0.1:1/0",
    )

    assert done.returncode == 0, done.stderr


def test_a_hosts_own_package_called_middleware_is_named_as_the_cause(tmp_path):
    (tmp_path / "middleware").mkdir()
    (tmp_path / "middleware" / "__init__.py").touch()
    done = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import actors")

    assert done.returncode == 1
    assert f"{tmp_path / 'middleware' / '__init__.py'} hides the package 'middleware' of chat-actors" in done.stderr
