"""What the log costs a worker: `make prove` measures it."""

import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from carriage import carriage
from flow_world import working
from sandbox_fixture import far_sandbox
from waiting import until

import actors
from actors import services
from actors.cli import logs
from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.server import SANDBOX_KEY
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock
from middleware.finished import FinishedLog

pytestmark = [pytest.mark.slow, pytest.mark.redis]

Record = Callable[[str, object], None]
PAIRS = 16
SENDS, PLAIN, CONVERSATIONS = 300, 3_000, 100
OURS = ("actors", "middleware", "dramatiq")


class Spent:
    """CPU that threads spent on lines: making them, and writing them. Noise of the machine is the same for all of a run."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def timed(self, function: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object, **kwargs: object) -> None:
            begin = time.thread_time()
            function(*args, **kwargs)
            self.seconds.append(time.thread_time() - begin)

        return call


@contextmanager
def logging_into(path: Path, *, says: bool) -> Iterator[None]:
    """A worker's own log as JSON; ``says`` False: warnings alone, so that no message leaves a line."""
    root = logging.getLogger()
    before, switches = list(root.handlers), ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
    saved = {name: getattr(logging, name) for name in switches}
    with path.open("a") as stream:
        handler = logs.Batches(stream)
        handler.setFormatter(logs.JsonLines())
        root.handlers[:] = [handler]
        logging._srcfile = None
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        for name in OURS:
            logging.getLogger(name).setLevel(logging.INFO if says else logging.WARNING)
        try:
            yield
        finally:
            handler.close()
            root.handlers[:] = before
            for name in OURS:
                logging.getLogger(name).setLevel(logging.NOTSET)
            for name, value in saved.items():
                setattr(logging, name, value)


def in_pairs(run: Callable[[int], float], path: Path) -> tuple[float, float, float]:
    """CPU of a message in microseconds with a log and without, as medians, and the median of the ratios within a pair.

    Who goes first takes turns; a first run warms up.
    """
    run(-1)
    cpu: dict[bool, list[float]] = {True: [], False: []}
    for pair in range(PAIRS):
        for turn in range(2):
            says = (pair + turn) % 2 == 0
            with logging_into(path, says=says):
                cpu[says].append(run(2 * pair + turn))
    ratios = [one / other for one, other in zip(cpu[True], cpu[False], strict=True)]
    return statistics.median(cpu[True]), statistics.median(cpu[False]), statistics.median(ratios)


def test_a_line_for_each_message_costs_a_worker_at_most_5_percent(
    redis_server: EmbeddedRedis,
    queue_client: redis.Redis,
    tmp_path: Path,
    record_property: Record,
    monkeypatch: pytest.MonkeyPatch,
):
    """Real sends to a gateway in a process of its own, 16 threads, the memory store: CPU of the whole worker process.

    The bar is for what the threads themselves say they spent on lines; pairs of runs differ by more than that on a busy machine.
    """
    spent, shares = Spent(), []
    monkeypatch.setattr(FinishedLog, "after_process_message", spent.timed(FinishedLog.after_process_message))
    monkeypatch.setattr(logs.Batches, "flush", spent.timed(logs.Batches.flush))
    with far_sandbox() as (url, admin):

        def run(number: int) -> float:
            spent.seconds.clear()
            cpu_us = sends(url, admin, redis_server, number)
            if logging.getLogger("middleware").isEnabledFor(logging.INFO):
                lines_us = sum(spent.seconds) / SENDS * 1e6
                shares.append(lines_us / (cpu_us - lines_us))
            return cpu_us

        with_log, without, ratio = in_pairs(run, tmp_path / "log")
    lines = (tmp_path / "log").read_text().count('"message.finished"')
    record_property("cpu_us_per_send_with_log", round(with_log))
    record_property("cpu_us_per_send_without", round(without))
    record_property("log_cost_percent_of_pairs", round(100 * (ratio - 1), 1))
    record_property("log_cost_percent_of_threads", round(100 * statistics.median(shares), 1))

    assert lines == SENDS * PAIRS
    assert statistics.median(shares) <= 0.05


def test_a_thousand_lines_a_second_cost_at_most_5_percent_of_a_core(
    redis_server: EmbeddedRedis, queue_client: redis.Redis, tmp_path: Path, record_property: Record
):
    """The carrier alone, 8 threads, an actor that does nothing: the dearest case, since nothing else takes time."""

    def run(number: int) -> float:
        with carriage(redis_server.url(0), namespace=f"test:log:{number}") as carrier:
            for message in range(PLAIN):
                carrier.send(f"m{message}", group="line-1", unique_key=f"u{message}")
            begin = time.process_time()
            with carrier.working(8):
                until(lambda: carrier.counter("done") == PLAIN, within_ms=120_000, poll_ms=20)
            return (time.process_time() - begin) / PLAIN * 1e6

    with_log, without, _ = in_pairs(run, tmp_path / "log")
    record_property("cpu_us_per_line", round(with_log - without, 1))
    record_property("cpu_us_per_plain_message", round(without))

    assert (with_log - without) * 1_000 / 1e6 <= 0.05


def sends(url: str, admin: SandboxAdmin, redis_server: EmbeddedRedis, number: int) -> float:
    """CPU of one send, in microseconds."""
    settings = Settings(
        redis_url=Hidden(redis_server.url(0)),
        gateway="sandbox",
        sandbox_url=url,
        store="memory",
        scheduler="none",
        metrics_port=0,
        pace={"sandbox": {"send": {"concurrency": None}}},
    )
    store, now_ms = MemoryStore(), SystemClock().now_ms()
    store.add(InstanceRow(instance_name="i1", api_key=SANDBOX_KEY, api_url=url))
    for lane in range(CONVERSATIONS):
        store.add(ConversationRow(id=f"c{lane}", contact_phone=f"+5511{900_000_000 + lane}", instance_name="i1"))
    ids = [f"r{number}-m{message}" for message in range(SENDS)]
    for place, id_ in enumerate(ids):
        lane = f"c{place % CONVERSATIONS}"
        store.add(MessageRow(id=id_, conversation_id=lane, content=id_, created_at_ms=now_ms + place))
    services.install(Services(settings=settings, store=store))
    before = admin.counters()["accepted"]
    try:
        actors.broker.send_many([actors.send_message.message(id_) for id_ in ids])
        begin = time.process_time()
        with working(threads=16):
            until(lambda: admin.counters()["accepted"] >= before + SENDS, within_ms=120_000, poll_ms=50)
        return (time.process_time() - begin) / SENDS * 1e6
    finally:
        actors.broker.close()
        services.install(None)
