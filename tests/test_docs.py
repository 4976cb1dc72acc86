"""The documentation can be followed: links lead somewhere, code can be read, commands exist, promises have a test."""

import json
import re
import shlex
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import typer
from docs_pages import Block, Page, pages, quoted

from actors.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = pages()
BLOCKS = [block for page in PAGES for block in page.blocks]


# -- form ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Page):
    for target in page.links:
        path, _, anchor = target.partition("#")
        place = (ROOT / page.name).parent / path if path else ROOT / page.name
        assert place.exists(), f"{page.name} links to {target}"
        if anchor:
            name = place.resolve().relative_to(ROOT).as_posix()
            assert anchor in Page(name).anchors, f"{page.name} links to {target}"


def test_every_page_that_the_code_names_is_there():
    named = {
        (path.relative_to(ROOT).as_posix(), page)
        for folder in ("actors", "middleware")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".lua")
        for page in re.findall(r"docs/[\w-]+\.md", path.read_text(encoding="utf-8"))
    }

    assert len(named) > 5
    assert [entry for entry in sorted(named) if not (ROOT / entry[1]).exists()] == []


def test_every_page_is_reached_from_the_readme():
    reached, found = set(), ["README.md"]
    while found:
        name = found.pop()
        if name in reached or not name.endswith(".md"):
            continue
        reached.add(name)
        places = ((ROOT / name).parent / target.partition("#")[0] for target in Page(name).links if target[0] != "#")
        found += [place.resolve().relative_to(ROOT).as_posix() for place in places]

    assert {page.name for page in PAGES} <= reached


# -- commands ------------------------------------------------------------------------------------------------------


def _find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what follows it."""
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def _commands(text: str) -> list[list[str]]:
    """What follows ``chat-actors`` or ``manage.py chat`` in each line of a shell."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    names = ("chat-actors", "/srv/mysite/.venv/bin/chat-actors")
    found = [line[at + 1 :] for line in lines for at, word in enumerate(line) if word.rpartition("=")[2] in names]
    return found + [line[line.index("chat") + 1 :] for line in lines if line[1:3] == ["manage.py", "chat"]]


COMMANDS = [
    (f"{page.name}: {' '.join(words)}", words)
    for page in PAGES
    for text in [*(block.text for block in page.blocks if block.language in ("sh", "ini")), *quoted(page.prose)]
    if "chat-actors" in text or "manage.py chat" in text
    for words in _commands(text)
    if words != ["…"]  # stands for any command
]


@pytest.mark.parametrize("words", [words for _, words in COMMANDS], ids=[name for name, _ in COMMANDS])
def test_every_command_exists_with_its_options(words: list[str]):
    command, rest = _find_command(words)
    options = {name for option in command.params for name in option.opts}

    is_known = not hasattr(command, "commands") or (command.invoke_without_command and rest[:1] and rest[0][0] == "-")
    assert is_known or not rest, f"there is no chat-actors {' '.join(words)}"
    # A dash alone stands for stdout.
    assert {word for word in rest if word.startswith("-") and word != "-"} <= options


def test_every_command_that_the_code_names_exists():
    named = {
        match
        for path in (ROOT / "actors", ROOT / "middleware")
        for file in path.rglob("*.py")
        for match in re.findall(r"`chat-actors ([a-z-]+)", file.read_text(encoding="utf-8"))
    }

    assert len(named) > 2
    assert {name for name in named if _find_command([name])[1]} == set()


def test_the_readme_lists_every_command():
    (listed,) = re.findall(r"^## Commands$(.+?)^## ", Page("README.md").text, re.MULTILINE | re.DOTALL)
    names = {name for row in re.findall(r"^\| (`.+?`) \|", listed, re.MULTILINE) for name in re.findall("`(.+?)`", row)}

    command: Any = typer.main.get_command(app)
    assert names == set(command.commands)


def test_every_make_target_exists():
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [text for page in PAGES for text in [*(block.text for block in page.blocks), *quoted(page.prose)]]
    named = {name for text in texts for name in re.findall(r"^(?:\w+=\S+ )?make (\w+)", text, re.MULTILINE)}

    assert {"demo", "test"} <= named <= targets


def test_the_extras_and_modules_of_the_readme_are_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"chat-actors\[([\w,]+)\]", Page("README.md").text)

    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


# -- code blocks ---------------------------------------------------------------------------------------------------


READERS = {
    "python": lambda block: compile(block.text, str(block), "exec"),
    "toml": lambda block: tomllib.loads(block.text),
    "json": lambda block: json.loads(block.text),
    "ini": lambda block: ConfigParser(strict=False, interpolation=None).read_string(block.text),
    "sh": lambda block: None,  # test_every_command_exists
    "text": lambda block: None,
}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_code_block_can_be_read(block: Block):
    READERS[block.language](block)


# -- the house -------------------------------------------------------------------------------------------------------


def test_the_picture_of_the_house_is_what_the_linter_enforces():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["containers"][0]: contract["layers"] for contract in contracts if contract["type"] == "layers"}
    (picture,) = [block for block in Page("docs/architecture.md").blocks if block.text.startswith("actors\n")]
    drawn: dict[str, list[str]] = {}
    for line in picture.text.splitlines():
        if not line.startswith(" "):
            package = drawn.setdefault(line, [])
        else:
            package.append(line.strip())

    assert drawn == layers


def test_every_test_that_a_promise_names_is_there():
    pages = [
        re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", Page(f"docs/{name}.md").text)
        for name in ("lifecycle", "sending", "gateways", "migrating")
    ]

    assert all(len(named) > 15 for named in pages)
    named = [one for page in pages for one in page]
    for path, name in named:
        assert re.search(rf"def {name}\(", (ROOT / path).read_text()), f"{path} has no {name}"
