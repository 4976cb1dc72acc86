"""What commands write and ask: JSON, tables, a question before something is deleted or sent.

Every command uses it; nothing else prints. rich is loaded when a table is shown.
"""

import binascii
import getpass
import json
import os
import socket
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from actors.amounts import age as age
from actors.amounts import size as size
from middleware.errors import ExitCode

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

#: Width of a table that nobody looks at in a terminal: whoever greps wants whole lines.
_WIDE = 240


class Refused(Exception):
    """What was asked for does not exist, or nobody agreed to it; nothing was done. Ends with its ``exit_code``."""

    exit_code = ExitCode.USAGE


class NoFile(Refused):
    """A file cannot be written or read."""

    exit_code = ExitCode.DISK


class BadFile(Refused):
    """A file is something else, or half of what it should be."""

    exit_code = ExitCode.BAD_FILE


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


def token(text: str) -> str:
    """A text that a shell takes as one word."""
    return urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=") or "-"


def untoken(text: str) -> str:
    """What :func:`token` was made of.

    Raises:
        Refused: it was not.
    """
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError):
        raise Refused(f"--after {text!r} is not where a list ended; copy it whole") from None


def who() -> str:
    """Who runs this command, for the audit trail: account and machine."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):
        # A container without an entry for its number.
        account = str(os.getuid())
    return f"{account}@{socket.gethostname()}"


@contextmanager
def progress(doing: str, *, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Count what is done where somebody looks at the terminal; yields what to call with how many are done more."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda done: bar.advance(task, done)
