"""The errors of the carrier, classed by what to do next.

Every part of both packages raises from this tree; ``actors.errors`` grows its chat branch from :class:`Described`.

    Described                      text of our own: ids and advice, never content; safe to log, store and report
    ├── PipelineError              the carrier could not do its part
    │   ├── QueueUnavailable       Redis did not answer in time; nothing is known to be enqueued
    │   ├── QueueFull              Redis is at maxmemory and refuses new messages
    │   ├── QueueRefused           Redis answered and refuses: read-only replica, missing right, failed snapshot
    │   └── NotAllSent             of many messages some are not known to be enqueued
    └── (Snooze)                   put back without using an attempt; a mixin, also raised alone
    Refusal (SystemExit)           the process must not start; carries a documented exit code
"""

from enum import IntEnum
from typing import Any, ClassVar

from dramatiq import Message
from dramatiq.errors import BrokerConnectionError


class Described(Exception):
    """An error whose text this project wrote.

    Only such text reaches rows, logs, dead letters and Sentry: the text of a foreign exception may quote a row
    (a database's "Failing row contains …"), hence a chat message.

    Attributes:
        code: stable reason; the dead letter's ``reason``, the Sentry fingerprint, the row in docs/errors.md.
        permanent: True when another attempt can never succeed.
        holds_lane: True when its dead letter keeps the rest of its lane waiting for a person.
        max_attempts: how often this cause may be met, or None for the actor's own limit alone.
        needs_another: True when only another run can tell what became of this one; whoever raises it ends that by itself. An
            error of any class gets it by :func:`ask_for_another`.
    """

    code: ClassVar[str] = "error"
    permanent: ClassVar[bool] = False
    holds_lane: ClassVar[bool] = False
    max_attempts: ClassVar[int | None] = None
    needs_another: ClassVar[bool] = False
    #: Wait before the next attempt when the failing side named one, in milliseconds; None leaves it to backoff.
    delay_ms: int | None = None


def ask_for_another(error: BaseException) -> None:
    """Have another run after ``error``, also when it was the last attempt: only that can tell what became of this one."""
    error.needs_another = True  # type: ignore[attr-defined]  # a foreign error keeps its class, which says what to mend


def needs_another(error: BaseException) -> bool:
    """Whether only another run can tell what became of the one that ``error`` ended."""
    return bool(getattr(error, "needs_another", False))


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


class NotAllSent(_QueueError):
    """Of many messages some are not known to be enqueued; the cause says why.

    Attributes:
        sent: those that are.
        unsent: the others, in their order; with a unique key they may be sent again without harm.
    """

    code = "not_all_sent"

    def __init__(self, message: str, *, sent: "list[Message[Any]]", unsent: "list[Message[Any]]") -> None:
        super().__init__(message)
        self.sent = sent
        self.unsent = unsent


class Snooze(Described):
    """Put the message back for ``delay_ms`` without using an attempt.

    It keeps its place in its lane, unless it ``yields``: then it goes behind the others, because one of them must run first.

    Attributes:
        group_for_ms: nobody of its group shall start for so long.
        unspent: it did nothing with its turn, so the pace of its group does not count it.
        renews: a step of it is done; what follows has all attempts before it.
    """

    code = "snoozed"
    yields: bool = False
    group_for_ms: int = 0
    unspent: bool = False
    renews: bool = False

    def __init__(self, message: str = "put back", *, delay_ms: int, yields: bool = False, renews: bool = False) -> None:
        super().__init__(message)
        self.delay_ms = delay_ms
        self.yields = yields
        self.renews = renews


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
    #: A file is not what it should be: no backup, half of one, or one for another key.
    BAD_FILE = 65
    #: Redis, the store or the gateway could not be reached.
    UNAVAILABLE = 69
    #: A file cannot be written or read: a full disk, no right, it is there already.
    DISK = 74
    #: Somebody else is doing it right now.
    BUSY = 75
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
