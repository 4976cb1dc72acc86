"""Read docs/operations.md as an operator: its commands in order, the state they are for, and what they are said to print.

``test_runbook.py`` runs them. ``<!-- scene: name -->`` before a block of commands names the state; a block ``text`` behind it
holds lines that the commands print, of which ``…`` stands for any others.
"""

import re
from dataclasses import dataclass

from docs_pages import ROOT

PAGE = "docs/operations.md"
_BLOCK = re.compile(
    r"(?:<!-- scene: (?P<scene>[\w-]+) -->\n)?```sh\n(?P<commands>.*?)```\n(?:\n```text\n(?P<prints>.*?)```\n)?",
    re.DOTALL,
)
#: What differs from run to run: ids, numbers and times with their units.
_VOLATILE = re.compile(
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\d{4}-\d\d-\d\dT[\d:.+Z]+|\b[0-9a-f]{8,}…?|\d+(\.\d+)*( ?(s|min|h|d|ms|B|kB|MB|GB|%)\b)?"
)


@dataclass(frozen=True)
class Step:
    """Commands that are run one after another in one state, and lines that they print."""

    scene: str
    commands: tuple[str, ...]
    prints: tuple[str, ...]
    line: int


def steps() -> list[Step]:
    """Every block of commands."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    return [
        Step(
            found["scene"] or "quiet",
            tuple(line for line in found["commands"].splitlines() if line.strip()),
            tuple(line for line in (found["prints"] or "").splitlines() if line.strip() not in ("", "…")),
            text.count("\n", 0, found.start()) + 1,
        )
        for found in _BLOCK.finditer(text)
    ]


def shape(line: str) -> str:
    """A line without what differs from run to run."""
    return _VOLATILE.sub("#", " ".join(line.split())).rstrip("…").strip()


def is_printed(line: str, said: str) -> bool:
    """Whether a line of the page is one that was said; where it ends with ``…`` its beginning is enough."""
    wanted = shape(line)
    if line.rstrip().endswith("…"):
        return any(shape(one).startswith(wanted) for one in said.splitlines())
    return any(shape(one) == wanted for one in said.splitlines())
