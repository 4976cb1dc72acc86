"""Child processes of the demo: they end with it, and nothing of theirs stays, however it ends.

``demo_world`` starts them. On Linux the kernel ends each child when the demo dies; a janitor, which nothing but the end of the
demo wakes, then removes the directory.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

from middleware.brokers.redis.embedded import ending_with_us
from middleware.clock import SystemClock
from middleware.errors import Described

#: Longest wait for a started process to do its part, in seconds: 2 s are usual, a loaded machine needs more.
READY_WITHIN_S = 45.0
#: Longest wait for an orderly end before a process is killed, in seconds.
STOP_WITHIN_S = 10.0
#: Pause between two looks at a process, in seconds.
LOOK_EVERY_S = 0.05
#: Last lines of a log that an error quotes.
_TAIL_LINES = 12
#: Variables that say where messages go: a developer's own must not decide it here.
_OWN_VARIABLES = ("CHAT_", "CHATSITE_", "DJANGO_", "REDIS_", "SENTRY_", "PYTHONPATH")

# The demo holds the other end of its input: that ends with the demo, even with kill -9. What writes into the directory may
# take a moment to end.
_JANITOR = """
import os, shutil, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.stdin.buffer.read()
for _ in range(100):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.exists(sys.argv[1]):
        break
    time.sleep(0.2)
"""


class DemoFailed(Described):
    """The demo could not be carried out; that says nothing about the promises."""

    code = "demo_failed"


class Child:
    """One process, its output in the file ``log``, its complaints beside it in ``….err``."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self.errors = log.with_suffix(".err")
        # Its own session: a Ctrl-C at the terminal is for the demo, which still needs its children to end in order.
        with log.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and this project's commands
                ending_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=dict(environment),
                cwd=log.parent,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def until(self, is_ready: Callable[[], Any], *, within_s: float = READY_WITHIN_S) -> Any:
        """First true value of ``is_ready``.

        Raises:
            DemoFailed: the process ended, or the time is up; the text has the end of its log.
        """
        clock, never = SystemClock(), threading.Event()
        end_ms = clock.boot_ms() + int(within_s * 1000)
        while True:
            if value := is_ready():
                return value
            if not self.is_running:
                raise DemoFailed(f"{self.name} ended with {self.process.returncode}; its log ends:\n{self.tail()}")
            if clock.boot_ms() > end_ms:
                raise DemoFailed(f"{self.name} was not ready within {within_s:.0f} s; its log ends:\n{self.tail()}")
            clock.wait(LOOK_EVERY_S, until=never)

    def finish(self, *, within_s: float = READY_WITHIN_S) -> str:
        """Its output once it has ended well.

        Raises:
            DemoFailed: it ended otherwise.
        """
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.stop()
            raise DemoFailed(f"{self.name} took longer than {within_s:.0f} s; its log ends:\n{self.tail()}") from None
        if code != 0:
            raise DemoFailed(f"{self.name} ended with {code}; its log ends:\n{self.tail()}")
        return self.log.read_text(errors="replace")

    def tail(self) -> str:
        """The last lines of its complaints, else of its output."""
        texts = [path.read_text(errors="replace").strip() for path in (self.errors, self.log)]
        return "\n".join((texts[0] or texts[1]).splitlines()[-_TAIL_LINES:])

    def stop(self) -> None:
        """End it in order, by force when that takes too long. Repeatable."""
        if self.is_running:
            self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Workplace:
    """A directory that is gone when the demo is; a context manager."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="chat-demo-"))
        self._janitor = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-I", "-S", "-c", _JANITOR, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._janitor.stdin is not None:
            self._janitor.stdin.close()
        self._janitor.wait()


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: this process's, without settings of the machine's owner, with ``settings``."""
    inherited = os.environ.items()  # noqa: TID251 - handed on, not read
    kept = {name: value for name, value in inherited if not name.startswith(_OWN_VARIABLES)}
    return {**kept, **settings}


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Interrupted(BaseException):
    """SIGTERM or SIGHUP: end as after a Ctrl-C. Not an ``Exception``, so that nothing on the way takes it for a failure."""


@contextmanager
def interruptible() -> Any:
    """Turn SIGTERM, SIGHUP and SIGINT into exceptions, so that every ``with`` on the way cleans up."""

    def on_signal(number: int, _: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGHUP)}
    # Python ignores it in a process that a script started in the background.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Any:
    """Let no signal break off what must be done to the end; what it does is bounded."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
