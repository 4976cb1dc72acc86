"""A Django project that somebody begins today, made of what the documentation prints.

``with host_project(...)`` is not needed: it is a folder. Tests of the walk and of docs/testing.md make one.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from docs_pages import Page

ROOT = Path(__file__).parents[1]


class HostProject:
    """A folder with a project; commands run in it with the environment of a newcomer."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        binaries = folder / "bin"
        binaries.mkdir()
        # An environment that has the packages on its path and did not install them has no script.
        script = binaries / "chat-actors"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m actors.cli "$@"\n')
        script.chmod(0o755)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(binaries)])
        own = {name: value for name, value in os.environ.items() if name.startswith("PG")}
        self.environ = {
            "PATH": path,
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "HOME": str(folder),
            **own,
            **environ,
        }

    def write(self, page: str, name: str, *, to: str | None = None) -> None:
        """Make the file that a page prints as code, whose first line is its name."""
        place = self.folder / (to or name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(printed(page, name))

    def append(self, name: str, text: str) -> None:
        """Write at the end of a file."""
        place = self.folder / name
        place.write_text(place.read_text() + text)

    def run(self, line: str, *, given: str | None = None, fails: bool = False) -> str:
        """Run a line of a shell; what it said."""
        done = subprocess.run(
            shlex.split(line),
            cwd=self.folder,
            env=self.environ,
            input=given,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, line: str) -> "subprocess.Popen[bytes]":
        """Start a line of a shell; its output is in ``<program>.log``."""
        words = shlex.split(line)
        with (self.folder / f"{Path(words[0]).name}.log").open("ab") as log:
            return subprocess.Popen(words, cwd=self.folder, env=self.environ, stdout=log, stderr=subprocess.STDOUT)


def printed(page: str, name: str) -> str:
    """The code block of a page that begins with its own name."""
    (block,) = [block for block in Page(page).blocks if block.text.startswith(f"# {name}\n")]
    return block.text


def database_setting(url: str | None) -> str:
    """Lines for settings that put the project's rows into PostgreSQL; none where it stays with SQLite."""
    if url is None:
        return ""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    entry = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": parts.username,
    }
    return f"\nDATABASES = {{'default': {entry!r}}}\n"
