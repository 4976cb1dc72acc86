"""Every check of Redis fires on a server that is spoilt that way, says what to do, and is silent on one in good order.

The ways to spoil one stand in ``tests/doctor_faults.py``, ``doctor_faults_clients.py`` and ``doctor_faults_queues.py``.
"""

from contextlib import ExitStack

import doctor_faults  # noqa: F401  # registers the faults
import doctor_faults_clients  # noqa: F401
import doctor_faults_queues  # noqa: F401
import pytest
from docs_pages import Page, only, quoted
from doctor_world import FAULTS, Fault, Patient

from actors.doctor.checks import Severity, Status
from actors.doctor.run import NAMES, QUEUES, REDIS, SERVER

pytestmark = pytest.mark.redis

SPECS = {spec.name: spec for spec in (*SERVER, *QUEUES)}


@pytest.fixture
def patient(site):
    with ExitStack() as stack:
        yield Patient(site, stack)
        site.broker.close()


def test_on_a_server_in_good_order_nothing_fires(patient):
    patient.serve()
    patient.settle()
    patient.client().slowlog_reset()

    found = patient.look_at_all()

    assert tuple(found) == REDIS
    spoken = {name: check.found for name, check in found.items() if check.status is not Status.OK}
    # The suite also runs over a 6.2, which is warned of.
    assert spoken.keys() <= {"version"}
    assert "6.2" in spoken.get("version", "6.2")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.name}-{fault.spoil.__name__.strip('_')}")
def test_a_spoilt_server_is_found_and_the_lines_of_its_fix_mend_it(patient, fault: Fault):
    fault.spoil(patient)

    found = patient.look(fault.name)

    assert found.severity is fault.severity, found
    assert fault.says in found.found
    assert found.why
    assert "`" in found.fix, "nothing to copy"
    assert patient.server is None or patient.server.password not in str(found)
    if fault.mends:
        assert patient.follow(found.fix) > 0
        assert patient.look(fault.name).status is Status.OK
        assert bool(found.repair) is (fault.name in _documented_repairs())


def _documented_repairs() -> list[str]:
    (sentence,) = [line for line in Page("docs/doctor.md").prose.splitlines() if "nobody loses anything by it" in line]
    return quoted(sentence)


def test_every_check_of_redis_is_tried():
    assert {fault.name for fault in FAULTS} == set(REDIS)
    assert len(REDIS) >= 25


def test_no_check_is_worse_than_it_is_said_to_be():
    order = [Severity.NONE, Severity.WARNING, Severity.ERROR, Severity.CRITICAL]
    worst = {name: max((fault.severity for fault in FAULTS if fault.name == name), key=order.index) for name in SPECS}

    assert worst == {name: spec.worst for name, spec in SPECS.items()}


def test_every_check_is_documented_in_its_order():
    rows = Page("docs/doctor.md").rows("check", "at worst", "at start")

    assert tuple(only(row["check"]) for row in rows) == NAMES
    documented = {only(row["check"]): (only(row["at worst"]), row["at start"] == "yes") for row in rows}
    assert {name: documented[name] for name in SPECS} == {
        name: (spec.worst.value, spec.at_start) for name, spec in SPECS.items()
    }
