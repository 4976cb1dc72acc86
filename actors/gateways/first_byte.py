"""What is asked just before the first byte of a request leaves, in the thread that sends it.

``actors.delivery`` says what (whether enough of the lease is left), ``sockets`` asks it: between the claim and that byte a gateway
may ask a version, upload a file and open a connection, and a process may stand still for minutes.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Asked(threading.local):
    check: Callable[[], None] | None = None


_asked = _Asked()


@contextmanager
def before_first_byte(check: Callable[[], None]) -> Iterator[None]:
    """Have ``check`` called in this thread before the first byte of each request within; what it raises ends the request unsent."""
    before, _asked.check = _asked.check, check
    try:
        yield
    finally:
        _asked.check = before


def first_byte() -> None:
    """A byte is about to leave.

    Raises: whatever the check of this thread does.
    """
    if _asked.check is not None:
        _asked.check()
