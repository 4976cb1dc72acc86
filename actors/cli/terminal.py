"""What commands write and ask: JSON, tables, a question before something is deleted or sent.

Every command uses it; nothing else prints. rich is loaded when a table is shown.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

#: Width of a table that nobody looks at in a terminal: whoever greps wants whole lines.
_WIDE = 240


class Refused(Exception):
    """What was asked for does not exist, or nobody agreed to it; nothing was done. Ends with ``USAGE``."""


def say(text: str) -> None:
    """Write a line."""
    print(text)


def say_json(value: Any) -> None:
    """Write a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Write rows under their columns; None is shown as a dash, numbers stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    lines = [list(row) for row in rows]
    for index, name in enumerate(columns):
        is_number = any(isinstance(line[index], int | float) for line in lines)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for line in lines:
        # As text: a name in brackets is no markup.
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in line))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(table)


def confirm(question: str, *, yes: bool) -> None:
    """Go on only when a person agrees, or ``--yes`` was given.

    Raises:
        Refused: there is nobody to ask.
        typer.Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nothing was done: there is no terminal to ask at; say --yes if this is meant")
    typer.confirm(question, abort=True)


def age(seconds: float | None) -> str | None:
    """A duration for people: ``8.1 s``, ``3 min``, ``2 h``, ``5 d``."""
    if seconds is None:
        return None
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.1f} {unit}" if unit == "s" else f"{seconds // length:.0f} {unit}"
    return f"{seconds // 86_400:.0f} d"


def size(amount: float | None) -> str | None:
    """An amount of memory for people."""
    if amount is None:
        return None
    for unit in ("B", "kB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"
