"""Metrics and health of real worker processes: right through respawns, and each fault shows where it should."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Message
from process_world import LANES, ProcessWorld, children, running
from prometheus_client.parser import text_string_to_metric_families
from waiting import until

import actors
from actors import services, watching
from actors.doctor import live
from actors.doctor.checks import exit_code
from actors.settings import Settings
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import ExitCode

pytestmark = [pytest.mark.redis, pytest.mark.process]

SOON_MS = 45_000
COMMAND = ("actors.cli", "worker", "--processes", "2", "--threads", "2")
ALONE = ("actors.cli", "worker", "--processes", "1", "--threads", "4")
#: A worker module whose actors break their own process, each in one way.
EVIL = """
import threading

import dramatiq

from actors import broker
from middleware.reporter import health_of

health_of(broker).grace_ms = 300


# Long enough to get into C before the limit comes, on any machine.
@dramatiq.actor(broker=broker, queue_name="evil", time_limit=3_000, max_retries=0)
def hang():
    # A limit is an exception in the interpreter; a thread that waits in C never hears of it.
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@dramatiq.actor(broker=broker, queue_name="evil")
def stop_the_keeper():
    broker.machinery.keeper.stop()
"""

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def world(process_world: ProcessWorld, tmp_path: Path) -> ProcessWorld:
    (tmp_path / "evil_work.py").write_text(EVIL)
    process_world.environ["PYTHONPATH"] = str(tmp_path)
    return process_world


def ask(settings: Settings, path: str) -> tuple[int, bytes]:
    """Page of the one launcher of this test; its local socket needs no port. (0, b"") while there is none."""
    prefix = f"@{watching.local_name(settings)}:"
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()]
    name = next((name for name in names if name.startswith(prefix)), None)
    if name is None:
        return 0, b""
    with closing(watching._LocalConnection("localhost", timeout=5)) as connection:
        connection.name = name
        return _got(connection, path)


def _got(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""


def samples(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


def sent(found: Mapping[tuple[str, ...], float]) -> float:
    return found.get(("chat_actors_accepted_latency_seconds_count", "send_message"), 0)


def is_ready(settings: Settings) -> bool:
    return ask(settings, "/readyz")[0] == 200


def test_counters_go_on_through_a_killed_worker_and_nothing_stays_on_the_disk(world: ProcessWorld, tmp_path: Path):
    files = tmp_path / "files-of-the-host"
    files.mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        world.environ |= {"PROMETHEUS_MULTIPROC_DIR": str(files), "CHAT_METRICS_PORT": str(port)}
        settings = services.settings()
        with running(world, *COMMAND) as launcher:
            until(lambda: is_ready(settings), within_ms=SOON_MS)
            first = world.say(24)
            until(lambda: world.all_sent(first), within_ms=SOON_MS)
            text = until(lambda: _seen(settings, 24), within_ms=SOON_MS)

            os.kill(children(launcher.pid)[0], signal.SIGKILL)
            until(lambda: ask(settings, "/readyz")[0] == 503, within_ms=SOON_MS)
            assert ask(settings, "/healthz")[0] == 200
            until(lambda: is_ready(settings), within_ms=SOON_MS)
            assert sent(samples(ask(settings, "/metrics")[1])) == 24
            second = world.say(8, first=24)
            until(lambda: world.all_sent(second), within_ms=SOON_MS)
            until(lambda: _seen(settings, 32), within_ms=SOON_MS)

            found = samples(ask(settings, "/metrics")[1])
            _answers_on_the_next_port(port)

    assert found[("chat_actors_worker_starts_total", "1")] + found[("chat_actors_worker_starts_total", "2")] == 3
    assert found[("chat_actors_instance_attempts_total", "done", "i1")] == 32
    # What Redis knows was looked at up to five seconds ago.
    assert found[("chat_actors_queue_events_total", "done", "send_message")] >= 24
    assert found[("chat_actors_queue_workers", "send_message")] >= 2
    assert found[("chat_actors_redis_up",)] == 1
    assert list(files.iterdir()) == []
    _names_nobody(text.decode(), first)


def _seen(settings: Settings, count: int) -> bytes:
    # A worker reports once a second.
    _, text = ask(settings, "/metrics")
    return text if sent(samples(text)) == count else b""


def _answers_on_the_next_port(taken: int) -> None:
    for port in range(taken + 1, taken + 20):
        with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            if b"chat_actors_worker_up" in _got(connection, "/metrics")[1]:
                return
    raise AssertionError("no port has it")


def _names_nobody(text: str, ids: list[str]) -> None:
    """No person, conversation or message stands in any label."""
    values = {
        value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        for value in one.labels.values()
    }
    assert not values & {*ids, *(f"c{lane}" for lane in range(LANES))}
    assert "5511988887" not in text
    assert "text 1" not in text


@pytest.fixture
def own_redis(world: ProcessWorld) -> Iterator[EmbeddedRedis]:
    """A Redis that a test may stop; the world's workers use it."""
    with EmbeddedRedis(persist=True) as server:
        world.environ["REDIS_URL"] = server.url(0)
        yield server


def test_each_fault_shows_at_its_endpoint(world: ProcessWorld, own_redis: EmbeddedRedis):
    settings = Settings.load({name: value for name, value in world.environ.items() if name[:5] in ("CHAT_", "REDIS")})
    actors.broker.close()
    services.install(services.Services(settings=settings, store=world.store))
    _measure_no_coverage_in(world)
    with running(world, *ALONE, "evil_work"):
        until(lambda: is_ready(settings), within_ms=SOON_MS)
        assert exit_code(live.checks(settings), strict=True) == ExitCode.OK

        own_redis.stop()
        _until_failing(settings, "/readyz", {"lease_renewal"})
        assert ask(settings, "/healthz")[0] == 200
        assert exit_code(live.checks(settings), strict=False) == ExitCode.OK
        assert exit_code(live.checks(settings), strict=True) == ExitCode.FAILED
        status, text = ask(settings, "/metrics")
        assert (status, samples(text)[("chat_actors_redis_up",)]) == (200, 0)
        own_redis.start()
        until(lambda: is_ready(settings), within_ms=SOON_MS)

        _send("hang")
        _until_failing(settings, "/healthz", {"attempts"})
        assert exit_code(live.checks(settings), strict=False) == ExitCode.FAILED
        _send("stop_the_keeper")
        _until_failing(settings, "/healthz", {"attempts", "threads"})


def _measure_no_coverage_in(world: ProcessWorld) -> None:
    # A traced CPython 3.11 stands still, all threads of it, while one that is in C owes an exception: what hang() does here.
    for name in [name for name in world.environ if name.startswith("COVERAGE_")]:
        del world.environ[name]


def _send(actor: str) -> None:
    actors.broker.declare_queue("evil")
    try:
        actors.broker.enqueue(Message(queue_name="evil", actor_name=actor, args=(), kwargs={}, options={}))
    finally:
        # The broker is that of all tests.
        actors.broker.queues.discard("evil")


def _until_failing(settings: Settings, path: str, wanted: set[str]) -> None:
    try:
        until(lambda: _failing(settings, path) == wanted, within_ms=SOON_MS)
    except AssertionError as error:
        raise AssertionError(f"{path} says {ask(settings, path)} instead of {wanted}") from error


def _failing(settings: Settings, path: str) -> set[str]:
    status, body = ask(settings, path)
    if status == 0:
        return set()
    workers: list[dict[str, Any]] = json.loads(body)["workers"]
    return {name for worker in workers for name, one in worker["checks"].items() if one["status"] != "ok"}


def test_nobody_who_runs_is_said_to_run(process_world: ProcessWorld):
    [check] = live.checks(services.settings())

    assert (check.status, check.exit_code) == ("fail", ExitCode.UNAVAILABLE)


@pytest.mark.slow
def test_a_process_that_stands_still_is_not_alive(world: ProcessWorld, record_property: Callable[[str, object], None]):
    settings = services.settings()
    with running(world, *COMMAND) as launcher:
        until(lambda: is_ready(settings), within_ms=SOON_MS)
        [stopped, _] = children(launcher.pid)
        begin = time.monotonic()
        os.kill(stopped, signal.SIGSTOP)
        try:
            _until_failing(settings, "/healthz", {"reports"})
            record_property("stopped_process_seen_after_s", round(time.monotonic() - begin, 1))
            assert exit_code(live.checks(settings), strict=False) == ExitCode.FAILED
        finally:
            os.kill(stopped, signal.SIGCONT)
        until(lambda: is_ready(settings), within_ms=SOON_MS)


@pytest.mark.slow
def test_without_our_launcher_each_process_answers_for_itself(world: ProcessWorld):
    settings = services.settings()
    with running(world, "dramatiq", "actors", "--processes", "2", "--threads", "2"):
        until(lambda: len(watching.examine_live(settings)) == 2, within_ms=SOON_MS)
        until(lambda: exit_code(live.checks(settings), strict=True) == ExitCode.OK, within_ms=SOON_MS)
        ids = world.say(8)
        until(lambda: world.all_sent(ids), within_ms=SOON_MS)
        assert sent(samples(ask(settings, "/metrics")[1])) <= 8


@pytest.mark.slow
def test_a_scheduler_of_its_own_answers_too(world: ProcessWorld, tmp_path: Path):
    (tmp_path / "run_periodiq.py").write_text("import periodiq; periodiq.entrypoint()")
    world.environ["CHAT_SCHEDULER"] = "periodiq"
    settings = services.settings()
    with running(world, "run_periodiq", "actors"):
        until(lambda: ask(settings, "/readyz")[0] == 200, within_ms=SOON_MS)
        text = until(lambda: b"chat_actors_ticks_total{" in ask(settings, "/metrics")[1], within_ms=SOON_MS)
        assert text
