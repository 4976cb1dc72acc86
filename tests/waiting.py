"""Wait for a fact, never for a time: the only place of the suite that sleeps.

Tests import :func:`until` and :func:`stays`.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Pause between two looks, in milliseconds.
POLL_MS = 10


def until(predicate: Callable[[], T], *, within_ms: int, poll_ms: int = POLL_MS) -> T:
    """First truthy value of ``predicate``; it is looked at least once, and once more at the end.

    Raises:
        AssertionError: it was still false after ``within_ms``; the text shows its last value.
    """
    end_s = time.monotonic() + within_ms / 1000
    while True:
        last_look = time.monotonic() >= end_s
        value = predicate()
        if value:
            return value
        if last_look:
            raise AssertionError(f"still {value!r} after {within_ms} ms: {_name(predicate)}")
        time.sleep(poll_ms / 1000)


def stays(predicate: Callable[[], object], *, for_ms: int, poll_ms: int = POLL_MS) -> None:
    """Watch that ``predicate`` holds from now on for ``for_ms``: for promises that something does not happen.

    Raises:
        AssertionError: it was false at one of the looks.
    """
    begin_s = time.monotonic()
    while True:
        elapsed_ms = (time.monotonic() - begin_s) * 1000
        if not predicate():
            raise AssertionError(f"no longer true after {elapsed_ms:.0f} of {for_ms} ms: {_name(predicate)}")
        if elapsed_ms >= for_ms:
            return
        time.sleep(poll_ms / 1000)


def _name(predicate: Callable[[], object]) -> str:
    code = getattr(predicate, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(predicate)
