"""The errors of the carrier, classed by what to do next.

Every part of both packages raises from this tree; ``actors.errors`` grows its chat branch from :class:`Described`.

    Described                      text of our own: ids and advice, never content; safe to log, store and report
    ├── PipelineError              the carrier could not do its part
    │   ├── QueueUnavailable       Redis did not answer in time; nothing is known to be enqueued
    │   ├── QueueFull              Redis is at maxmemory and refuses new messages
    │   └── QueueRefused           Redis answered and refuses: read-only replica, missing right, failed snapshot
    └── (Snooze)                   put back without using an attempt; a mixin, also raised alone
    Refusal (SystemExit)           the process must not start; carries a documented exit code
"""

from enum import IntEnum
from typing import ClassVar

from dramatiq.errors import BrokerConnectionError


class Described(Exception):
    """An error whose text this project wrote.

    Only such text reaches rows, logs, dead letters and Sentry: the text of a foreign exception may quote a row
    (a database's "Failing row contains …"), hence a chat message.

    Attributes:
        code: stable reason; the dead letter's ``reason``, the Sentry fingerprint, the row in docs/errors.md.
        permanent: True when another attempt can never succeed.
        max_attempts: attempts this error class is worth, or None for the actor's own limit.
    """

    code: ClassVar[str] = "error"
    permanent: ClassVar[bool] = False
    max_attempts: ClassVar[int | None] = None
    #: Wait before the next attempt when the failing side named one, in milliseconds; None leaves it to backoff.
    delay_ms: int | None = None


class PipelineError(Described):
    """The carrier could not do its part."""

    code = "pipeline"


class _QueueError(PipelineError, BrokerConnectionError):
    """Base of what Dramatiq's worker must take for a lost connection: it then keeps retrying an acknowledgement."""

    def __init__(self, message: str) -> None:
        BrokerConnectionError.__init__(self, message)  # type: ignore[no-untyped-call]
        self.args = (message,)


class QueueUnavailable(_QueueError):
    """Redis did not answer in time; nothing is known to be enqueued."""

    code = "queue_unavailable"


class QueueFull(_QueueError):
    """Redis is at ``maxmemory`` and refuses new messages."""

    code = "queue_full"


class QueueRefused(_QueueError):
    """Redis answered and refuses: a read-only replica, a missing right, a failed snapshot."""

    code = "queue_refused"


class Snooze(Described):
    """Put the message back for ``delay_ms`` without using an attempt.

    It keeps its place in its lane, unless it ``yields``: then it goes behind the others, because one of them must run first.
    """

    code = "snoozed"
    yields: bool = False

    def __init__(self, message: str = "put back", *, delay_ms: int, yields: bool = False) -> None:
        super().__init__(message)
        self.delay_ms = delay_ms
        self.yields = yields


class ExitCode(IntEnum):
    """What a process of this project ends with; documented in docs/exit-codes.md."""

    #: It did what was asked.
    OK = 0
    #: A check or the demo found something broken, or an error that nobody foresaw.
    FAILED = 1
    #: The command line was wrong.
    USAGE = 2
    #: Settings are missing or wrong; every fault was printed.
    SETTINGS = 64
    #: Redis, the store or the gateway could not be reached.
    UNAVAILABLE = 69
    #: The queue connection is not on the pinned database.
    WRONG_DATABASE = 78
    #: Something that would lose messages: eviction, replica, foreign data under our names.
    UNSAFE = 79
    #: Stopped by Ctrl-C, or the answer to a question was no.
    INTERRUPTED = 130


class Refusal(SystemExit):
    """The process must not start.

    A ``SystemExit``, because Dramatiq swallows every other exception of a boot hook and then says "ready".
    """

    def __init__(self, exit_code: ExitCode, reason: str) -> None:
        super().__init__(int(exit_code))
        self.reason = reason

    def __str__(self) -> str:
        return self.reason
