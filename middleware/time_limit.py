"""Bound an attempt in time, and forget the bound with its thread.

Stands last in the stack of our broker. Dramatiq keeps deadlines by thread id and drops one when its message ends. A thread
that dies in between leaves its own behind; ids are used again, and minutes later the limit strikes whoever has that id now
(seen in this suite: a consumer's thread, which took the whole queue with it).
"""

import threading
from typing import Any

from dramatiq import Broker
from dramatiq.middleware import TimeLimit as DramatiqTimeLimit


class TimeLimit(DramatiqTimeLimit):
    """See :class:`dramatiq.middleware.TimeLimit`; each thread of the worker begins without a deadline."""

    def after_worker_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Drop what a dead thread of the same id left."""
        self.manager.remove_timeout(threading.get_ident())  # type: ignore[no-untyped-call]

    def after_consumer_thread_boot(self, broker: Broker, thread: Any) -> None:
        """Drop what a dead thread of the same id left."""
        self.manager.remove_timeout(threading.get_ident())  # type: ignore[no-untyped-call]
