"""Read the Markdown of this project: tables, code blocks, headings, links.

``test_docs.py`` asks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^(?P<indent>\s*)```(?P<language>\w*)\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced code block; ``line`` is that of its fence."""

    page: str
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class Page:
    """One Markdown file, by its path from the root."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (ROOT / name).read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        """Fenced code blocks."""
        return list(self._read_blocks())

    def _read_blocks(self) -> Iterator[Block]:
        opened: tuple[int, str] | None = None
        lines: list[str] = []
        for number, line in enumerate(self.text.splitlines(), start=1):
            fence = _FENCE.match(line)
            if fence is None:
                lines.append(line)
            elif opened is None:
                opened, lines = (number, fence["language"]), []
            else:
                yield Block(self.name, opened[1], "\n".join(lines) + "\n", opened[0])
                opened = None
        assert opened is None, f"{self.name}:{opened}: a code block is not closed"

    @cached_property
    def prose(self) -> str:
        """Everything but the code blocks."""
        kept: list[str] = []
        inside = False
        for line in self.text.splitlines():
            if _FENCE.match(line):
                inside = not inside
            elif not inside:
                kept.append(line)
        return "\n".join(kept)

    @cached_property
    def anchors(self) -> set[str]:
        """Anchors of the headings, as GitHub makes them."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @cached_property
    def links(self) -> list[str]:
        """Targets of links that stay in the project."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self.prose)
        return [target for target in targets if not target.startswith(("http://", "https://", "mailto:"))]

    def rows(self, *header: str) -> list[dict[str, str]]:
        """Rows of every table whose first columns are called ``header``; there is at least one."""
        found: list[dict[str, str]] = []
        names: list[str] | None = None
        for line in self.prose.splitlines():
            cells = _cells(line)
            if cells is None:
                names = None
            elif names is None:
                names = cells
            elif names[: len(header)] == list(header) and not re.fullmatch(r"[-: ]+", cells[0]):
                assert len(cells) == len(names), f"{self.name}: {line!r} has {len(cells)} cells, its table {len(names)}"
                found.append(dict(zip(names, cells, strict=True)))
        assert found, f"{self.name} has no table with the columns {header}"
        return found


def pages() -> list[Page]:
    """README, changelog and everything under docs/."""
    names = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))]
    return [Page(name) for name in ["README.md", "CHANGELOG.md", *names]]


def quoted(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def only(cell: str) -> str:
    """The one thing that stands in backticks."""
    (found,) = quoted(cell)
    return found


def _cells(line: str) -> list[str] | None:
    if not line.startswith("|"):
        return None
    parts = re.split(r"(?<!\\)\|", line.strip()[1:-1])
    return [part.strip().replace("\\|", "|") for part in parts]
