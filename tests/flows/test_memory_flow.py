"""Real worker processes: one grows and is replaced; a full Redis is sampled although its queue is held."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from waiting import until

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.memory import latest

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.process]

ROOT = Path(__file__).parents[2]
#: A slot, its grace, and a machine that has other work.
WITHIN_MS = 240_000
KEY = "chat:queue:__memory__"
Start = Callable[..., Path]


@pytest.fixture
def start(tmp_path: Path, redis_server: EmbeddedRedis, queue_client) -> Iterator[Start]:
    """``start(**environ)``: one worker process under the launcher, with 100 MB of ballast; returns its log."""
    (tmp_path / "ballast.py").write_text("BALLAST = b'x' * 100_000_000\n")
    started: list[subprocess.Popen[bytes]] = []

    def start(**environ: str) -> Path:
        bare = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        bare |= {"REDIS_URL": redis_server.url(0), "CHAT_STORE": "memory", "CHAT_METRICS_PORT": "0"}
        bare |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        log = tmp_path / "log"
        command = [sys.executable, "-m", "actors.cli", "worker", "--processes", "1", "--threads", "2", "ballast"]
        with log.open("ab") as output:
            started.append(subprocess.Popen(command, env={**bare, **environ}, cwd=tmp_path, stderr=output))
        until(lambda: "worker.ready" in log.read_text(), within_ms=60_000)
        return log

    yield start
    for process in started:
        servers.end(process, within_s=40)


def test_a_worker_that_grew_over_its_limit_is_drained_and_replaced(start):
    log = start(CHAT_MAX_RSS_MB="128")

    until(lambda: log.read_text().count("worker.ready") >= 2, within_ms=WITHIN_MS)

    events = [line.split()[3] for line in log.read_text().splitlines() if " worker." in line]
    assert events[:2] == ["worker.started", "worker.ready"]
    replaced = [event for event in events[2:] if event != "worker.respawns"]
    assert replaced[:5] == ["worker.too_large", "worker.draining", "worker.ended", "worker.started", "worker.ready"]


def test_a_full_redis_whose_queue_is_held_is_sampled_all_the_same(start, queue_client, redis_server):
    log = start()
    until(lambda: latest(queue_client, KEY, count=1), within_ms=WITHIN_MS)
    hold = [sys.executable, "-m", "actors.cli", "pause", "housekeeping"]
    subprocess.run(hold, cwd=ROOT, env={**os.environ, "REDIS_URL": redis_server.url(0)}, check=True)
    before = queue_client.xlen(KEY)

    queue_client.config_set("maxmemory", 1)

    until(lambda: "taken_by=thread" in log.read_text(), within_ms=WITHIN_MS)
    until(lambda: queue_client.xlen(KEY) > before, within_ms=WITHIN_MS)
    assert latest(queue_client, KEY, count=1)[0].maxmemory_bytes == 1
