"""How fast a backup is made and put back, and that its memory does not grow with the backlog: `make prove` measures it."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from backup_world import Vault
from carrier_world import MEMORY

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Transitions
from middleware.brokers.redis.values import NewMessage, Routing

pytestmark = [pytest.mark.slow, pytest.mark.redis]

ROOT = Path(__file__).parents[2]
QUEUE = "send_message"
MESSAGES, CONVERSATIONS, INSTANCES = 100_000, 1_000, 20
RUNS = 5


def fill(moves: Transitions, count: int) -> None:
    """A backlog as sends make it: most wait for their conversation."""
    for first in range(0, count, 10_000):
        new = []
        for number in range(first, min(count, first + 10_000)):
            id_ = f"0f8fad5b-d9cb-469f-a165-{number:012d}"
            body = {
                "queue_name": QUEUE,
                "actor_name": "send_message",
                "args": [],
                "kwargs": {"message_id": id_},
                "options": {"tenant": "t"},
                "message_id": id_,
                "message_timestamp": 1_764_195_558_123,
            }
            lane, group = f"6f1c1f0e-{number % CONVERSATIONS:012d}", f"instance-{number % INSTANCES}"
            new.append(
                NewMessage(
                    f"m{number:011d}", json.dumps(body).encode(), 0, Routing(lane=lane, group=group, unique_key=id_)
                )
            )
        moves.enqueue_many(QUEUE, new)


def test_a_hundred_thousand_messages_are_copied_at_50_000_a_second_and_put_back_at_30_000(
    queue_client: redis.Redis, tmp_path: Path, record_property: Callable[[str, object], None]
):
    """Median of five runs each; the restore reads the file twice, first to check it."""
    moves = Transitions(Scripts(queue_client, Keys("chat:queue")), memory=MEMORY)
    fill(moves, MESSAGES)
    vault = Vault(moves, tmp_path, [QUEUE])
    copied, restored = [], []
    for _ in range(RUNS):
        begin = time.perf_counter()
        path = vault.create()
        copied.append(MESSAGES / (time.perf_counter() - begin))
        queue_client.flushall()
        begin = time.perf_counter()
        vault.restore(path)
        restored.append(MESSAGES / (time.perf_counter() - begin))
        assert moves.stats([QUEUE])[0].unfinished == MESSAGES
    record_property("copied_per_s", round(statistics.median(copied)))
    record_property("restored_per_s", round(statistics.median(restored)))

    assert statistics.median(copied) >= 50_000
    assert statistics.median(restored) >= 30_000


_PEAK = """
import resource, sys
from actors.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def test_memory_does_not_grow_with_the_backlog(
    redis_server: EmbeddedRedis,
    queue_client: redis.Redis,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    moves = Transitions(Scripts(queue_client, Keys("chat:queue")), memory=MEMORY)
    environ = {**os.environ, "REDIS_URL": redis_server.url(0), "CHAT_STORE": "memory", "PYTHONPATH": str(ROOT)}

    def peak_mb(*arguments: str) -> float:
        command = [sys.executable, "-c", _PEAK, "backup", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        return int(done.stderr.split()[-1]) / 1024

    path = tmp_path / "few.jsonl.gz"
    fill(moves, 1_000)
    few = peak_mb("create", str(path)), peak_mb("restore", str(path), "--yes")
    path = tmp_path / "many.jsonl.gz"
    fill(moves, 400_000)
    many = peak_mb("create", str(path)), peak_mb("restore", str(path), "--yes")
    grown = [round(after - before) for before, after in zip(few, many, strict=True)]
    record_property("grown_mb", grown)

    # Ids in memory are bounded (``backup_seen.IN_MEMORY``); bodies alone would be 150 MB.
    assert max(grown) < 60
