"""Run Dramatiq's own tests against a broker, each process of them on a Redis of its own.

    python tests/conformance/run.py middleware.brokers.redis.broker:CarrierBroker [--swap] [--tests FOLDER] [pytest's arguments]

The tests are those of the installed version's source distribution, or a FOLDER of a checkout, which has some more. Without ``--swap`` its tests of Redis brokers, results and rate limits run. With it the broker is handed to the tests that were
written for the in-memory stub. The class must be a ``RedisBroker`` that takes ``url=`` and ``namespace=``. The exit code is
pytest's; which failures are expected, and why, stands in ``test_dramatiq_suite.py`` beside this file.
"""

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KIT = Path(__file__).resolve().parent / "kit"

SWAP = (
    "test_actors.py",
    "test_callbacks.py",
    "test_composition.py",
    "test_encoders.py",
    "test_generic_actors.py",
    "test_messages.py",
    "test_results.py",
    "test_worker.py",
)
#: For ``--swap`` too, but in no source distribution yet: a checkout has it.
CHECKOUT = ("middleware/test_retries.py",)
#: Whatever broker is under test, these make one of the stock class, for the Redis of this machine at its usual port.
LEFT_OUT = (
    "test_redis.py::test_redis_broker_can_connect_via_url",
    "test_redis.py::test_redis_broker_can_connect_via_client",
)
#: They judge Dramatiq's rate limits by the clock and never see a broker.
BROKERLESS = (
    "test_barrier.py",
    "test_bucket_rate_limiter.py",
    "test_concurrent_rate_limiter.py",
    "test_window_rate_limiter.py",
)
#: They read the consumer of a thread that was started a moment ago and may not have made it yet.
RACES = (
    "test_redis.py::test_redis_consumer_ack_can_retry_on_connection_error",
    "test_redis.py::test_redis_consumer_nack_can_retry_on_connection_error",
)
PLAIN = ("test_redis.py", "test_results.py", *BROKERLESS)
#: They judge by the clock, the first one by a single millisecond: what ran beside them would be measured too.
TIMED = (
    "test_workers_process_messages_in_order",
    "test_groups_execute_jobs_in_parallel",
    "test_groups_execute_inner_groups",
    "test_retry_exceptions_can_specify_a_delay",
    "test_actors_retry_for_a_max_time",
    "test_actors_can_be_assigned_zero_min_backoff",
    "test_actors_can_be_assigned_zero_max_backoff",
    "test_actor_messages_can_be_assigned_zero_min_backoff",
    "test_actor_messages_can_be_assigned_zero_max_backoff",
)

#: They wait more than they work.
PROCESSES = 6
#: Longest time to fetch the tests, in seconds.
FETCH_WITHIN_S = 120
#: Longest run, in seconds; two slow cores need 70.
RUN_WITHIN_S = 400

INI = """\
[pytest]
junit_family = xunit1
filterwarnings =
    error::pytest.PytestUnhandledThreadExceptionWarning
"""


class TestsNotFetched(Exception):
    """Dramatiq's tests are neither in the cache nor to be had from a package index."""

    __test__ = False


def dramatiq_tests() -> Path:
    """Folder with the tests of the installed version, from the user's cache or, the first time, from the package index.

    Raises:
        TestsNotFetched: there is no index, or no room for them.
    """
    release = version("dramatiq")
    cached = _cache() / f"dramatiq-{release}"
    if not cached.is_dir():
        try:
            _fetch(release, cached)
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or [type(error).__name__]
            raise TestsNotFetched(f"no tests of Dramatiq {release}: {said[-1]}") from error
    return cached


def run(broker: str, *, swap: bool = False, tests: Path | None = None, arguments: Sequence[str] = ()) -> int:
    """Run one of the two sets against ``module:class``; returns pytest's exit code.

    ``tests`` is the folder of a checkout with Dramatiq's tests; None = :func:`dramatiq_tests`.

    Raises:
        TestsNotFetched: see :func:`dramatiq_tests`.
        subprocess.TimeoutExpired: it was still running after ``RUN_WITHIN_S``; by then it is ended.
    """
    source = tests or dramatiq_tests()
    chosen = [*(SWAP if swap else PLAIN), *(name for name in CHECKOUT if swap and (source / name).exists())]
    with _no_other_run(), tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        home = Path(folder)
        _lay_out(home, source, chosen)
        plugins = ("-p", "xdist.plugin", "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider")
        spread = ("-n", str(PROCESSES), "--maxschedchunk", "1")
        options = ("-q", "--benchmark-skip", *(f"--deselect=tests/{name}" for name in LEFT_OUT))
        files = [f"tests/{name}" for name in chosen]
        command = [sys.executable, "-m", "pytest", *plugins, *spread, *options, *arguments, *files]
        return _bounded(command, home, _environment(broker, home, swap=swap))


@contextmanager
def _no_other_run() -> Iterator[None]:
    # One set sends 16,000 messages as fast as it can while the other gives a message 100 ms.
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "running.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lay_out(home: Path, source: Path, chosen: Sequence[str]) -> None:
    (home / "pytest.ini").write_text(INI)
    for name in chosen:
        copy = home / "tests" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        (copy.parent / "__init__.py").touch()
        shutil.copy(source / name, copy)
    shutil.copy(ROOT / "tests" / "waiting.py", home / "tests" / "waiting.py")
    shutil.copy(KIT / "common.py", home / "tests" / "common.py")
    shutil.copy(KIT / "fixtures.py", home / "tests" / "conftest.py")


def _environment(broker: str, home: Path, *, swap: bool) -> dict[str, str]:
    # Neither the settings of a pytest around this one, nor a measurement of coverage: some of these tests judge by the clock.
    foreign = ("PYTEST", "COV", "DJANGO")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    paths = (str(ROOT), str(Path.cwd()), kept.get("PYTHONPATH", ""))
    return kept | {
        "CONFORMANCE_BROKER": broker,
        "CONFORMANCE_LOCK": str(home / "timed.lock"),
        "CONFORMANCE_SWAP": str(int(swap)),
        "CONFORMANCE_TIMED": " ".join(TIMED),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def _bounded(command: Sequence[str], home: Path, environment: dict[str, str]) -> int:
    # In a group of its own, so that its processes end with it; their servers end with them.
    running = subprocess.Popen(command, cwd=home, env=environment, start_new_session=True)
    try:
        return running.wait(RUN_WITHIN_S)
    finally:
        if running.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "chat-actors" / "conformance"


def _fetch(release: str, cached: Path) -> None:
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
        home = Path(folder)
        (home / "requirements.txt").write_text(_requirement(release))
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1"]
        what = ["--no-deps", "--no-binary", "dramatiq", "--requirement", "requirements.txt"]
        subprocess.run([*pip, *what], cwd=home, check=True, capture_output=True, text=True, timeout=FETCH_WITHIN_S)
        with tarfile.open(next(home.glob("dramatiq-*.tar.gz"))) as archive:
            _unpack(archive, home / "tests")
        try:
            (home / "tests").rename(cached)
        except OSError:
            if not cached.is_dir():  # else another process was quicker
                raise


def _unpack(archive: tarfile.TarFile, into: Path) -> None:
    into.mkdir()
    for member in archive:
        path = Path(member.name)
        content = archive.extractfile(member) if path.suffix == ".py" and path.parent.name == "tests" else None
        if content is not None:
            (into / path.name).write_bytes(content.read())


def _requirement(release: str) -> str:
    """Line for pip; with the hashes that are pinned for this release, if any are."""
    pins = (ROOT / "requirements" / "dev.txt").read_text()
    pinned = re.search(rf"^dramatiq=={re.escape(release)} .*(?:\n    --hash=.*)*", pins, re.MULTILINE)
    return pinned[0].rstrip("\\ ") + "\n" if pinned else f"dramatiq=={release}\n"


def main() -> int:
    """The command line."""
    about, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("broker", help="module:class")
    parser.add_argument("--swap", action="store_true", help="run the tests written for the in-memory stub")
    parser.add_argument("--tests", type=Path, metavar="FOLDER", help="tests of a checkout of Dramatiq")
    known, arguments = parser.parse_known_args()
    try:
        return run(known.broker, swap=known.swap, tests=known.tests, arguments=arguments)
    except TestsNotFetched as error:
        parser.exit(3, f"{error}\n")


if __name__ == "__main__":
    sys.exit(main())
