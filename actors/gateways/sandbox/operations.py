"""The form of one route of Evolution: what is asked, what is checked first, what answers.

``sends`` and ``lookups`` list theirs, ``evolution`` joins the lists; another file adds its own list there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.replies import Reply
from actors.gateways.sandbox.state import State


def takes_all(_: Call) -> None:
    """The check of a route that has none."""


def of_body(check: Callable[[dict[str, Any]], None]) -> Callable[[Call], None]:
    """The check of a route whose body alone is looked at."""
    return lambda call: check(call.fields)


@dataclass(frozen=True, slots=True)
class Operation:
    """``<method> /<group>/<op>/<instance>``.

    ``check`` raises ``Refused`` for what schema and controller refuse. ``unloaded`` is the function that Evolution misses
    while the instance is not in memory, the text of its 500; empty where it answers all the same.
    """

    op: str
    method: str
    group: str
    answer: Callable[[State, Call], Reply]
    check: Callable[[Call], None] = takes_all
    unloaded: str = ""
    is_send: bool = False
