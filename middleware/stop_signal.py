"""Signals as something that a main thread waits for."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType


class StopSignal:
    """Waits for one of ``numbers``; use it in the main thread.

    A pipe and not an event: handlers run in the main thread between any two of its instructions, also while it, or an earlier
    handler, holds the lock inside the event. ``threading.Event.set`` then waits for itself.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)

    def listen(self) -> None:
        """Take the signals, whoever has them. Repeatable."""
        for number in self._numbers:
            signal.signal(number, self._on_signal)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        # Full means that it was told often enough.
        with contextlib.suppress(BlockingIOError):
            os.write(self._write_fd, b"1")

    def wait(self) -> None:
        """Return at the first signal, also one that came before."""
        os.read(self._read_fd, 1)


@contextlib.contextmanager
def as_bytes(*numbers: signal.Signals) -> Iterator[int]:
    """File descriptor that yields the number of each signal that came, as one byte."""
    read_fd, write_fd = os.pipe()
    for fd in (read_fd, write_fd):
        os.set_blocking(fd, False)
    # A handler must be there for the interpreter to write to the descriptor; it has nothing to do itself.
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    before_fd = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    try:
        yield read_fd
    finally:
        signal.set_wakeup_fd(before_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_fd)
        os.close(write_fd)
