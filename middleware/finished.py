"""One line in the log for each message that is over: done, or given up.

Ids, times and what it came to; nothing of what it says. Stands in the stack above ``Retries``. What goes back into the queue is told
by ``Retries`` itself.
"""

import logging
from typing import Any

from dramatiq import Broker, MessageProxy, Middleware

from middleware.clock import Clock, SystemClock
from middleware.outcomes import Dead
from middleware.trace_context import trace_id_of

logger = logging.getLogger(__name__)


class FinishedLog(Middleware):
    """Writes ``message.finished`` (docs/events.md)."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Its last attempt may begin."""
        message.logged_boot_ms = self.clock.boot_ms()  # type: ignore[attr-defined]  # rides on the message to the hook below

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Write the line, if it is over."""
        outcome = getattr(message, "outcome", None)
        reason = outcome.reason if isinstance(outcome, Dead) else None
        if reason is None and (exception is not None or outcome is not None):
            return
        if not logger.isEnabledFor(logging.INFO):
            return
        # Not through the proxy, whose every attribute costs a tenth of the line.
        inner = message._message
        options = inner.options
        logger.info(
            "message.finished",
            extra={
                "job_id": inner.message_id,
                "actor": inner.actor_name,
                "queue": inner.queue_name,
                "outcome": "done" if reason is None else "dead",
                "code": reason,
                "unique_key": options.get("unique_key"),
                "lane": options.get("lane"),
                "instance": options.get("group"),
                "attempt": int(options.get("retries", 0)) + (1 if reason is None else 0),
                "duration_ms": self.clock.boot_ms() - getattr(message, "logged_boot_ms", self.clock.boot_ms()),
                "age_ms": max(0, self.clock.now_ms() - inner.message_timestamp),
                "trace_id": trace_id_of(options),
            },
        )
