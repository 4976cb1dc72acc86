"""The figures that docs quote, measured: `make prove` runs them and writes prove/results.json.

Each states its bar as an assertion and its measure as a property; none runs in `make test`.
"""

import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from process_world import ProcessWorld, children, running
from waiting import until

import actors
from actors.domain import MessageStatus
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.errors import QueueUnavailable

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.process]

ROOT = Path(__file__).parents[2]
Record = Callable[[str, object], None]


def test_importing_the_actors_takes_less_than_0_4_s(record_property: Record):
    """Median of 11 fresh interpreters; the bar is of an idle machine."""
    code = "import time; begin = time.perf_counter(); import actors; print(time.perf_counter() - begin)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for _ in range(11)
    ]
    record_property("import_s_median", round(statistics.median(runs), 3))

    assert statistics.median(runs) < 0.4


def test_a_send_to_a_silent_redis_fails_within_5_s(record_property: Record):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        broker = CarrierBroker(connect=lambda: kwargs_for_db(url, 2), options=CarrierOptions, middleware=[])
        seconds = []
        for number in range(5):
            begin = time.monotonic()
            with pytest.raises(QueueUnavailable):
                broker.do_enqueue("work", f"m{number}", b"{}")
            seconds.append(time.monotonic() - begin)
        broker.close()
    record_property("send_refused_s_max", round(max(seconds), 2))

    assert max(seconds) <= 5


def test_the_contract_suite_of_the_gateways_takes_less_than_60_s_alone(record_property: Record, tmp_path: Path):
    """What ``make contract`` runs; the bar is of an idle machine."""
    line = re.search(r"pytest -q -m \"contract and not slow\" (.*)", (ROOT / "Makefile").read_text())
    assert line is not None
    args = ["-q", "-m", "contract and not slow", "-p", "no:cacheprovider", *line[1].split()]
    begin = time.monotonic()
    run = subprocess.run([sys.executable, "-m", "pytest", *args], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    (passed,) = re.findall(r"(\d+) passed", run.stdout.splitlines()[-1])
    record_property("contract_cases_passed", int(passed))
    record_property("contract_suite_s", round(seconds, 1))

    assert run.returncode == 0, run.stdout[-2_000:]
    assert int(passed) >= 150
    assert seconds < 60


def test_a_killed_workers_message_runs_elsewhere_within_20_s(process_world: ProcessWorld, record_property: Record):
    """Default lease of 15 s; each trial kills the process that holds the request open, right after it began."""
    process_world.environ["CHAT_LEASE_MS"] = "15000"
    with running(process_world, "actors.cli", "worker", "--processes", "2", "--threads", "2") as launcher:
        seconds = [_kill_and_wait(process_world, launcher.pid, trial) for trial in range(6)]
    record_property("takeover_s_all", ", ".join(f"{one:.1f}" for one in sorted(seconds)))
    record_property("takeover_s_max", round(max(seconds), 1))

    assert max(seconds) <= 20
    assert process_world.faults_of_delivery()["duplicates_by_client_ref"] == 0


def _kill_and_wait(world: ProcessWorld, launcher: int, trial: int) -> float:
    admin = world.sandbox.admin
    # The gateway takes the message and holds the answer: the worker dies in the middle of its request.
    rule = admin.add_fault({"type": "hang", "when": "after_accept", "max_s": 30}, match={"op": ["sendText"]})
    until(lambda: len(children(launcher)) == 2, within_ms=30_000)
    accepted = admin.counters()["accepted"]
    [id_] = world.say(1, first=trial)
    until(lambda: admin.counters()["accepted"] > accepted, within_ms=30_000)
    admin.clear_faults(rule)
    holder = _holder()
    begin = time.monotonic()
    os.kill(holder, signal.SIGKILL)
    until(
        lambda: actors.broker.transitions.stats(["send_message"])[0].counters.get("reclaimed", 0) > trial,
        within_ms=40_000,
    )
    seconds = time.monotonic() - begin
    until(lambda: world.store.message(id_).status == MessageStatus.SENT, within_ms=40_000)
    return seconds


def _holder() -> int:
    """Process that holds the one message in flight: its token begins with the worker's id."""
    machinery = actors.broker.machinery
    [lease] = until(lambda: actors.broker.transitions.leases("send_message"), within_ms=5_000)
    return until(
        lambda: [one.worker.pid for one in machinery.roster.alive() if one.id == lease.owner], within_ms=10_000
    )[0]
