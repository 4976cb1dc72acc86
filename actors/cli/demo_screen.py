"""What the demo shows while it runs: a progress bar on a terminal, plain lines elsewhere.

``demo`` and ``demo_run`` write to it; ``demo_report`` makes the tables.
"""

from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.text import Text

from actors.cli.demo_watch import Look
from middleware.clock import Clock, SystemClock

#: Columns of a table that goes to a file.
PLAIN_WIDTH = 120
#: Time between two lines of progress where no bar can be shown, in milliseconds.
LINE_EVERY_MS = 2_000


class Screen:
    """Output of the demo; a context manager around what has progress."""

    def __init__(self, *, clock: Clock | None = None, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH
        self._clock = clock or SystemClock()
        self._began_ms = self._clock.boot_ms()
        self._shown_ms = -LINE_EVERY_MS
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description:<8}"),
                BarColumn(40),
                TextColumn("{task.completed:.0f} of {task.total:.0f}  {task.fields[more]}"),
                TimeElapsedColumn(),
                console=self.console,
            )
            for what in ("saved", "ended"):
                self._progress.add_task(what, total=1, more="")
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    @property
    def elapsed_s(self) -> float:
        """Time since the demo began."""
        return (self._clock.boot_ms() - self._began_ms) / 1000

    def title(self, text: str) -> None:
        """A new chapter."""
        self.console.print(Rule(Text(text, style="bold"), align="left"))

    def say(self, text: str) -> None:
        """One line, with the time."""
        self.console.print(Text(f"{self.elapsed_s:5.1f} s  {text}"), soft_wrap=True)

    def text(self, text: Text) -> None:
        """Lines that are not broken, however long: ids are for copying."""
        self.console.print(text, soft_wrap=True)

    def table(self, table: RenderableType) -> None:
        """Something with columns."""
        self.console.print(table)

    def command(self, line: str, output: str) -> None:
        """A command as one would type it, and what it said."""
        self.console.print(Text(f"$ {line}", style="bold"), soft_wrap=True)
        self.console.print(Text(output.strip()), soft_wrap=True)
        self.console.print()

    def show(self, look: Look) -> None:
        """Where the demo is."""
        more = f"{look.sent} sent · {look.failed} failed · {look.retried} retried · {look.put_back} put back"
        if self._progress is not None:
            saved, ended = self._progress.task_ids
            self._progress.update(saved, total=look.total, completed=look.saved)
            self._progress.update(ended, total=look.total, completed=look.ended, more=more)
            return
        now_ms = self._clock.boot_ms()
        if now_ms - self._shown_ms >= LINE_EVERY_MS or look.ended == look.total:
            self._shown_ms = now_ms
            self.say(f"{look.saved} of {look.total} saved · {more}")
