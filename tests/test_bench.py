"""The benchmark counts right: its arithmetic and its log, without measuring anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.bars import BARS, Bar
from bench.figures import percentile
from bench.log import Log, Record
from bench.measures.drain import rate_per_s
from bench.results import OURS, RAW, STOCK, Results

TESTS = Path(__file__).parent
_FORKS = """
import os, sys
from pathlib import Path
from bench.log import Writer
writer = Writer(Path(sys.argv[1]))
writer.note(1)
child = os.fork()
writer.note(2 if child else 3)
if child:
    os.waitpid(child, 0)
"""


def _bars(figure: str, unit: str) -> Bar:
    (found,) = (bar for bar in BARS if (bar.figure, bar.unit) == (figure, unit))
    return found


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (51, 3), (75, 3), (99, 4), (100, 4)])
def test_a_percentile_is_a_value_that_occurred(percent: int, expected: int):
    assert percentile([4, 1, 3, 2], percent) == expected


def test_a_fork_of_a_worker_writes_a_log_of_its_own(tmp_path: Path):
    subprocess.run([sys.executable, "-c", _FORKS, tmp_path], env={**os.environ, "PYTHONPATH": str(TESTS)}, check=True)

    log = Log(tmp_path)
    assert sorted(record.number for record in log.records()) == [1, 2, 3]
    assert len({record.pid for record in log.records()}) == 2
    log.forget()
    assert (log.count(), log.records()) == (0, [])


def test_a_rate_counts_only_while_every_process_is_at_work():
    s = 1_000_000_000
    alone = [Record(1, number, number * s // 100) for number in range(100)]
    both = [Record(1 + number % 2, number, s + number * s // 10) for number in range(11)]

    assert rate_per_s(alone + both, processes=2) == pytest.approx(10)


def test_a_bar_compares_medians_of_one_run():
    results = Results()
    for per_s in (900, 8_000, 10_000):
        results.add("drain", OURS, {"per_s": per_s})
    results.add("drain", STOCK, {"per_s": 2_000})

    assert _bars("drain", "× stock").value(results) == 4
    assert _bars("drain", "× stock").reached(results) is True


def test_what_was_not_measured_is_neither_reached_nor_missed():
    results = Results()
    results.add("drain", OURS, {"per_s": 9_000})
    results.add("drain", STOCK, {"failed": "its worker ended"})
    results.add("drain", RAW, {"not_run": "not part of this run"})

    assert _bars("drain", "× stock").reached(results) is None
    assert _bars("drain", "× best peer").reached(results) is None
    assert results.why_not("drain", STOCK) == "failed: its worker ended"


def test_a_crash_after_which_a_message_stays_away_has_no_time():
    results = Results()
    results.add("crash", OURS, {"again_s": 12, "lost": 0})
    results.add("crash_busy", OURS, {"again_s": None, "lost": 1})

    assert _bars("kill -9: all running again, worst trial", "s").reached(results) is None
    assert _bars("kill -9: lost, worst trial", "messages").reached(results) is False
