"""Rules that every script keeps: it is tested alone, it names its keys, and no call of it grows with the backlog."""

import ast
import re
from pathlib import Path

import pytest

from middleware.brokers.redis.keys import QUEUE_KEYS

HERE = Path(__file__).parent
LUA = HERE.parents[2] / "middleware" / "brokers" / "redis" / "lua"
FILES = sorted(LUA.rglob("*.lua"))
NAMES = {name for name, *_ in QUEUE_KEYS}
#: Keys beside those of a queue, which a script takes from the end of KEYS.
MORE_KEYS = {"ticks", "acks", "workers", "worker_facts", "restoring"}
#: Commands whose cost grows with their key → the keys on which they may be used: bounded by something else than the backlog.
WHOLE = {
    "HGETALL": {"gates", "counters"},
    "SMEMBERS": {"acks"},
    "ZRANGE 0 -1": {"leases"},
    "ZREVRANGE 0 -1": {"leases"},
}
NEVER = {
    "KEYS",
    "SCAN",
    "HSCAN",
    "SSCAN",
    "ZSCAN",
    "HKEYS",
    "HVALS",
    "SORT",
    "LREM",
    "LPOS",
    "LINSERT",
    "FLUSHDB",
    "SUNION",
}
CALL = re.compile(r"redis\.p?call\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")


def calls(path: Path) -> list[tuple[str, list[str]]]:
    """Command and arguments of every call, comments left out."""
    text = "\n".join(line.partition("--")[0] for line in path.read_text().splitlines())
    # A bracket in a text would end the call too soon.
    text = text.replace('"("', '"<"')
    assert text.count("redis.call(") + text.count("redis.pcall(") == len(CALL.findall(text))
    found = [[part.strip() for part in re.split(r",(?![^(]*\))", call)] for call in CALL.findall(text)]
    return [(parts[0].strip('"'), parts[1:]) for parts in found]


def test_every_script_has_tests_of_its_own():
    tested = {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(isinstance(one, ast.FunctionDef) for one in node.body)
    }
    expected = {"Test" + path.stem.title().replace("_", "") for path in LUA.glob("*.lua")}

    assert expected - tested == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LUA)))
def test_a_script_touches_named_keys_only(path):
    """A command's key is a name that the head of the file binds, or a local of such a name: never a text."""
    head = path.read_text().split("\nlocal ")[0]
    bound = NAMES | MORE_KEYS | {"key"}
    strangers = {
        part
        for command, parts in calls(path)
        if command != "TIME"
        for part in (parts if command in ("EXISTS", "UNLINK", "RENAME") else parts[:1])
        if part not in bound
    }

    assert head.startswith(f"-- {path.name} — ")
    assert strangers == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LUA)))
def test_no_call_of_a_script_grows_with_the_backlog(path):
    grown = []
    for command, parts in calls(path):
        whole = f"{command} 0 -1" if parts[1:3] == ["0", "-1"] else command
        if command in NEVER or (whole in WHOLE and parts[0] not in WHOLE[whole]):
            grown.append((command, parts))
        if command in ("LRANGE", "ZRANGEBYSCORE", "ZRANGEBYLEX") and '"LIMIT"' not in parts:
            grown.append((command, parts))
        if command == "DEL" and parts[0] not in MORE_KEYS:
            grown.append((command, parts))

    assert grown == []
