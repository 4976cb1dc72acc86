"""A worker process stands still with a request under way, for longer than its lease, and goes on as if nothing was."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from waiting import until

import actors
from actors import services
from actors.domain import AttemptState, MessageStatus
from actors.services import Services
from actors.settings import Settings
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from actors.stores.sqlite import SqliteStore
from middleware.clock import SystemClock
from middleware.letters import DeadLetters

pytestmark = [pytest.mark.redis, pytest.mark.process]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environ(redis_server, queue_client, sandbox, tmp_path: Path) -> dict[str, str]:
    return {
        "REDIS_URL": redis_server.url(0),
        "CHAT_STORE": "sqlite",
        "CHAT_SQLITE_PATH": str(tmp_path / "chat.sqlite3"),
        "CHAT_GATEWAY": "sandbox",
        "CHAT_SANDBOX_URL": sandbox.url,
        "CHAT_SCHEDULER": "none",
        "CHAT_METRICS_PORT": "0",
        "CHAT_LEASE_MS": "1000",
        "CHAT_RECONCILE_GRACE_S": "0.5",
    }


@pytest.fixture
def store(environ: dict[str, str], sandbox) -> Iterator[SqliteStore]:
    store = SqliteStore(Path(environ["CHAT_SQLITE_PATH"]))
    store.add(InstanceRow(instance_name="i1", api_key=sandbox.apikey, api_url=sandbox.url))
    store.add(ConversationRow(id="c1", contact_phone="+5511988887777", instance_name="i1"))
    services.install(Services(settings=Settings.load(environ), store=store))
    yield store
    actors.broker.close()
    services.install(None)
    store.close()


@contextmanager
def worker(environ: dict[str, str]) -> Iterator[int]:
    """A launcher with one worker process; gives that one's process id."""
    command = [sys.executable, "-m", "actors.cli", "worker", "--processes", "1", "--threads", "2"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | environ, stderr=subprocess.DEVNULL) as launcher:
        try:
            children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
            yield int(until(children.read_text, within_ms=20_000).split()[0])
        finally:
            launcher.terminate()
            try:
                launcher.wait(20)
            except subprocess.TimeoutExpired:
                launcher.kill()


@pytest.mark.parametrize("when", ["before_accept", pytest.param("after_accept", marks=pytest.mark.slow)])
def test_a_worker_that_wakes_after_its_lease_doubles_and_reorders_nothing(environ, store, sandbox, when):
    sandbox.admin.add_fault(
        {"type": "latency", "ms": 1_000, "when": when}, match={"op": ["sendText"]}, trigger={"nth": [1]}
    )
    now_ms = SystemClock().now_ms()
    for number in range(3):
        store.add(
            MessageRow(id=f"m{number}", conversation_id="c1", content=f"t{number}", created_at_ms=now_ms + number)
        )
        actors.send_message.send(f"m{number}")
    with ExitStack() as running:
        frozen = running.enter_context(worker(environ))
        # Where the request is: the gateway has it and holds the answer back. Its version was asked for before.
        until(lambda: store.attempts("m0"), within_ms=20_000)
        until(lambda: any(one["op"] == "sendText" for one in sandbox.admin.requests()), within_ms=20_000)
        os.kill(frozen, signal.SIGSTOP)
        running.callback(os.kill, frozen, signal.SIGCONT)
        assert store.attempts("m0")[0].state is AttemptState.SENDING
        running.enter_context(worker(environ))
        until(lambda: _all_sent(store), within_ms=30_000)
        os.kill(frozen, signal.SIGCONT)
        until(lambda: actors.broker.do_qsize("send_message") == 0, within_ms=10_000)

    assert [delivery["text"] for delivery in sandbox.admin.deliveries()] == ["t0", "t1", "t2"]
    assert _all_sent(store)
    assert list(DeadLetters(actors.broker).newest()) == []


def _all_sent(store: SqliteStore) -> bool:
    return all(store.message(f"m{number}").status == MessageStatus.SENT for number in range(3))
