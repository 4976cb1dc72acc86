"""A server that knows no script flags: every thread learns it by itself, whoever was first."""

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.scripts import Scripts


class OldServer:
    """Redis 6.2 as far as script texts go; ``meanwhile`` runs while the first refusal is on its way."""

    def __init__(self) -> None:
        self.meanwhile: list[Any] = []
        self.texts: list[bool] = []

    def run(self, commands: Sequence[bytes]) -> list[Any]:
        return [self.ask(command) for command in commands]

    def ask(self, command: bytes) -> Any:
        if b"EVALSHA" in command:
            return redis.exceptions.NoScriptError("No matching script")
        flagged = b"#!lua" in command
        self.texts.append(flagged)
        if not flagged:
            return [b"ran"]
        if self.meanwhile:
            self.meanwhile.pop()()
        return redis.ResponseError("Error compiling script (new function): user_script:1: unexpected symbol near '#'")


@pytest.fixture
def server() -> OldServer:
    return OldServer()


@pytest.fixture
def scripts(server: OldServer) -> Scripts:
    scripts = Scripts(redis.Redis(), Keys("test:flags"))
    scripts.pipe = server
    return scripts


def test_a_refused_flag_is_left_out_from_then_on(server, scripts):
    assert scripts.run("stats", "work", doing="reading") == [b"ran"]
    assert scripts.run("stats", "work", doing="reading") == [b"ran"]

    assert server.texts == [True, False, False]


def test_a_thread_whose_text_was_under_way_when_another_learned_it_asks_again_too(server, scripts):
    server.meanwhile.append(lambda: scripts.run("tend", "work", doing="tending"))

    assert scripts.run("stats", "work", doing="reading") == [b"ran"]

    assert server.texts == [True, True, False, False]
