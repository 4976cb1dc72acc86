"""The few names that Dramatiq's tests import from a ``common`` of their own, which its source distribution lacks."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dramatiq import Worker


@contextmanager
def worker(*args: Any, **kwargs: Any) -> Iterator[Worker]:
    """A worker that runs inside the block."""
    running = Worker(*args, **kwargs)
    running.start()
    try:
        yield running
    finally:
        running.stop()


skip_in_ci = pytest.mark.skipif(False, reason="they run everywhere")
skip_on_pypy = pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="needs CPython")
