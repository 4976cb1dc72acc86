"""Redis answers and refuses: each refusal is typed, no thread dies of it, and work goes on when it is over."""

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest
import redis
from carriage import SOON_MS, Held, carriage, fail
from waiting import stays, until

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import QueueRefused, QueueUnavailable

pytestmark = pytest.mark.redis


@contextmanager
def read_only(server: EmbeddedRedis, client: redis.Redis) -> Iterator[None]:
    """A failover that left us with the replica of a server that is gone."""
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    client.execute_command("REPLICAOF", "127.0.0.1", port)
    yield
    client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_rights(server: EmbeddedRedis, client: redis.Redis) -> Iterator[None]:
    """Somebody took the rights of the worker's user."""
    client.execute_command("ACL", "SETUSER", "worker", "-@scripting", "-blpop")
    yield
    client.execute_command("ACL", "SETUSER", "worker", "+@all")


@contextmanager
def busy(server: EmbeddedRedis, client: redis.Redis) -> Iterator[None]:
    """A neighbour's script runs and runs."""
    client.config_set("lua-time-limit", 20)
    neighbour = server.client(0)

    def loop() -> None:
        with suppress(redis.RedisError):
            neighbour.eval("while true do end", 0)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    until(lambda: _is_busy(client), within_ms=SOON_MS)
    yield
    until(lambda: _is_killed(client), within_ms=SOON_MS)
    thread.join(SOON_MS / 1000)
    neighbour.close()


def _is_busy(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


def _is_killed(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        client.execute_command("SCRIPT", "KILL")
    return not _is_busy(client)


@contextmanager
def loading(server: EmbeddedRedis, client: redis.Redis) -> Iterator[None]:
    """It was killed and reads its file again, so slowly that it does not end by itself."""
    client.mset({f"ballast {number}": "x" * 2_000 for number in range(4_000)})
    # Its file becomes a snapshot, while it reads which it answers.
    client.bgrewriteaof()
    until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, within_ms=SOON_MS)
    until(lambda: client.info("persistence")["aof_rewrite_scheduled"] == 0, within_ms=SOON_MS)
    server.kill()
    loaded = threading.Event()

    def start() -> None:
        server.start()
        loaded.set()
        # It ends with the thread that started it.
        until(lambda: server.pid is None, within_ms=4 * SOON_MS)

    threading.Thread(target=start, daemon=True).start()
    until(lambda: _is_loading(server), within_ms=SOON_MS)
    yield
    with closing(server.client(0)) as hurrier:
        hurrier.config_set("key-load-delay", 0)
    assert loaded.wait(SOON_MS / 1000)


def _is_loading(server: EmbeddedRedis) -> bool:
    with closing(server.client(0)) as client:
        try:
            client.ping()
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False
    raise AssertionError("it was loaded before anybody saw it loading")


#: 5 ms a key, and an answer after each.
SLOW_LOADER = {"key-load-delay": "5000", "loading-process-events-interval-bytes": "1024"}
#: What goes wrong, the error that a sender gets, and what its text says.
REFUSALS = {
    "READONLY": (read_only, QueueRefused, "read-only replica"),
    "NOPERM": (without_rights, QueueRefused, "NOPERM"),
    "BUSY": (busy, QueueRefused, "BUSY"),
    "LOADING": (loading, QueueUnavailable, "BusyLoadingError"),
}


@pytest.fixture
def server() -> Iterator[tuple[EmbeddedRedis, redis.Redis, str]]:
    """A Redis of this test's own, its operator, and the URL of a user who may do what a worker needs."""
    with EmbeddedRedis(persist=True, options=SLOW_LOADER) as started, closing(started.client(0)) as operator:
        password = secrets.token_hex(8)
        operator.execute_command("ACL", "SETUSER", "worker", "on", f">{password}", "~*", "&*", "+@all")
        yield started, operator, f"redis://worker:{password}@127.0.0.1:{started.port}/0"


@pytest.mark.parametrize("word", REFUSALS)
def test_a_refusal_is_typed_and_costs_neither_message_nor_thread(server, word):
    """A message runs when it comes and fails when it is there, others wait; all go on when it is over, each once."""
    started, operator, url = server
    refusal, error, text = REFUSALS[word]
    if word == "LOADING":
        # Users are not kept over a restart.
        url = started.url(0)
    slow = [Held(fail), Held()]
    with carriage(url, lease_ms=15_000) as carried, carried.working(threads=3) as worker:
        for number, plan in enumerate(slow):
            carried.plans[f"slow {number}"] = [plan]
            carried.send(f"slow {number}", f"next {number}", lane=f"lane {number}")
            plan.wait_for_begin()
        carried.send("delayed", delay=10)
        until(lambda: "delayed" in carried.ended, within_ms=SOON_MS)
        with refusal(started, operator):
            with pytest.raises(error, match=text):
                carried.send("refused")
            for plan in slow:
                plan.go_on.set()
            # Each part of the process meets it: those who write outcomes, those who wait and those who care.
            stays(lambda: len(carried.began) == 3, for_ms=700)
        carried.drained(done=5)

        assert sorted(carried.began) == ["delayed", "next 0", "next 1", "slow 0", "slow 0", "slow 1"]
        assert {name: carried.counter(name) for name in ("retried", "reclaimed", "stale_finishes")} == {
            "retried": 1,
            "reclaimed": 0,
            "stale_finishes": 0,
        }
        carried.assert_all_threads_work(worker)
