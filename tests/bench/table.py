"""The results as tables for people."""

from bench.bars import BARS, Bar
from bench.programme import Column, Entry
from bench.results import OURS, RAW, STOCK, Results, ratio
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_ORDER = (RAW, STOCK, OURS)
TITLES = {
    RAW: "raw LPUSH/BRPOP",
    STOCK: "Dramatiq, stock Redis",
    OURS: "chat-actors",
    "arq_zset": "arq",
    "celery_redis": "celery",
    "huey_redis": "huey",
    "rq_fork": "rq",
    "streaq_stream": "streaq",
    "taskiq_list": "taskiq, list",
    "taskiq_stream": "taskiq, stream",
}


def show(console: Console, entries: list[Entry], results: Results) -> None:
    """One table per measurement, then the bars."""
    for entry in entries:
        there = results.contestants(entry.key)
        if there:
            console.print(f"\n[bold]{entry.title}[/]")
        if any(results.was_run(entry.key, name) for name in there):
            console.print(_table(entry, results))
        elif there:
            console.print(results.why_not(entry.key, there[0]))
    console.print("\n[bold]Bars[/]")
    console.print(_bars(results))


def _table(entry: Entry, results: Results) -> Table:
    table = Table(caption="\n".join(map(escape, remarks(entry, results))), caption_justify="left")
    for heading in headings(entry, results):
        table.add_column(heading, justify="right" if heading else "left")
    for name in in_order(results.contestants(entry.key)):
        table.add_row(*line(entry, name, results), style="bold" if name == OURS else None)
    return table


def in_order(contestants: list[str]) -> list[str]:
    """The limit, what we came from, we, then the peers."""
    return [*(one for one in _ORDER if one in contestants), *(one for one in contestants if one not in _ORDER)]


def headings(entry: Entry, results: Results) -> list[str]:
    """Of the columns of a measurement; the first one is empty."""
    return ["", *(column.heading for column in entry.columns), *(f"× {one}" for one in _compared(entry, results))]


def line(entry: Entry, contestant: str, results: Results) -> list[str]:
    """One contestant's cells."""
    first = entry.columns[0].name
    value = results.median(entry.key, contestant, first)
    ratios = [ratio(value, results.median(entry.key, other, first)) for other in _compared(entry, results)]
    return [
        TITLES.get(contestant, contestant),
        *(_cell(results, entry.key, contestant, column) for column in entry.columns),
        *("–" if one is None else f"{one:,.2f}" for one in ratios),
    ]


def _compared(entry: Entry, results: Results) -> list[str]:
    return [] if entry.rows else [one for one in (RAW, STOCK) if one in results.contestants(entry.key)]


def remarks(entry: Entry, results: Results) -> list[str]:
    """What must be known to read a measurement: who has no figures and why, how many rounds, who else was at work."""
    there = results.contestants(entry.key)
    lines = [
        f"{TITLES.get(name, name)}: {results.why_not(entry.key, name)[-150:].strip()}"
        for name in there
        if results.median(entry.key, name, entry.columns[0].name) is None
    ]
    rounds = max(len(results.rounds[entry.key][name]) for name in there)
    others = [figure.high for name in there if (figure := results.figure(entry.key, name, "others_cores"))]
    if others:
        said = "One round" if rounds == 1 else f"Median (smallest–largest) of {rounds} rounds"
        lines.append(f"{said}; strangers used up to {max(others):.2f} processors meanwhile")
    return lines


def _cell(results: Results, entry: str, contestant: str, column: Column) -> str:
    figure = results.figure(entry, contestant, column.name)
    if figure is None:
        return "–"
    low, high = (format(value, column.form) for value in (figure.low, figure.high))
    return f"{figure.median:{column.form}}" + ("" if low == high else f" ({low}–{high})")


def _bars(results: Results) -> Table:
    table = Table()
    for heading in ("figure", "ours", "bar", ""):
        table.add_column(heading, justify="left" if heading in ("figure", "") else "right")
    for bar in BARS:
        table.add_row(*bar_row(bar, results))
    return table


def bar_row(bar: Bar, results: Results) -> tuple[str, str, str, str]:
    """Figure, ours, bar, verdict."""
    value = bar.value(results)
    verdict = {True: "reached", False: "not reached", None: "not run"}[bar.reached(results)]
    wanted = f"{'≤' if bar.most else '≥'} {bar.limit:,g} {bar.unit}"
    return bar.figure, "–" if value is None else f"{value:,.2f} {bar.unit}", wanted, verdict
