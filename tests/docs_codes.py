"""Reasons that an operator may see, as the code writes them: the codes of the error tree and those given to one error.

``test_docs.py`` compares them with docs/errors.md.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from docs_events import ROOT, Function, sources

#: Stands for the class of an error that Dramatiq raises.
FOREIGN = "foreign"
#: Error classes, from both trees; what is not below one of them is no error of ours.
ROOTS = {"Described", "Snooze", "ChatError"}


#: Errors of the carrier that no message meets: they end a process before it has one.
STOPS = (
    "BadRedisUrl",
    "EmbeddedRedisFailed",
    "WrongDatabase",
    *("BadBackup", "BadKey", "RestoreUnderWay", "RestoreStopped"),
)


@dataclass(frozen=True)
class Code:
    """A reason and the class of the error that carries it; ``Dead`` is an outcome that no error led to."""

    code: str
    kind: str


@dataclass(frozen=True)
class Maker:
    """A function that makes errors: which of its arguments is the code, and their class (or which argument that is)."""

    code_at: int
    kind: str
    kind_at: int | None = None


@cache
def codes(under: str = "") -> set[Code]:
    """Every code that stands in the source; ``under`` narrows it to what is given out in files whose path begins so."""
    made = set() if under else {Code(code, kind) for kind, code in _of_classes().items()}
    for path, module in sources():
        if not path.as_posix().startswith(under):
            continue
        for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            made |= set(_given(call, module))
        for function in (node for node in ast.walk(module) if isinstance(node, Function) and node.name == "code_of"):
            # Names those that are not of our tree.
            returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
            made |= {Code(text, FOREIGN) for node in returned for text in _texts(node)}
    return made if under else made | {Code(reason, "Dead") for reason in _of_lua()}


def kind_of(code: Code) -> str:
    """What comes next, by the class: ``dead``, ``put back``, ``look``, ``retry`` or ``stop``."""
    line = [code.kind, *_ancestors(code.kind)]
    if "SettingsError" in line or code.kind in STOPS or code.kind in _of_commands():
        return "stop"
    if "Dead" in line or "Permanent" in line:
        return "dead"
    if "Snooze" in line:
        return "put back"
    return "look" if "Ambiguous" in line else "retry"


def _given(call: ast.Call, module: ast.Module) -> Iterator[Code]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name == "Dead":
        yield from (Code(text, name) for text in _texts(call.args[0], module))
    keyword = next((one.value for one in call.keywords if one.arg == "code"), None)
    if keyword is not None and name in _bases():
        yield from (Code(text, name) for text in _texts(keyword))
    maker = _all_makers().get(name)
    if maker is not None and len(call.args) > maker.code_at:
        kind = maker.kind if maker.kind_at is None else ast.unparse(call.args[maker.kind_at])
        yield from (Code(text, kind) for text in _texts(call.args[maker.code_at]))


@cache
def _all_makers() -> dict[str, Maker]:
    """Functions with a parameter that they hand on as the ``code`` of an error."""
    makers: dict[str, Maker] = {}
    for _, module in sources():
        for function in (node for node in ast.walk(module) if isinstance(node, Function)):
            names = [argument.arg for argument in function.args.args]
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                code = next((one.value for one in call.keywords if one.arg == "code"), None)
                if not (isinstance(code, ast.Name) and code.id in names and isinstance(call.func, ast.Name)):
                    continue
                kind = call.func.id
                if kind in names or kind in _bases():
                    at = names.index(kind) if kind in names else None
                    makers[function.name] = Maker(names.index(code.id), kind, at)
    return makers


def _texts(node: ast.expr, module: ast.Module | None = None) -> list[str]:
    """Constants that ``node`` may be; a name is what ``module`` assigns to it."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    if isinstance(node, ast.Name) and module is not None:
        given = [
            one for one in ast.walk(module) if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == node.id
        ]
        return [text for one in given for text in _texts(one.value)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


@cache
def _bases() -> dict[str, tuple[str, ...]]:
    """Error class → its bases, by name."""
    classes = {
        node.name: tuple(ast.unparse(base) for base in node.bases)
        for _, module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
    }
    known = set(ROOTS)
    while True:
        more = {name for name, bases in classes.items() if known.intersection(bases)} - known
        if not more:
            return {name: classes[name] for name in known}
        known |= more


def _ancestors(name: str) -> Iterator[str]:
    for base in _bases().get(name, ()):
        yield base
        yield from _ancestors(base)


@cache
def _of_classes() -> dict[str, str]:
    """Error class → the code in its body."""
    return {
        node.name: statement.value.value
        for _, module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and node.name in _bases()
        for statement in node.body
        if isinstance(statement, ast.Assign)
        and [ast.unparse(target) for target in statement.targets] == ["code"]
        and isinstance(statement.value, ast.Constant)
    }


@cache
def _of_commands() -> set[str]:
    """Classes that only the command line knows."""
    modules = (module for path, module in sources() if path.as_posix().startswith("actors/cli/"))
    return {node.name for module in modules for node in ast.walk(module) if isinstance(node, ast.ClassDef)}


def _of_lua() -> set[str]:
    scripts = (ROOT / "middleware" / "brokers" / "redis" / "lua").rglob("*.lua")
    return {reason for path in scripts for reason in re.findall(r'reason = "(\w+)"', path.read_text())}
