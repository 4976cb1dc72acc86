"""docs/memory.md says what the code does: findings, bounds, columns of the host's table, sizes of the streams."""

import re
from pathlib import Path

from docs_pages import Page, only, quoted

from actors.stores.django_usage import FIELDS
from middleware import memory_findings
from middleware.memory import MAX_QUARTERS, MAX_SAMPLES, SECTIONS
from middleware.memory_estimate import Bound

PAGE = Page("docs/memory.md")


def test_every_finding_is_documented_with_its_levels():
    text = Path(memory_findings.__file__).read_text(encoding="utf-8")
    documented = {only(row["code"]) for row in PAGE.rows("code", "level", "when")}

    assert documented == set(re.findall(r'"(memory_[a-z_]+)"', text))
    levels = {level for row in PAGE.rows("code", "level", "when") for level in row["level"].split(", ")}
    assert levels == {*memory_findings.Level}


def test_the_bounds_parts_and_columns_are_those_of_the_code():
    assert [only(row["bound"]) for row in PAGE.rows("bound", "shown as", "means")] == [*Bound]
    columns = {name for row in PAGE.rows("field", "what") for name in quoted(row["field"])}
    assert columns == set(FIELDS)
    parts = {name for row in PAGE.rows("part", "what") for name in quoted(row["part"])}
    assert parts == {*SECTIONS, "databases", "queues"}


def test_the_streams_have_the_length_that_is_said():
    entries = [int(row["entries"].replace(",", "")) for row in PAGE.rows("stream", "holds", "entries")]

    assert entries == [MAX_SAMPLES, MAX_QUARTERS]
