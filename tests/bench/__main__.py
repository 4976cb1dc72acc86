"""Measure our carrier beside others: ``make bench``. See docs/benchmarks.md."""

import argparse
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from bench import machine, table
from bench.bars import BARS
from bench.contestant import names
from bench.programme import ALWAYS, MISSING, PEERS, PROGRAMME, Entry
from bench.results import OURS, Results
from rich.console import Console

from middleware.brokers.redis.embedded import ending_with_us

RESULTS = Path(__file__).parent / "results.json"
#: What ``--patient`` waits for before each round, and how long.
QUIET_CORES = 0.3
PATIENCE_S = 90


def main() -> None:
    """Run what was asked for; what is there at a Ctrl-C is shown and kept."""
    given = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    mode = "full" if given.full else "quick" if given.quick else "default"
    entries = [one for one in PROGRAMME if not given.only or one.key in given.only]
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    results = Results()
    about = {"mode": mode, **machine.describe()}
    begin_s = monotonic()
    try:
        for entry in entries:
            _measure(
                entry, _taking_part(entry, given, mode=mode), given=given, mode=mode, results=results, console=console
            )
    except KeyboardInterrupt:
        console.print("interrupted: what follows is not all")
    about |= {"seconds": round(monotonic() - begin_s), "load_at_end": os.getloadavg()}
    table.show(console, entries, results)
    _write(given.json, about, results)
    console.print(f"not on the package index, so not measured: {', '.join(MISSING)}")
    console.print(
        f"commit {about['commit'][:12]}, {about['changed_files']} changed files; {about['processors']} × "
        f"{about['processor']}; Python {about['python']}, Redis {about['redis_server']}; {about['seconds']} s → {given.json}"
    )


def _taking_part(entry: Entry, given: argparse.Namespace, *, mode: str) -> list[str]:
    if given.contestants:
        return [name for name in given.contestants if name in names()]
    peers = names() if given.peers == ["all"] else given.peers or PEERS[mode]
    everybody = [name for name in dict.fromkeys([*ALWAYS, *peers]) if name in names()]
    return [one for one in everybody if (not entry.only or one in entry.only) and one not in entry.without]


def _measure(
    entry: Entry, taking_part: list[str], *, given: argparse.Namespace, mode: str, results: Results, console: Console
) -> None:
    plan = entry.plans.get(mode) or (entry.plans["default"] if given.only else None)
    if plan is None:
        for name in taking_part:
            results.add(entry.key, name, {"not_run": f"not part of a {mode} run"})
        return
    rounds = given.rounds or entry.rounds.get(mode, 1)
    for number in range(rounds):
        # Everybody once per round, in another order each time: a noisy minute then does not fall on one of them alone.
        for at in range(len(taking_part)):
            name = taking_part[(at + number) % len(taking_part)]
            if given.patient:
                machine.wait_until_quiet(below_cores=QUIET_CORES, within_s=PATIENCE_S)
            result = _probe(entry, name, {**plan, **entry.fixed})
            rows = result.pop("rows", None)
            for level, row in {name: result}.items() if rows is None else rows.items():
                label = level if rows is None or name == OURS else f"{name} {level}"
                results.add(entry.key, label, {**result, **row})
                console.print(f"{entry.key} {number + 1}/{rounds} {label}: {_said(entry, row)}", markup=False)


def _said(entry: Entry, result: dict[str, Any]) -> str:
    there = [one for one in entry.columns if result.get(one.name) is not None]
    said = ", ".join(f"{one.heading} {result[one.name]:{one.form}}" for one in there)
    return said or str(result.get("not_run") or result.get("failed"))


def _probe(entry: Entry, contestant: str, arguments: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.probe", entry.measure, contestant, json.dumps(arguments)]
    process = subprocess.Popen(
        ending_with_us(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, errors = process.communicate(timeout=entry.timeout_s)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {entry.timeout_s} s"}
    finally:
        # Its server and its workers end with it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode != 0:
        return {"failed": errors.strip()[-1_500:]}
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def _write(path: Path, about: dict[str, Any], results: Results) -> None:
    bars = [dict(zip(("figure", "ours", "bar", "verdict"), table.bar_row(bar, results), strict=True)) for bar in BARS]
    path.write_text(json.dumps({**about, "bars": bars, "rounds": results.rounds}, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    def listed(text: str) -> list[str]:
        return [part for part in text.split(",") if part]

    parser = argparse.ArgumentParser(prog="make bench", description="Measure the carrier beside others, in one run.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="two minutes: the main figures, few peers")
    size.add_argument("--full", action="store_true", help="an hour or more: the sizes and trials of docs/benchmarks.md")
    parser.add_argument("--peers", type=listed, help=f"these beside raw, stock and ours, or 'all': {','.join(names())}")
    parser.add_argument("--contestants", type=listed, help="nobody but these")
    parser.add_argument("--only", type=listed, help=f"these measurements: {','.join(one.key for one in PROGRAMME)}")
    parser.add_argument("--rounds", type=int, help="of each measurement; medians are of these")
    parser.add_argument("--patient", action="store_true", help="wait for a quiet machine before each round")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where everything goes")
    return parser


if __name__ == "__main__":
    main()
