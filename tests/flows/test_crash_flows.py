"""Worker processes die, Redis forgets everything: what the phones received stays once and in order."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from sandbox_fixture import Sandbox
from waiting import until

import actors
from actors import services
from actors.domain import MessageStatus
from actors.services import Services
from actors.settings import Settings
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from actors.stores.sqlite import SqliteStore
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock

pytestmark = [pytest.mark.redis, pytest.mark.process]

ROOT = Path(__file__).parents[2]
LANES = 8
EACH_ONCE_IN_ORDER = {"duplicates_by_client_ref": 0, "duplicates_by_fingerprint": 0, "order_violations": 0}


@dataclass
class World:
    """Rows in an SQLite file that worker processes share with this one."""

    store: SqliteStore
    sandbox: Sandbox
    environ: dict[str, str]

    def say(self, count: int) -> list[str]:
        """Commit and send ``count`` messages over all conversations, the oldest first."""
        now_ms = SystemClock().now_ms()
        ids = []
        for number in range(count):
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
def world(redis_server: EmbeddedRedis, queue_client: redis.Redis, sandbox: Sandbox, tmp_path: Path) -> Iterator[World]:
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
    yield World(store, sandbox, {**os.environ, **environ})
    actors.broker.close()
    services.install(None)
    store.close()


@contextmanager
def running(world: World, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=world.environ, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def children(pid: int) -> list[int]:
    """Python children of a process, as the kernel has them."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def kill_one_child_in_the_middle_of_a_request(world: World, launcher: int) -> int:
    """The gateway is holding at least one request of every process when one of them dies."""
    until(lambda: len(children(launcher)) == 2, within_ms=20_000)
    before = world.sandbox.admin.counters()["accepted"]
    until(lambda: world.sandbox.admin.counters()["accepted"] > before, within_ms=20_000)
    victim = children(launcher)[0]
    os.kill(victim, signal.SIGKILL)
    # Until the launcher has noticed, its child is still there, dead.
    until(lambda: victim not in children(launcher), within_ms=20_000)
    return victim


def test_workers_killed_in_the_middle_cost_doubles_and_reorder_nothing(world):
    # Slow after the gateway took the message: whoever dies then has sent and does not know it.
    world.sandbox.admin.add_fault({"type": "latency", "ms": 60, "when": "after_accept"}, match={"op": ["sendText"]})
    ids = world.say(48)
    with running(world, "actors.cli", "worker", "--processes", "2", "--threads", "4") as launcher:
        victims = [kill_one_child_in_the_middle_of_a_request(world, launcher.pid) for _ in range(3)]
        until(lambda: world.all_sent(ids), within_ms=60_000, poll_ms=100)

    assert len(set(victims)) == 3
    assert world.faults_of_delivery() == EACH_ONCE_IN_ORDER | {"accepted": len(ids)}


def test_what_redis_forgot_is_put_back_from_the_store(world, queue_client):
    """FLUSHALL with messages waiting and in flight: the sweep sends again what is still pending."""
    world.sandbox.admin.add_fault({"type": "latency", "ms": 60, "when": "after_accept"}, match={"op": ["sendText"]})
    ids = world.say(24)
    with running(world, "actors.cli", "worker", "--processes", "1", "--threads", "4"):
        until(lambda: world.sandbox.admin.counters()["accepted"] >= 4, within_ms=30_000)
        queue_client.flushall()
        until(_swept(world, ids), within_ms=60_000, poll_ms=300)

    assert world.faults_of_delivery() == EACH_ONCE_IN_ORDER | {"accepted": len(ids)}


def _swept(world: World, ids: list[str]) -> Callable[[], bool]:
    def sweep_and_look() -> bool:
        # What the schedule does once a minute.
        actors.sweep_pending.send()
        return world.all_sent(ids)

    return sweep_and_look


def test_dramatiqs_own_command_runs_the_actors_and_leaves_no_orphan(world):
    ids = world.say(8)
    with running(world, "dramatiq", "actors", "--processes", "2", "--threads", "2") as master:
        until(lambda: world.all_sent(ids), within_ms=30_000, poll_ms=100)
        orphans = children(master.pid)
        master.kill()
        master.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), within_ms=30_000, poll_ms=100)

    assert world.faults_of_delivery()["accepted"] == len(ids)


def test_a_worker_that_is_told_to_stop_finishes_what_it_holds(world):
    world.sandbox.admin.add_fault({"type": "latency", "ms": 300, "when": "before_accept"}, match={"op": ["sendText"]})
    ids = world.say(8)
    with running(world, "actors.cli", "worker", "--processes", "1", "--threads", "4") as launcher:
        until(lambda: world.sandbox.admin.counters()["accepted"] >= 1, within_ms=30_000)
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(20) == 0
    assert actors.broker.transitions.stats(["send_message"])[0].in_flight == 0
    assert len({attempt.state for id_ in ids for attempt in world.store.attempts(id_)} - {"accepted"}) == 0

    with running(world, "actors.cli", "worker", "--processes", "1", "--threads", "4"):
        until(lambda: world.all_sent(ids), within_ms=30_000, poll_ms=100)
    assert world.faults_of_delivery()["duplicates_by_client_ref"] == 0
