"""The tables of a result file as Markdown, for docs/benchmarks.md: ``python -m bench.markdown results.json``."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import table
from bench.bars import BARS
from bench.programme import PROGRAMME, Entry
from bench.results import Results


def render(found: dict[str, Any]) -> str:
    """Where and when, the bars, then every measurement that was run."""
    results = Results(rounds=found["rounds"])
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items() if version)
    changed = f" with {found['changed_files']} changed files" if found["changed_files"] else ""
    head = (
        f"Commit `{found['commit'][:12]}`{changed}, {found['at'][:10]}, a `{found['mode']}` run of {found['seconds']} s "
        f"on {found['processors']} × {found['processor']}, Python {found['python']}, Redis {found['redis_server']}, {packages}."
    )
    bars = _rows([("figure", "ours", "bar", "verdict"), *(table.bar_row(bar, results) for bar in BARS)])
    run = [one for one in PROGRAMME if any(results.was_run(one.key, name) for name in results.contestants(one.key))]
    return "\n\n".join([head, bars, *(f"**{one.title}**\n\n{_measurement(one, results)}" for one in run)])


def _measurement(entry: Entry, results: Results) -> str:
    lines = [table.line(entry, name, results) for name in table.in_order(results.contestants(entry.key))]
    under = "".join(f"\n\n{sentence}." for sentence in table.remarks(entry, results))
    return _rows([table.headings(entry, results), *lines]) + under


def _rows(rows: list[Iterable[str]]) -> str:
    head, *rest = [list(row) for row in rows]
    rule = ["---", *("--:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, rule, *rest))


if __name__ == "__main__":
    sys.stdout.write(render(json.loads(Path(sys.argv[1]).read_text())) + "\n")
