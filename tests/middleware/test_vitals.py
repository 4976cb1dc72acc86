"""Which facts say that a new process would help, and which that this one cannot work right now."""

import json
from dataclasses import asdict, replace

import pytest

from middleware.vitals import (
    FETCH_LATE_MS,
    HANGS_MS,
    PROBE_LATE_MS,
    ROUND_LATE_AT_LEAST_MS,
    ROUND_LATE_MS,
    STARTS_MS,
    Probed,
    Vitals,
    findings,
)

WELL = Vitals(
    pid=7,
    state="serving",
    up_ms=60_000,
    threads=4,
    busy=1,
    has_queue=True,
    lease_ms=15_000,
    round_age_ms=1_000,
    turn_age_ms=1_000,
    fetch_age_ms=5_000,
    probes={"store": Probed(is_well=True, found="answers", age_ms=9_000)},
)


def verdicts(vitals: Vitals) -> tuple[bool, bool]:
    """Whether it is alive, and ready."""
    found = list(findings(vitals))
    return all(one.is_well for one in found if one.is_of_life), all(one.is_well for one in found)


def test_a_worker_that_works_is_alive_and_ready():
    assert verdicts(WELL) == (True, True)


@pytest.mark.parametrize(
    "facts",
    [
        {"gone": ("worker",)},
        {"overdue": (("send_message", 300),)},
        {"turn_age_ms": HANGS_MS + 1},
        {"fetch_age_ms": HANGS_MS + 1},
        {"state": "starting", "up_ms": STARTS_MS + 1},
    ],
    ids=str,
)
def test_a_process_that_a_restart_would_mend_is_not_alive(facts):
    assert verdicts(replace(WELL, **facts)) == (False, False)


@pytest.mark.parametrize(
    "facts",
    [
        {"state": "starting", "round_age_ms": None, "fetch_age_ms": None},
        {"state": "draining"},
        {"round_age_ms": ROUND_LATE_MS + 1},
        {"round_age_ms": None},
        {"lease_ms": 1_500, "round_age_ms": ROUND_LATE_AT_LEAST_MS + 1},
        {"fetch_age_ms": FETCH_LATE_MS + 1},
        # Redis is away: that nothing is fetched says nothing of the process, however long it lasts.
        {"round_age_ms": 10 * HANGS_MS, "fetch_age_ms": 10 * HANGS_MS},
        {"probes": {"store": Probed(is_well=False, found="OperationalError", age_ms=10)}},
        {"probes": {"store": Probed(is_well=True, found="answers", age_ms=PROBE_LATE_MS + 1)}},
        {"probes": {"store": Probed(is_well=False, found="", age_ms=None)}},
    ],
    ids=str,
)
def test_what_a_restart_would_not_mend_only_makes_it_unready(facts):
    assert verdicts(replace(WELL, **facts)) == (True, False)


@pytest.mark.parametrize(
    "facts",
    [{"has_queue": False, "round_age_ms": None, "fetch_age_ms": None}, {"state": "scheduling", "has_queue": False}],
    ids=str,
)
def test_who_has_no_carrier_is_not_asked_for_one(facts):
    assert verdicts(replace(WELL, **facts)) == (True, True)


def test_facts_survive_their_journey():
    facts = replace(WELL, gone=("worker",), overdue=(("send_message", 300),))

    assert Vitals.from_json(json.loads(json.dumps(asdict(facts)))) == facts
