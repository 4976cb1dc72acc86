"""Bound an attempt in time, and forget the bound with its thread.

Stands last in the stack of our broker. Dramatiq keeps deadlines by thread id and drops one when its message ends. A thread
that dies in between leaves its own behind; ids are used again, and minutes later the limit strikes whoever has that id now
(seen in this suite: a consumer's thread, which took the whole queue with it).

A limit may also strike when the attempt is over and its failure is being logged. Dramatiq catches nothing there: the thread
died, and a process that has lost its threads keeps what it was handed for ever. Here it works on; the message is settled.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from dramatiq import Broker
from dramatiq.middleware import TimeLimit as DramatiqTimeLimit
from dramatiq.middleware import TimeLimitExceeded

logger = logging.getLogger(__name__)


class TimeLimit(DramatiqTimeLimit):
    """See :class:`dramatiq.middleware.TimeLimit`; each thread of the worker begins without a deadline."""

    #: Asked by the broker: what is added later comes before it, else the limit could pass in a hook of that. Struck there while
    #: a failure is told of, a thread dies, and what is handed to it later waits for ever.
    stands_last = True

    def after_worker_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Drop what a dead thread of the same id left, and keep this one alive."""
        self.manager.remove_timeout(threading.get_ident())  # type: ignore[no-untyped-call]
        if hasattr(thread, "process_message"):
            thread.process_message = _outliving_limits(thread.process_message)

    def after_consumer_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Drop what a dead thread of the same id left."""
        self.manager.remove_timeout(threading.get_ident())  # type: ignore[no-untyped-call]


def _outliving_limits(process: Callable[[Any], None]) -> Callable[[Any], None]:
    def process_message(message: Any) -> None:
        try:
            process(message)
        except TimeLimitExceeded:
            logger.warning("worker.limit_came_late", extra={"job_id": message.message_id, "actor": message.actor_name})

    return process_message
