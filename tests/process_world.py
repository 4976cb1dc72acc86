"""Rows in a file, a Redis, a sandbox gateway and worker processes over them: what a crash is tried on.

``conftest.py`` loads it; tests take the fixture ``process_world`` and start workers with :func:`running`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import servers
from sandbox_fixture import Sandbox

import actors
from actors import services
from actors.domain import MessageStatus
from actors.services import Services
from actors.settings import Settings
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from actors.stores.sqlite import SqliteStore
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock

ROOT = Path(__file__).parents[1]
LANES = 8
EACH_ONCE_IN_ORDER = {"duplicates_by_client_ref": 0, "duplicates_by_fingerprint": 0, "order_violations": 0}


@dataclass
class ProcessWorld:
    """Rows in an SQLite file that worker processes share with this one."""

    store: SqliteStore
    sandbox: Sandbox
    environ: dict[str, str]

    def say(self, count: int, *, first: int = 0) -> list[str]:
        """Commit and send ``count`` messages over all conversations, the oldest first, numbered from ``first``."""
        now_ms = SystemClock().now_ms()
        ids = []
        for number in range(first, first + count):
            lane = number % LANES
            self.store.add(
                MessageRow(
                    id=f"m{number}",
                    conversation_id=f"c{lane}",
                    content=f"text {number}",
                    created_at_ms=now_ms + number,
                )
            )
            ids.append(f"m{number}")
        for id_ in ids:
            actors.send_message.send(id_)
        return ids

    def all_sent(self, ids: list[str]) -> bool:
        return all(self.store.message(id_).status == MessageStatus.SENT for id_ in ids)

    def faults_of_delivery(self) -> dict[str, int]:
        counters = self.sandbox.admin.counters()
        names = ("accepted", "duplicates_by_client_ref", "duplicates_by_fingerprint", "order_violations")
        return {name: counters[name] for name in names}


@pytest.fixture
def process_world(
    redis_server: EmbeddedRedis, queue_client: redis.Redis, sandbox: Sandbox, tmp_path: Path
) -> Iterator[ProcessWorld]:
    environ = {
        "REDIS_URL": redis_server.url(0),
        "CHAT_STORE": "sqlite",
        "CHAT_SQLITE_PATH": str(tmp_path / "chat.sqlite3"),
        "CHAT_GATEWAY": "sandbox",
        "CHAT_SANDBOX_URL": sandbox.url,
        "CHAT_SCHEDULER": "none",
        "CHAT_METRICS_PORT": "0",
        "CHAT_LEASE_MS": "1500",
        "CHAT_BACKOFF_BASE_MS": "50",
        "CHAT_BACKOFF_CAP_MS": "300",
        "CHAT_RECONCILE_GRACE_S": "0.3",
        "CHAT_SWEEP_AFTER_S": "1",
        "CHAT_SHUTDOWN_TIMEOUT_MS": "5000",
    }
    settings = Settings.load(environ)
    store = SqliteStore(Path(environ["CHAT_SQLITE_PATH"]))
    store.add(InstanceRow(instance_name="i1", api_key=sandbox.apikey, api_url=sandbox.url))
    for lane in range(LANES):
        store.add(ConversationRow(id=f"c{lane}", contact_phone=f"+55119888877{lane:02}", instance_name="i1"))
    services.install(Services(settings=settings, store=store))
    yield ProcessWorld(store, sandbox, {**os.environ, **environ})
    actors.broker.close()
    services.install(None)
    store.close()


@contextmanager
def running(world: ProcessWorld, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=world.environ, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        servers.end(process)


def children(pid: int) -> list[int]:
    """Python children of a process, as the kernel has them."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
