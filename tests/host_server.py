"""The demo project's web server in a process of its own, over a database that the test shares.

``with serving(…) as url``. What it logs is in the file that the test names.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from waiting import until

PROJECT = Path(__file__).parent / "project"


@contextmanager
def serving(
    *, database: str, log: Path, chat_actors: dict[str, Any], settings: str = "chatsite.settings"
) -> Iterator[str]:
    """URL of a running ``manage.py runserver``; it is ended with the block."""
    port = _free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{PROJECT.parents[1]}{os.pathsep}{PROJECT}",
        "DJANGO_SETTINGS_MODULE": settings,
        "CHATSITE_DATABASE": database,
        "CHATSITE_CHAT_ACTORS": json.dumps(chat_actors),
        **{name: value for name, value in os.environ.items() if name.startswith("PG")},
    }
    command = [sys.executable, "manage.py", "runserver", "--noreload", "--skip-checks", f"127.0.0.1:{port}"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=PROJECT, env=environ, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None or _listens(port), within_ms=30_000)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
