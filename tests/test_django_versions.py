"""What touches Django holds on the oldest one too, in the same run: the installed one is the newest that is promised.

Another Django is a folder before the others on the path. It is fetched once, with its hash, and kept in the user's cache.
Without it and without an index the test is skipped on a laptop and fails in CI.
"""

import fcntl
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import pytest

ROOT = Path(__file__).parents[1]
OLDEST = ROOT / "requirements/django-4.2.txt"
#: The whole of what a host meets.
QUICK = ("tests/actors/django_app", "tests/actors/testing/test_sends.py", "tests/contracts/test_store_contract.py")
#: Transactions and both databases; the rest is for `make prove`.
WHERE_IT_DIFFERS = "test_transactions or test_send_on_commit or test_schema or test_check or outlives or test_sends or test_migrations or TestDjangoOn"
SLOW = ("tests/actors", "tests/chaos/test_killed_web.py", "tests/flows/test_demo.py")
FETCH_WITHIN_S = 120


@pytest.fixture(scope="module")
def oldest() -> Iterator[Path]:
    home = os.environ.get("XDG_CACHE_HOME")
    cache = (Path(home) if home else Path.home() / ".cache") / "chat-actors" / "django"
    cache.mkdir(parents=True, exist_ok=True)
    [release] = re.findall(r"^django==([\d.]+)", OLDEST.read_text(), re.MULTILINE)
    folder = cache / release
    with (cache / "fetching.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--retries=1"]
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        what = ["--only-binary=:all:", "--require-hashes", f"--target={fresh}/django", "-r", str(OLDEST)]
        try:
            subprocess.run([*pip, *what], check=True, capture_output=True, text=True, timeout=FETCH_WITHIN_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            if os.environ.get("CI"):
                pytest.fail(f"CI must have the oldest Django: {error}", pytrace=False)
            pytest.skip(f"the oldest Django is neither in the cache nor to be had: {error}")
        Path(fresh, "django").rename(folder)


def _run(folder: Path, tests: tuple[str, ...], *options: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *options]
    command = [sys.executable, "-c", "import django; print(django.get_version())"]
    version = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()
    assert version == folder.name
    done = subprocess.run(
        [*pytest_, *tests], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"on Django {version}:\n{done.stdout[-8_000:]}{done.stderr[-2_000:]}"
    return done.stdout


def test_the_installed_django_is_the_newest_promised():
    assert django.VERSION[:2] == (5, 2)


@pytest.mark.redis
@pytest.mark.postgres
def test_sends_rows_and_checks_hold_on_the_oldest_django(oldest):
    output = _run(oldest, QUICK, "-k", WHERE_IT_DIFFERS)

    [passed] = re.findall(r"(\d+) passed", output)
    assert int(passed) > 200


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.slow
def test_all_that_touches_django_holds_on_the_oldest_one(oldest):
    _run(oldest, SLOW, "-n", "2")


def test_a_newer_django_is_promised_when_it_was_tried():
    pytest.skip(
        f"Django 6.0 needs Python 3.12 (this is {sys.version_info.major}.{sys.version_info.minor}) "
        "and pyproject.toml promises none above 5.2"
    )
