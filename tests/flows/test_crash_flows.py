"""Worker processes die, Redis forgets everything: what the phones received stays once and in order."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from process_world import EACH_ONCE_IN_ORDER, ProcessWorld, children, running
from waiting import until

import actors

pytestmark = [pytest.mark.redis, pytest.mark.process]


def kill_one_child_in_the_middle_of_a_request(world: ProcessWorld, launcher: int) -> int:
    """The gateway is holding at least one request of every process when one of them dies."""
    until(lambda: len(children(launcher)) == 2, within_ms=20_000)
    before = world.sandbox.admin.counters()["accepted"]
    until(lambda: world.sandbox.admin.counters()["accepted"] > before, within_ms=20_000)
    victim = children(launcher)[0]
    os.kill(victim, signal.SIGKILL)
    # Until the launcher has noticed, its child is still there, dead.
    until(lambda: victim not in children(launcher), within_ms=20_000)
    return victim


def test_workers_killed_in_the_middle_cost_doubles_and_reorder_nothing(process_world):
    # Slow after the gateway took the message: whoever dies then has sent and does not know it.
    process_world.sandbox.admin.add_fault(
        {"type": "latency", "ms": 60, "when": "after_accept"}, match={"op": ["sendText"]}
    )
    ids = process_world.say(48)
    with running(process_world, "actors.cli", "worker", "--processes", "2", "--threads", "4") as launcher:
        victims = [kill_one_child_in_the_middle_of_a_request(process_world, launcher.pid) for _ in range(3)]
        until(lambda: process_world.all_sent(ids), within_ms=60_000, poll_ms=100)

    assert len(set(victims)) == 3
    assert process_world.faults_of_delivery() == EACH_ONCE_IN_ORDER | {"accepted": len(ids)}


def test_what_redis_forgot_is_put_back_from_the_store(process_world, queue_client):
    """FLUSHALL with messages waiting and in flight: the sweep sends again what is still pending."""
    process_world.sandbox.admin.add_fault(
        {"type": "latency", "ms": 60, "when": "after_accept"}, match={"op": ["sendText"]}
    )
    ids = process_world.say(24)
    with running(process_world, "actors.cli", "worker", "--processes", "1", "--threads", "4"):
        until(lambda: process_world.sandbox.admin.counters()["accepted"] >= 4, within_ms=30_000)
        queue_client.flushall()
        until(_swept(process_world, ids), within_ms=60_000, poll_ms=300)

    assert process_world.faults_of_delivery() == EACH_ONCE_IN_ORDER | {"accepted": len(ids)}


def test_a_redis_that_forgets_again_and_again_under_load_doubles_loses_and_reorders_nothing(
    process_world, queue_client
):
    """Requests are out at each FLUSHALL: their jobs are gone, their attempts are not."""
    process_world.sandbox.admin.add_fault(
        {"type": "latency", "ms": 80, "when": "after_accept"}, match={"op": ["sendText"]}
    )
    accepted = lambda: process_world.sandbox.admin.counters()["accepted"]  # noqa: E731 - asked for again and again
    ids: list[str] = []
    with running(process_world, "actors.cli", "worker", "--processes", "2", "--threads", "4"):
        for number in range(3):
            before = accepted()
            ids += process_world.say(16, first=16 * number)
            until(lambda before=before: accepted() >= before + 3, within_ms=30_000)
            queue_client.flushall()
        until(_swept(process_world, ids), within_ms=60_000, poll_ms=300)

    assert process_world.faults_of_delivery() == EACH_ONCE_IN_ORDER | {"accepted": len(ids)}


def _swept(process_world: ProcessWorld, ids: list[str]) -> Callable[[], bool]:
    def sweep_and_look() -> bool:
        # What the schedule does once a minute.
        actors.sweep_pending.send()
        return process_world.all_sent(ids)

    return sweep_and_look


def test_dramatiqs_own_command_runs_the_actors_and_leaves_no_orphan(process_world):
    ids = process_world.say(8)
    with running(process_world, "dramatiq", "actors", "--processes", "2", "--threads", "2") as master:
        until(lambda: process_world.all_sent(ids), within_ms=30_000, poll_ms=100)
        orphans = children(master.pid)
        master.kill()
        master.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), within_ms=30_000, poll_ms=100)

    assert process_world.faults_of_delivery()["accepted"] == len(ids)


def test_a_worker_that_is_told_to_stop_finishes_what_it_holds(process_world):
    process_world.sandbox.admin.add_fault(
        {"type": "latency", "ms": 300, "when": "before_accept"}, match={"op": ["sendText"]}
    )
    ids = process_world.say(8)
    with running(process_world, "actors.cli", "worker", "--processes", "1", "--threads", "4") as launcher:
        until(lambda: process_world.sandbox.admin.counters()["accepted"] >= 1, within_ms=30_000)
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(20) == 0
    assert actors.broker.transitions.stats(["send_message"])[0].in_flight == 0
    assert len({attempt.state for id_ in ids for attempt in process_world.store.attempts(id_)} - {"accepted"}) == 0

    with running(process_world, "actors.cli", "worker", "--processes", "1", "--threads", "4"):
        until(lambda: process_world.all_sent(ids), within_ms=30_000, poll_ms=100)
    assert process_world.faults_of_delivery()["duplicates_by_client_ref"] == 0
