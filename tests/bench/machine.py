"""Where and from what a run was made."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

from middleware.brokers.redis.embedded import find_binary

PACKAGES = ("dramatiq", "redis", "hiredis", "huey", "taskiq", "taskiq-redis", "streaq", "celery", "rq", "arq")
ROOT = Path(__file__).parents[2]


def describe() -> dict[str, Any]:
    """For the head of the table and of the JSON file."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD") or "unknown",
        # Figures of a changed tree belong to no commit.
        "changed_files": len(_git("status", "--porcelain").splitlines()),
        "processors": os.cpu_count(),
        "processor": _processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "redis_server": _redis_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load": os.getloadavg(),
    }


def _redis_version() -> str:
    said = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    return next(word.removeprefix("v=") for word in said.split() if word.startswith("v="))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def busy_s() -> float:
    """CPU time that all processors together have spent on anything, since the machine runs; stolen time is included."""
    user, nice, system, _, _, *rest = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def wait_until_quiet(*, below_cores: float, within_s: float) -> None:
    """Return once the machine does hardly anything, or when the time is over."""
    end_s = monotonic() + within_s
    while monotonic() < end_s:
        before_s = busy_s()
        Event().wait(1)
        if busy_s() - before_s < below_cores:
            return
