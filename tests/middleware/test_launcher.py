"""The launcher keeps workers running, drains them in time and leaves nobody behind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from crew import Crew, is_running, make_crew
from waiting import stays, until

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import ExitCode
from middleware.launcher import KILL_GRACE_MS, RESPAWN_CAP_MS, respawn_delay_ms
from middleware.worker_process import ask_for_another

pytestmark = [pytest.mark.redis, pytest.mark.process]


@pytest.fixture
def crew(tmp_path: Path, redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Crew]:
    with make_crew(tmp_path, redis_server) as made:
        yield made


def test_a_worker_that_keeps_failing_is_started_less_and_less_often():
    delays_ms = [respawn_delay_ms(failures) for failures in range(10)]

    assert delays_ms == [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]
    assert respawn_delay_ms(10_000) == RESPAWN_CAP_MS


def test_every_worker_works_and_sigterm_drains_what_runs(crew):
    launcher = crew.launch(processes=2)
    crew.pids(2)
    crew.send("last", "finished", 1.0)
    until(lambda: crew.notes("begun"), within_ms=5_000)

    launcher.send_signal(signal.SIGTERM)

    assert launcher.wait(10) == ExitCode.OK
    assert len(crew.notes("finished")) == 1
    assert crew.alive() == []


def test_a_draining_worker_takes_nothing_more(crew):
    launcher = crew.launch()
    crew.pids()
    crew.send("last", "long", 2.0)
    crew.send("last", "short", 0.3)
    until(lambda: len(crew.notes("begun")) == 2, within_ms=5_000)
    launcher.send_signal(signal.SIGTERM)
    until(lambda: "worker.draining" in (crew.here / "log").read_text(), within_ms=5_000)

    crew.send("work", "for-others")

    until(lambda: crew.notes("short"), within_ms=5_000)
    stays(lambda: crew.broker.transitions.stats(["work"])[0].ready == 1, for_ms=500)
    assert crew.notes("long") == []


def test_a_killed_worker_is_replaced_and_its_message_runs_again(crew):
    crew.launch()
    [killed] = crew.pids()
    crew.send("last", "again", 0.5)
    until(lambda: crew.notes("begun"), within_ms=5_000)

    os.kill(killed, signal.SIGKILL)

    until(lambda: crew.notes("again"), within_ms=15_000)
    assert crew.notes("begun") == ["again", "again"]
    assert crew.notes("again") != [str(killed)]


def test_a_worker_that_breaks_at_every_start_is_started_again_and_again(crew):
    (crew.here / "breaks").touch()
    launcher = crew.launch()
    until(lambda: len(crew.notes("boots")) >= 3, within_ms=15_000)

    (crew.here / "breaks").unlink()

    assert crew.pids()
    assert launcher.poll() is None


@pytest.mark.parametrize("code", [ExitCode.SETTINGS, ExitCode.WRONG_DATABASE, ExitCode.UNSAFE])
def test_a_refusal_that_no_restart_would_change_ends_the_launcher_with_its_code(crew, code):
    (crew.here / "refuses").write_text(str(int(code)))

    launcher = crew.launch()

    assert launcher.wait(15) == code
    assert len(crew.notes("boots")) == 1


def test_a_refusal_does_not_end_a_launcher_whose_other_worker_works(crew):
    launcher = crew.launch(processes=2)
    healthy, killed = crew.pids(2)
    until(lambda: (crew.here / "log").read_text().count("worker.ready") == 2, within_ms=5_000)
    (crew.here / "refuses").write_text(str(int(ExitCode.SETTINGS)))

    os.kill(killed, signal.SIGKILL)

    until(lambda: len(crew.notes("boots")) >= 4, within_ms=15_000)
    assert launcher.poll() is None
    assert is_running(healthy)


def test_a_worker_that_cannot_reach_its_redis_is_tried_until_patience_ends(crew):
    (crew.here / "refuses").write_text(str(int(ExitCode.UNAVAILABLE)))

    # Long enough for a second start on a machine that is slow to start the first.
    launcher = crew.launch(patience_ms=4_000)

    assert launcher.wait(60) == ExitCode.UNAVAILABLE
    assert len(crew.notes("boots")) >= 2


def test_an_outage_is_waited_out_once_a_worker_has_run(crew):
    launcher = crew.launch(patience_ms=0)
    [first] = crew.pids()
    until(lambda: "worker.ready" in (crew.here / "log").read_text(), within_ms=5_000)
    (crew.here / "refuses").write_text(str(int(ExitCode.UNAVAILABLE)))
    os.kill(first, signal.SIGKILL)
    # Two more interpreters start, beside everything else that runs here.
    until(lambda: len(crew.notes("boots")) >= 3, within_ms=45_000)

    (crew.here / "refuses").unlink()
    crew.send("work", "worked")

    until(lambda: crew.notes("worked"), within_ms=15_000)
    assert launcher.poll() is None


@pytest.mark.parametrize(
    "plan",
    [
        {"broker": "no_such_module:broker"},
        {"broker": "crew_work:no_such_name"},
        {"modules": ("no_such_module",)},
        {"queues": ("no_such_queue",)},
    ],
)
def test_what_cannot_be_loaded_is_a_wrong_command_line(crew, plan):
    assert crew.launch(**plan).wait(15) == ExitCode.USAGE


def test_a_worker_serves_the_queues_it_was_given(crew):
    crew.launch(queues=("other",))
    crew.pids()
    crew.send("work", "not-mine")
    crew.send("other", "mine", queue="other")

    until(lambda: crew.notes("mine"), within_ms=5_000)
    stays(lambda: crew.notes("not-mine") == [], for_ms=300)
    assert [entry.worker.queues for entry in crew.alive()] == [("other",)]


def test_what_does_not_drain_in_time_goes_back_to_the_queue(crew):
    launcher = crew.launch(drain_ms=300)
    crew.pids()
    crew.send("last", "too-long", 60.0)
    until(lambda: crew.notes("begun"), within_ms=5_000)

    launcher.send_signal(signal.SIGTERM)

    assert launcher.wait(300 / 1000 + KILL_GRACE_MS / 1000 + 5) == ExitCode.OK
    assert crew.broker.transitions.stats(["work"])[0].ready == 1


def test_a_worker_that_hangs_at_its_end_is_killed(crew):
    (crew.here / "hangs-at-exit").touch()
    launcher = crew.launch(drain_ms=100)
    [worker] = crew.pids()

    launcher.send_signal(signal.SIGTERM)

    assert launcher.wait(10) == ExitCode.OK
    assert not is_running(worker)


def test_a_second_ctrl_c_kills_at_once(crew):
    launcher = crew.launch(drain_ms=60_000)
    [worker] = crew.pids()
    crew.send("last", "never", 60)
    until(lambda: crew.notes("begun"), within_ms=5_000)
    launcher.send_signal(signal.SIGINT)
    stays(lambda: launcher.poll() is None and is_running(worker), for_ms=300)

    launcher.send_signal(signal.SIGINT)

    assert launcher.wait(5) == ExitCode.INTERRUPTED
    assert not is_running(worker)


def test_sighup_replaces_the_workers_one_after_another(crew):
    launcher = crew.launch(processes=2)
    before = crew.pids(2)
    gaps = []

    launcher.send_signal(signal.SIGHUP)

    def is_replaced() -> bool:
        now = {entry.worker.pid for entry in crew.alive()}
        gaps.append(not now)
        return len(now) == 2 and not now & before

    until(is_replaced, within_ms=20_000)
    assert not any(gaps)
    assert not any(is_running(pid) for pid in before)


def test_workers_end_with_a_launcher_that_was_killed(crew):
    launcher = crew.launch(processes=2)
    workers = crew.pids(2)

    launcher.kill()
    launcher.wait()

    until(lambda: not any(is_running(pid) for pid in workers), within_ms=10_000)
    assert crew.alive() == []


def test_a_host_that_takes_sigterm_for_itself_is_drained_all_the_same(crew):
    (crew.here / "takes-sigterm").touch()
    launcher = crew.launch()
    crew.pids()
    crew.send("last", "finished", 0.5)
    until(lambda: crew.notes("begun"), within_ms=5_000)

    launcher.send_signal(signal.SIGTERM)

    assert launcher.wait(4) == ExitCode.OK
    assert len(crew.notes("finished")) == 1


# -- a worker that wants to be replaced ------------------------------------------------------------------------------


def test_a_worker_that_asks_for_another_drains_and_is_replaced_at_once(crew):
    launcher = crew.launch()
    [old] = crew.pids()
    crew.send("last", "running", 1.0)
    until(lambda: crew.notes("begun"), within_ms=5_000)

    crew.send("grow", "asked")

    until(lambda: crew.notes("asked") == [f"{old}:True"], within_ms=5_000)
    until(lambda: crew.notes("running") and len(crew.notes("boots")) == 2, within_ms=15_000)
    assert crew.pids().isdisjoint({old})
    assert crew.notes("begun") == ["running"]
    assert launcher.poll() is None
    log = (crew.here / "log").read_text()
    assert "worker.respawns" not in log


def test_workers_that_ask_together_are_replaced_one_after_another(crew):
    crew.launch(processes=2)
    old = set(crew.pids(2))
    for _ in range(200):
        if {int(note.split(":")[0]) for note in crew.notes("asked")} == old:
            break
        asked = len(crew.notes("asked"))
        crew.send("grow", "asked")
        until(lambda asked=asked: len(crew.notes("asked")) > asked, within_ms=5_000)

    until(lambda: {entry.worker.pid for entry in crew.alive()}.isdisjoint(old), within_ms=30_000)
    crew.pids(2)

    def said() -> list[str]:
        log = (crew.here / "log").read_text().splitlines()
        return [line.rpartition(":")[2] for line in log if line.endswith(("worker.draining", "worker.ready"))]

    # A worker shows among the living before it has said that it is ready.
    steps = until(lambda: found if len(found := said()) >= 6 else [], within_ms=30_000)
    # Two that start, then for each old one: it drains, and only when its successor runs the next one does.
    assert steps[:2] == ["worker.ready"] * 2
    assert steps[2:6] == ["worker.draining", "worker.ready", "worker.draining", "worker.ready"]


def test_a_process_without_a_launcher_is_told_that_nobody_would_replace_it():
    assert ask_for_another() is False
