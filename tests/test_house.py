"""The rules of the house that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(path.relative_to(ROOT) for name in ("actors", "middleware") for path in (ROOT / name).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for name in ("tests", "prove", "compose") for path in (ROOT / name).rglob("*.py"))
CARRIER = sorted(path.relative_to(ROOT) for path in (ROOT / "middleware").rglob("*") if path.suffix in (".py", ".lua"))
#: A file answers one question.
MAX_LINES = 300
#: A function fits on a screen.
MAX_FUNCTION_LINES = 40


@pytest.mark.parametrize("path", [path for path in MODULES if "migrations" not in path.parts], ids=str)
def test_a_module_is_short_and_so_are_its_functions(path):
    assert too_long(path) == []


def test_so_is_every_file_of_the_tests():
    assert len(TESTS) > 300
    assert [fault for path in TESTS if "migrations" not in path.parts for fault in too_long(path)] == []


def too_long(path: Path) -> list[str]:
    text = (ROOT / path).read_text()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    lines = len(text.splitlines())
    return [
        *([f"{path}: {lines} lines"] if lines > MAX_LINES else []),
        *(f"{path}: {name} has {count}" for name, count in found if count > MAX_FUNCTION_LINES),
    ]


@pytest.mark.parametrize("path", CARRIER, ids=str)
def test_the_carrier_does_not_know_what_it_carries(path):
    found = re.findall(r"conversation|whatsapp|django", (ROOT / path).read_text(), re.IGNORECASE)

    assert found == []


@pytest.mark.parametrize("name", ["dev.txt", "bench.txt"])
def test_every_pin_has_a_hash_and_no_line_names_an_index(name):
    text = (ROOT / "requirements" / name).read_text()
    pins = [pin for pin in text.replace("\\\n", "").splitlines() if "==" in pin.partition(" ")[0]]

    assert len(pins) > 40
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []
    assert "://" not in text
    assert not re.search(r"^\s*--?(i|index-url|extra-index-url|find-links|f)\b", text, re.MULTILINE)


def test_nothing_but_the_waiting_of_the_suite_sleeps():
    sleepers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r"\btime\.sleep\(|from time import .*\bsleep\b", path.read_text())
    }

    assert sleepers <= {"tests/waiting.py", "tests/test_house.py"}
