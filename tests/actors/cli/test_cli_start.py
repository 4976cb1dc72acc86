"""``dramatiq actors``, ``chat-actors worker`` and ``periodiq actors`` start, or refuse with the documented exit code.

From a checkout, and from the wheel as a host installs it: in a virtual environment, from a folder that holds nothing of ours.
"""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import servers
from deaf_servers import redis_without_select
from waiting import until

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.roster import Roster
from middleware.errors import ExitCode

pytestmark = [pytest.mark.redis, pytest.mark.process]

ROOT = Path(__file__).parents[3]
KEYS = Keys("chat:queue")
COMMANDS = ("worker", "dramatiq", "periodiq")


@dataclass(frozen=True)
class Place:
    """Where the product is installed, and the folder in which its commands are run."""

    python: str
    folder: Path

    def command(self, name: str) -> list[str]:
        """A process of one kind, as small as it can be."""
        if name == "worker":
            return [self.python, "-m", "actors.cli", "worker", "-p", "1", "-t", "1", "--patience", "0", "--log-json"]
        if name == "dramatiq":
            return [self.python, "-m", "dramatiq", "actors", "-p", "1", "-t", "1"]
        return [self.python, "-c", "from periodiq import entrypoint; entrypoint()", "actors"]


@pytest.fixture(scope="session")
def checkout() -> Place:
    return Place(sys.executable, ROOT)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The wheel in an environment of its own; what it depends on is taken from this one."""
    home = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(home)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    venv.create(home / "venv", with_pip=False)
    python = home / "venv" / "bin" / "python"
    [packages] = (home / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "-q",
    ]
    subprocess.run([*pip, *map(str, home.glob("*.whl"))], check=True, capture_output=True, timeout=60)
    (home / "empty").mkdir()
    return Place(str(python), home / "empty")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


def environment(**settings: str) -> dict[str, str]:
    return {**os.environ, "CHAT_STORE": "memory", "CHAT_METRICS_PORT": "0", "CHAT_LEASE_MS": "1000", **settings}


@contextmanager
def started(place: Place, name: str, log: Path, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            place.command(name), cwd=place.folder, env=environment(**settings), stderr=file, stdout=file
        )
    try:
        yield process
    finally:
        servers.end(process, within_s=10)


def ended(place: Place, name: str, **settings: str) -> int:
    command = place.command(name)
    ran = subprocess.run(command, cwd=place.folder, env=environment(**settings), capture_output=True, timeout=60)
    return ran.returncode


both = pytest.mark.parametrize("place", ["checkout", "wheel"], indirect=True)
every = pytest.mark.parametrize("name", COMMANDS)


@both
@every
def test_without_a_redis_url_it_refuses(place, name):
    assert ended(place, name) == ExitCode.SETTINGS


@every
def test_with_a_setting_that_means_nothing_it_refuses(checkout, name):
    assert ended(checkout, name, REDIS_URL="redis://127.0.0.1:1/0", CHAT_GATEWAY="no-such-gateway") == ExitCode.SETTINGS


@every
def test_without_a_redis_behind_its_url_it_refuses(checkout, name):
    assert ended(checkout, name, REDIS_URL="redis://127.0.0.1:1/0") == ExitCode.UNAVAILABLE


@every
def test_on_a_server_that_ignores_select_it_refuses(checkout, name, redis_server):
    with redis_without_select(redis_server.port) as port:
        url = f"redis://:{redis_server.password}@127.0.0.1:{port}/0"

        assert ended(checkout, name, REDIS_URL=url) == ExitCode.WRONG_DATABASE


@both
@pytest.mark.parametrize("name", ["worker", "dramatiq"])
def test_a_worker_starts_serves_every_queue_and_ends_in_good_order(place, name, redis_server, queue_client, tmp_path):
    log = tmp_path / "log"
    with started(place, name, log, REDIS_URL=redis_server.url(0)) as process:
        [entry] = until(lambda: alive(process, log, queue_client), within_ms=20_000)
        process.send_signal(signal.SIGTERM)

        assert process.wait(15) == ExitCode.OK

    assert {"send_message", "fetch_profile_pic", "fetch_group_info", "housekeeping"} <= set(entry.worker.queues)
    if name == "worker":
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        # Two processes write them, so their order is not fixed.
        assert sorted(one for one in events if one.startswith(("worker.", "launcher."))) == [
            *("launcher.draining", "launcher.started", "launcher.stopped"),
            *("worker.draining", "worker.ended", "worker.ready", "worker.started"),
        ]


def alive(process: "subprocess.Popen[bytes]", log: Path, client: redis.Redis) -> list[object]:
    assert process.poll() is None, log.read_text()
    return Roster(client, KEYS).alive()


@both
def test_periodiq_sends_what_is_due(place, redis_server: EmbeddedRedis, queue_client, tmp_path):
    log = tmp_path / "log"
    with started(place, "periodiq", log, REDIS_URL=redis_server.url(0), CHAT_SCHEDULER="periodiq") as process:

        def sent() -> int:
            assert process.poll() is None, log.read_text()
            return queue_client.llen(KEYS.of("housekeeping", "ready"))

        # Close to the end of a minute it waits for the next one.
        assert until(sent, within_ms=20_000) >= 1


def test_the_wheel_holds_everything_and_nothing_else(wheel):
    code = "import actors, middleware; print(actors.__file__); print(middleware.__file__)"
    said = subprocess.run(
        [wheel.python, "-c", code], cwd=wheel.folder, capture_output=True, text=True, check=True
    ).stdout
    [packages] = (Path(wheel.python).parents[1] / "lib").glob("python*/site-packages")

    assert all(line.startswith(str(packages)) for line in said.splitlines())
    assert {path.name for path in packages.iterdir() if path.is_dir()} - {"actors", "middleware"} == {
        path.name for path in packages.glob("chat_actors-*.dist-info")
    }
    missing = [
        path
        for top in ("actors", "middleware")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not (packages / path.relative_to(ROOT)).is_file()
    ]
    assert missing == []


def test_the_script_of_the_wheel_is_the_command_line(wheel):
    script = Path(wheel.python).with_name("chat-actors")

    said = subprocess.run([script, "--help"], cwd=wheel.folder, capture_output=True, text=True, check=True).stdout

    assert said.startswith("Usage: chat-actors [OPTIONS] COMMAND [ARGS]...")


def test_pytest_finds_the_plugin_of_the_wheel(wheel):
    (wheel.folder / "test_host.py").write_text("def test_it(chat_sends):\n    assert chat_sends.sent == []\n")
    command = [wheel.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:django", "test_host.py"]
    environ = {**os.environ, "CHAT_STORE": "memory"}

    said = subprocess.run(command, cwd=wheel.folder, env=environ, capture_output=True, text=True, check=False).stdout

    assert "1 passed" in said
