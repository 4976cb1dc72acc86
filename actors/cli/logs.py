"""The log of a worker: one line per record, the event and what it is about; no text that is not ours.

``chat-actors worker`` sets it up in the launcher and, through it, in every worker process. A host that runs ``dramatiq actors``
keeps its own logging.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from middleware.errors import Described

#: Loggers whose extra fields are shown: they hold ids, names, codes and numbers only (docs/events.md). A host's may hold anything.
OURS = ("actors.", "middleware.")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
#: These write a line per request, with its URL.
_CHATTY = ("httpx", "httpcore", "apscheduler")

_Error = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(form: str, level: str) -> None:
    """Write the log to stderr: ``form`` is ``text`` or ``json``, ``level`` the least that is shown."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


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
        line = f"{at} {record.levelname:<7} {record.process} {record.getMessage()}{pairs}"
        # Not logging's own: that would keep the text for other handlers in the record.
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(_Careful):
    """One object per line: ``at``, ``level``, ``pid``, ``logger``, ``event``, the fields, ``error`` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        found: dict[str, Any] = {
            "at": _moment(record),
            "level": record.levelname.lower(),
            "pid": record.process,
            "logger": record.name,
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False, default=str)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
