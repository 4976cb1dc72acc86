"""Dramatiq's own tests pass on the carrier, but for those that ``waivers.py`` names.

They are a third party's idea of what a broker must do, and one of them of how fast. ``run.py`` runs them.
"""

import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conformance.run import BROKERLESS, LEFT_OUT, PLAIN, RACES, ROOT, SWAP, TIMED, TestsNotFetched, dramatiq_tests, run
from conformance.waivers import OURS, Waiver
from conformance.waivers import PLAIN as PLAIN_WAIVERS
from conformance.waivers import SWAP as SWAP_WAIVERS
from docs_pages import Page, only

CARRIER = "middleware.brokers.redis.broker:CarrierBroker"
WAIVERS = (*PLAIN_WAIVERS, *SWAP_WAIVERS)
#: Times that a test which judges by the clock is asked again, alone, when it fails. The rest of the suite, or another's machine,
#: takes the processor from it for as long as it likes; a broker that is too slow is too slow each time.
ASKED_AGAIN = 2


@pytest.fixture(scope="module")
def source() -> Path:
    """Folder with Dramatiq's tests. Without them and without an index: skipped on a laptop, failed in CI."""
    try:
        return dramatiq_tests()
    except TestsNotFetched as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have Dramatiq's tests: {error}", pytrace=False)
        pytest.skip(str(error))


@pytest.mark.redis
@pytest.mark.process
@pytest.mark.parametrize("swap", [False, True], ids=["plain", "swap"])
def test_the_carrier_passes_dramatiqs_own_tests(source, tmp_path, swap):
    files, waivers = (SWAP, SWAP_WAIVERS) if swap else (PLAIN, PLAIN_WAIVERS)

    faults = _run(tmp_path / "first.xml", swap=swap)
    for time in range(ASKED_AGAIN):
        doubtful = {_function(name) for name, fault in faults.items() if fault and _is_asked_again(name)}
        if doubtful:
            faults |= _run(tmp_path / f"again_{time}.xml", "-n0", "-k", " or ".join(sorted(doubtful)), swap=swap)

    _check(faults, waivers)
    assert {name.partition("::")[0] for name in faults} == set(files)


def test_no_proof_of_latency_is_waived(source):
    text = "".join((source / name).read_text() for name in SWAP)

    assert [name for name in TIMED if f"def {name}(" in text] != []
    assert [waiver.name for waiver in WAIVERS if waiver.name.partition("::")[2] in TIMED] == []


def test_only_what_judges_by_the_clock_or_races_with_a_thread_is_asked_again():
    names = ("a.py::test_groups_execute_inner_groups[stub]", "test_barrier.py::test_any", RACES[0], "a.py::test_groups")

    assert [name for name in names if _is_asked_again(name)] == list(names[:3])


def test_what_is_left_out_does_not_use_the_broker_under_test(source):
    for left_out in LEFT_OUT:
        file, _, name = left_out.partition("::")
        text = (source / file).read_text()
        (body,) = re.findall(rf"^def {name}\(\):\n((?:(?!^def ).*\n)*)", text, re.MULTILINE)
        assert " RedisBroker(" in body


def test_what_is_asked_twice_never_sees_a_broker_or_races_with_a_thread_by_itself(source):
    assert [name for name in BROKERLESS if re.search(r"_(broker|worker)\b", (source / name).read_text())] == []
    for racing in RACES:
        file, _, name = racing.partition("::")
        (body,) = re.findall(rf"^def {name}\(.*\):\n((?:(?!^def ).*\n)*)", (source / file).read_text(), re.MULTILINE)
        assert re.search(r"\.send\(\)\n +consumer = redis_worker\.consumers\[.*\]\.consumer\n", body)


def test_every_waiver_names_a_test_of_ours():
    text = (ROOT / OURS).read_text()

    assert len({waiver.name for waiver in WAIVERS}) == len(WAIVERS)
    assert [waiver.ours for waiver in WAIVERS if f"def {waiver.ours}(" not in text] == []


def test_every_waiver_is_told_in_the_documentation():
    rows = Page("docs/architecture.md").rows("waived", "because", "kept by")

    told = [(only(row["waived"]), row["because"], only(row["kept by"])) for row in rows]
    assert told == [(waiver.name, waiver.reason, waiver.ours) for waiver in WAIVERS]


def test_a_fault_without_a_waiver_and_a_waiver_without_a_fault_are_both_reported():
    waivers = (Waiver("a.py::fails", "", ""), Waiver("a.py::passes", "", ""), Waiver("a.py::is_gone", "", ""))

    _check({"a.py::fails": "failure: waived", "a.py::ok": None}, waivers[:1])
    with pytest.raises(pytest.fail.Exception) as caught:
        _check({"a.py::fails": "failure: x", "a.py::passes": None, "a.py::new": "error: boom"}, waivers)

    told = str(caught.value)
    assert all(text in told for text in ("a.py::new: error: boom", "a.py::passes passes", "a.py::is_gone is not there"))
    assert "a.py::fails" not in told


def _is_asked_again(name: str) -> bool:
    return name.startswith((*BROKERLESS, *RACES)) or _function(name) in TIMED


def _function(name: str) -> str:
    return name.partition("::")[2].partition("[")[0]


def _run(report: Path, *arguments: str, swap: bool) -> dict[str, str | None]:
    code = run(CARRIER, swap=swap, arguments=[f"--junit-xml={report}", "--tb=short", *arguments])
    assert code in (0, 1), f"pytest ended with {code}"
    return _read(report)


def _check(faults: dict[str, str | None], waivers: tuple[Waiver, ...]) -> None:
    """Hold what became of each test (None = passed) against the waivers."""
    waived = {waiver.name for waiver in waivers}
    wrong = [f"{name}: {fault}" for name, fault in faults.items() if fault is not None and name not in waived]
    stale = [f"waived, but {name} passes" for name in waived if name in faults and faults[name] is None]
    missing = [f"waived, but {name} is not there" for name in waived if name not in faults]
    told = sorted(wrong) + sorted(stale) + sorted(missing)
    if told:
        pytest.fail("\n".join([f"{len(told)} of {len(faults)} tests:", *told]), pytrace=False)


def _read(report: Path) -> dict[str, str | None]:
    """What became of each test, by file and name: None = it passed. A skipped one did not."""
    root = ET.parse(report).getroot()  # noqa: S314  # written by our own pytest a moment ago
    found: dict[str, str | None] = {}
    for case in root.iter("testcase"):
        fault = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
        module = (case.get("classname") or "").removeprefix("tests.") or "?"
        told = None if fault is None else f"{fault.tag}: {(fault.get('message') or '').partition(chr(10))[0]}"
        # A test whose teardown breaks is told of twice: once that it passed.
        name = f"{module}.py::{case.get('name')}"
        found[name] = found.get(name) or told
    return found
