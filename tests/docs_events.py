"""Log events as the code writes them: name, level and fields, read from its source.

``test_docs.py`` compares them with docs/events.md.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Event:
    """One call of a logger."""

    name: str
    level: str
    fields: frozenset[str]
    place: str


@cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    """Every module of both packages, parsed."""
    paths = [path for package in ("actors", "middleware") for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple((path.relative_to(ROOT), _parsed(path.read_text())) for path in paths)


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SystemError:
        # CPython before 3.12 counts the depth of all threads together: another one wrote a traceback meanwhile (gh-106905).
        return ast.parse(text)


def events() -> list[Event]:
    """Every call of ``logger.<level>``."""
    found: list[Event] = []
    for path, module in sources():
        functions = [node for node in ast.walk(module) if isinstance(node, Function)]
        for call in _logger_calls(module):
            around = [one for one in functions if any(node is call for node in ast.walk(one))]
            scope = max(around, key=lambda one: one.lineno, default=None)
            place = f"{path}:{call.lineno}"
            level, text = _level_and_text(call, scope)
            assert isinstance(text, ast.Constant), f"{place}: the event is not a constant"
            extra = next((one.value for one in call.keywords if one.arg == "extra"), None)
            fields = _keys(extra, scope, module, place) if extra is not None else frozenset()
            # Where a sentence follows the event, or a value, it does so after a colon.
            found.append(Event(str(text.value).partition(":")[0], level, fields, place))
    return found


def _level_and_text(call: ast.Call, scope: Function | None) -> tuple[str, ast.expr]:
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr != "log":
        return call.func.attr.replace("exception", "error"), call.args[0]
    # ``logger.log(level, …)`` with a level that was chosen before: all that it may be.
    assert scope is not None
    chosen = [one.value for one in ast.walk(scope) if _assigns(one, ast.unparse(call.args[0]))]
    names = {name.lower() for one in chosen for name in re.findall(r"logging\.([A-Z]+)", ast.unparse(one))}
    return " or ".join(level for level in LEVELS if level in names), call.args[1]


def _logger_calls(module: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in (*LEVELS, "log"):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "logger":
                yield node


def _keys(node: ast.expr, scope: Function | None, module: ast.Module, place: str) -> frozenset[str]:
    """Keys of a dict: written down, spread from another, named before, or returned by a function or property here."""
    if isinstance(node, ast.Dict):
        named = {str(key.value) for key in node.keys if isinstance(key, ast.Constant)}
        spread = [value for key, value in zip(node.keys, node.values, strict=True) if key is None]
        return frozenset(named).union(*(_keys(one, scope, module, place) for one in spread))
    if isinstance(node, ast.DictComp):
        # ``{name: … for name, value in ids.items() if …}``: some of the keys of ``ids``.
        source = node.generators[0].iter
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Attribute):
            return _keys(source.func.value, scope, module, place)
    if isinstance(node, ast.Name) and scope is not None:
        given = [one.value for one in ast.walk(scope) if _assigns(one, node.id)]
        if given:
            return frozenset().union(*(_keys(one, scope, module, place) for one in given))
    made_by = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
    made_by = node.attr if isinstance(node, ast.Attribute) else made_by
    for function in (one for one in ast.walk(module) if isinstance(one, Function) and one.name == made_by):
        returned = [one.value for one in ast.walk(function) if isinstance(one, ast.Return) and one.value]
        return frozenset().union(*(_keys(one, function, module, place) for one in returned))
    raise AssertionError(f"{place}: the fields of this event cannot be read from the source: {ast.unparse(node)}")


def _assigns(node: ast.AST, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
