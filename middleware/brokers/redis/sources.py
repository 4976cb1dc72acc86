"""Put the text of a Lua script together: the keys that it uses, the functions that it calls, and nothing else.

Used by ``scripts``. Redis keeps no function from one call to the next, so each call makes all that stand in its text, and that
can cost more than its commands (30 of 42 µs of a fetch, measured). So a script names in its head the parts
that it is made of, and of these it gets what it calls. Parts that most calls do without come late: they are made when the script
first asks for ``late()``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from middleware.brokers.redis.keys import QUEUE_KEYS

#: Scripts that add messages; all others free memory or only move ids, and must run when Redis is full: else a full queue could
#: never be drained. Redis ≥ 7 needs a flag for that; an older server refuses it, and then they run without.
FILLING = frozenset({"enqueue", "redrive", "restore", "restore_letters", "restore_gates"})
_ALLOW_OOM = "#!lua flags=allow-oom\n"
#: Scripts that only look. With flags but without this one Redis takes a script for one that writes, and refuses it on a replica
#: and after a failed snapshot: just when somebody looks.
_READING = frozenset({"stats", "groups", "lane", "copy_lanes", "copy_groups", "copy_places"})
_NO_WRITES = "#!lua flags=no-writes\n"
#: In the order in which they build on each other.
_PARTS = (
    "base",
    "facts",
    "unique",
    "slots",
    "groups",
    "lanes",
    "dead",
    "leases",
    "due",
    "promote",
    "running",
    "handing",
    "inbox",
    "copied",
)
_HEAD = re.compile(r"^-- (Parts|Late|Needs|Gives) +(.+)$", re.MULTILINE)
_LATE = re.compile(r"late\(\)\.(\w+)")
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
#: At the margin of a part stand functions and values alone, each with one name.
_STATEMENT = re.compile(
    r"^(?:local function (\w+)|local (\w+)|(\w+) = function)\b.*?(?=^(?:local |\w+ = function)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Source:
    """A script as it is sent: its text and, by their names in Lua, the keys of each queue that it gets."""

    text: str
    keys: tuple[str, ...]


class _Statement(NamedTuple):
    name: str
    text: str


@cache
def source(name: str, *, flagged: bool = False) -> Source:
    """The script of ``lua/<name>.lua``, with what it uses of its parts before it.

    Raises:
        LookupError: it asks for a part, a key or a function that there is not.
    """
    folder = files("middleware.brokers.redis") / "lua"
    body = (folder / f"{name}.lua").read_text(encoding="utf-8")
    parts = {part: (folder / "parts" / f"{part}.lua").read_text(encoding="utf-8") for part in _PARTS}
    at_once, late = _named(body, "Parts", parts), _named(body, "Late", parts)
    made_late = _made_late(late, "".join([*at_once, body]))
    text = "".join([*kept(at_once, made_late + body), made_late, body])
    keys = _keys(text, _head(body, "Needs").union(*(_head(part, "Needs") for part in (*at_once, *late))))
    flags = _NO_WRITES if name in _READING else _ALLOW_OOM
    return Source("".join([flags if flagged else "", _binding(keys, again="bind(" in body), text]), keys)


def _named(body: str, line: str, parts: Mapping[str, str]) -> list[str]:
    names = _head(body, line)
    if unknown := names.difference(parts):
        raise LookupError(f"a script names the part {', '.join(sorted(unknown))}, and there is no such part")
    return [text for name, text in parts.items() if name in names]


def kept(parts: Sequence[str], used_by: str) -> list[str]:
    """Statements of the parts that a text uses, and that these use, in their order."""
    statements = [statement for part in parts for statement in statements_of(part)]
    names = {statement.name for statement in statements}
    needed, more = set[str](), _words(used_by) & names
    while more:
        needed |= more
        found = [_words(statement.text) for statement in statements if statement.name in more]
        more = (set[str]().union(*found) & names) - needed
    return [statement.text for statement in statements if statement.name in needed]


@cache
def statements_of(part: str) -> tuple[_Statement, ...]:
    """The functions and values of a part, without its comments."""
    found = _STATEMENT.finditer(_COMMENT.sub("", part))
    return tuple(_Statement(next(filter(None, one.groups())), one[0]) for one in found)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_COMMENT.sub("", text)))


def _keys(text: str, needed: set[str]) -> tuple[str, ...]:
    unknown = needed.difference(key for key, *_ in QUEUE_KEYS)
    if unknown:
        raise LookupError(f"a script needs {', '.join(sorted(unknown))}, and there is no such key")
    used = _words(text)
    return tuple(key for key, *_ in QUEUE_KEYS if key in needed and key in used)


def _made_late(parts: Sequence[str], body: str) -> str:
    if not parts:
        return ""
    # Handing over a function costs a call as much as making it: only those that the script names.
    used = set(_LATE.findall(body))
    unknown = used.difference(*(_head(part, "Gives") for part in parts))
    if unknown:
        raise LookupError(f"a script asks for {', '.join(sorted(unknown))} late, and none of its parts gives that")
    given = ", ".join(f"{name} = {name}" for name in sorted(used))
    made = "local made\nlocal function late()\n  made = made or make()\n  return made\nend\n"
    return "".join(["local function make()\n", *kept(parts, given), f"return {{ {given} }}\nend\n", made])


def _head(text: str, line: str) -> set[str]:
    return {word for kind, rest in _HEAD.findall(text) if kind == line for word in rest.split()}


def _binding(keys: Sequence[str], *, again: bool) -> str:
    """Names for the keys; ``again``: the script goes from queue to queue, and binds them to each."""
    names = ", ".join(keys)
    if not again:
        return f"local {names} = unpack(KEYS)\n"
    return (
        f"local {names}\nlocal WIDTH = {len(keys)}\n"
        f"local function bind(index)\n  {names} = unpack(KEYS, index * WIDTH + 1, index * WIDTH + WIDTH)\nend\nbind(0)\n"
    )
