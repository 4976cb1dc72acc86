"""The log of a worker: one line per record, the event and what it is about; no text that is not ours.

``chat-actors worker`` sets it up in the launcher and, through it, in every worker process. A host that runs ``dramatiq actors``
keeps its own logging.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

from middleware.clock import Clock, SystemClock
from middleware.errors import Described

#: Loggers whose extra fields are shown: they hold ids, names, codes and numbers only (docs/events.md). A host's may hold anything.
OURS = ("actors.", "middleware.")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
#: These write a line per request, with its URL.
_CHATTY = ("httpx", "httpcore", "apscheduler")

#: Records are written together so long after the first, in seconds.
BATCH_S = 0.1
_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode

_Error = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(form: str, level: str) -> None:
    """Write the log to stderr: ``form`` is ``text`` or ``json``, ``level`` the least that is shown."""
    handler = Batches(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    # What no line of ours shows is not asked for (Python's own advice): it is half the cost of a record.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


class Batches(logging.Handler):
    """Writes records together, many at a time, from a thread of its own; a warning, and all before it, at once.

    With a lock and a write for each line eight busy threads wait for one another: a line then costs a process four times what it
    costs alone (docs/events.md has the figures). What a process logged below a warning in its last tenth of a second is lost with
    ``kill -9``; an ordinary end writes all.
    """

    def __init__(self, stream: TextIO, *, clock: Clock | None = None) -> None:
        super().__init__()
        self.stream = stream
        self.clock = clock or SystemClock()
        self._records: deque[logging.LogRecord] = deque()
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def createLock(self) -> None:  # noqa: N802  # logging's name
        """None: a deque is appended to by many threads as it is."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        if record.args:
            # What is shown is what they say now.
            record.msg, record.args = record.getMessage(), None
        self._records.append(record)
        if record.levelno >= logging.WARNING or self._stopping.is_set():
            self.flush()
        elif not self._wanted.is_set():
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            self.clock.wait(BATCH_S, until=self._stopping)
            # Before the records are taken: who comes later asks again.
            self._wanted.clear()
            self.flush()

    def flush(self) -> None:
        """Write all that is there."""
        with self._writing:
            lines: list[str] = []
            while self._records:
                record = self._records.popleft()
                try:
                    lines.append(self.format(record))
                except Exception:
                    self.handleError(record)
            if lines:
                try:
                    self.stream.write("\n".join(lines) + "\n")
                    self.stream.flush()
                except (OSError, ValueError):
                    # Nobody reads any more, or the disk is full; work goes on.
                    return

    def close(self) -> None:
        """Write all that is there, and from now on each record at once."""
        self._stopping.set()
        self._wanted.set()
        self.flush()
        super().close()


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What a record is about: the fields that our own code gave it."""
    if not record.name.startswith(OURS):
        return {}
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}


class _Careful(logging.Formatter):
    """Shows where an error came from, and its text only when it is ours: a foreign one may quote a chat message."""

    def formatException(self, ei: _Error) -> str:  # noqa: N802  # logging's name
        _, error, frames = ei
        text = f": {error}" if isinstance(error, Described) else ""
        return "".join(traceback.format_tb(frames)) + f"{type(error).__name__}{text}"


class TextLines(_Careful):
    """``2026-11-24T03:14:15.926Z INFO    1234 message.sent chat_message_id=… instance=…``."""

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        at = _moment(record).replace("+00:00", "Z")
        pairs = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        line = f"{at} {record.levelname:<7} {_pid_of(record)} {record.getMessage()}{pairs}"
        # Not logging's own: that would keep the text for other handlers in the record.
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(_Careful):
    """One object per line: ``at``, ``level``, ``pid``, ``logger``, ``event``, the fields, ``error`` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        found: dict[str, Any] = {
            "at": _moment(record),
            "level": record.levelname.lower(),
            "pid": _pid_of(record),
            "logger": record.name,
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        return _to_json(found)


def _pid_of(record: logging.LogRecord) -> int:
    return record.process or os.getpid()


def _moment(record: logging.LogRecord) -> str:
    second, rest = divmod(record.created, 1)
    return f"{_second(int(second))}.{int(rest * 1000):03}+00:00"


@lru_cache(maxsize=4)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
