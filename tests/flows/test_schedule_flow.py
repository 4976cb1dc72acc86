"""Periodic actors under Dramatiq's own command: several processes, one message per slot."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from waiting import stays, until

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import ExitCode
from middleware.memory import latest

pytestmark = [pytest.mark.redis, pytest.mark.process]

ROOT = Path(__file__).parents[2]
DRAMATIQ = Path(sys.executable).with_name("dramatiq")
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "workers.log"


@pytest.fixture
def start_workers(redis_server: EmbeddedRedis, queue_client: redis.Redis, log: Path) -> Iterator[Start]:
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    bare |= {"REDIS_URL": redis_server.url(0), "CHAT_STORE": "memory", "CHAT_METRICS_PORT": "0"}
    started: list[subprocess.Popen[bytes]] = []

    def start(processes: int = 1, **environ: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            command = [str(DRAMATIQ), "actors", "-p", str(processes), "-t", "2"]
            started.append(
                subprocess.Popen(
                    command, cwd=ROOT, env={**bare, **environ}, stdout=output, stderr=output, start_new_session=True
                )
            )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)


def test_two_worker_processes_run_each_slot_once(start_workers, queue_client, log):
    def count(what: str) -> int:
        return int(queue_client.hget("chat:queue:housekeeping.counters", what) or 0)

    start_workers(processes=2)
    until(lambda: log.read_text().count("scheduler.started") == 2, within_ms=30_000)
    until(lambda: latest(queue_client, "chat:queue:__memory__", count=5), within_ms=10_000)

    def marks() -> int:
        return queue_client.zcard("chat:queue:__ticks__")

    # A slot is enqueued, then marked; a minute may turn at any time, and then both entries are under way.
    stays(lambda: count("enqueued") <= marks() + 2, for_ms=700)
    # A mark for each slot that was sent and a run for each mark: one that was sent twice would have two runs for ever.
    until(lambda: count("done") == count("enqueued") == marks(), within_ms=10_000)
    assert 2 <= count("enqueued") <= 6
    assert count("dead") == 0
    assert "Traceback" not in log.read_text()


def test_a_schedule_that_cannot_be_kept_stops_the_worker_with_its_code(start_workers):
    process = start_workers(CHAT_MEMORY_EVERY_S="61")

    assert process.wait(30) == ExitCode.SETTINGS
