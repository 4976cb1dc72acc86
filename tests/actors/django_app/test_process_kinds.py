"""Every kind of process that a host starts loads the app, and none of them asks Redis for anything before it sends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: Runs what the argument says with every connection to a port refused and noted; prints those ports.
WATCHED = """
import json, socket, sys
asked = []
connect = socket.socket.connect
def note(self, address):
    if isinstance(address, tuple):
        asked.append(address[1])
        raise ConnectionRefusedError
    return connect(self, address)
socket.socket.connect = note
exec(sys.argv[1])
print(json.dumps(sorted(set(asked))))
"""
SHOW = "print(json.dumps(sorted(set(asked))))"
SEND = """
from actors import fetch_profile_pic
from actors.errors import SettingsError
try:
    fetch_profile_pic.try_send('00000000-0000-0000-0000-000000000000')
except SettingsError:
    pass
"""
MANAGE = "from django.core.management import execute_from_command_line as run; run(['manage.py', {}])"
KINDS = {
    "wsgi": "from django.core.wsgi import get_wsgi_application; get_wsgi_application()",
    "asgi": "from django.core.asgi import get_asgi_application; get_asgi_application()",
    "migrate": MANAGE.format("'migrate', '--verbosity=0'"),
    "makemigrations": MANAGE.format("'makemigrations', '--check', '--dry-run', '--verbosity=0'"),
    "collectstatic": MANAGE.format("'collectstatic', '--noinput', '--verbosity=0'"),
    "check": MANAGE.format("'check', '--fail-level=WARNING'"),
    "help": MANAGE.format("'help', 'chat'"),
}


def _start(tmp_path: Path, code: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'project'}"
    return subprocess.run(
        [sys.executable, "-c", WATCHED, code],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": path,
            "DJANGO_SETTINGS_MODULE": "chatsite.settings",
            "CHATSITE_DATABASE": str(tmp_path / "rows.sqlite3"),
            "CHATSITE_STATIC_ROOT": str(tmp_path / "static"),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("redis_url", ["redis://127.0.0.1:7777", pytest.param("", marks=pytest.mark.slow)])
def test_all_of_them_load_the_app_and_ask_redis_nothing(tmp_path, redis_url):
    # One process for all: each of them begins with django.setup(), which is what is looked at.
    done = _start(tmp_path, "\n".join([*KINDS.values(), SHOW, SEND]), REDIS_URL=redis_url)

    assert done.returncode == 0, done.stderr
    *_, loaded, sent = done.stdout.splitlines()
    assert json.loads(loaded) == []
    # The watch sees something when there is something to see.
    assert json.loads(sent) == ([7777] if redis_url else [])


def test_a_setting_that_cannot_be_used_stops_no_build_and_no_web_process(tmp_path):
    wrong = {"CHATSITE_CHAT_ACTORS": json.dumps({"QUEUE_DB": 1, "NO_SUCH": True})}

    assert _start(tmp_path, f"{KINDS['asgi']}\n{KINDS['collectstatic']}", **wrong).returncode == 0
