"""Check-ins of periodic messages for Sentry's Crons: begun, ended well, given up.

Stands in the stack; who runs the schedule says which actors have a monitor (:meth:`SentryCrons.watch`). A run of a slot is one
check-in, through its retries, on whatever worker they run. Sentry itself notices a slot that never came, also when no worker
is left that could say so.

Source: https://docs.sentry.io/platforms/python/crons (2026-11).
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from dramatiq import Broker, MessageProxy, Middleware

from middleware.clock import Clock, SystemClock
from middleware.letters import DeadLetter
from middleware.outcomes import Dead, PutBack, Retry
from middleware.sentry_client import check_in, sdk
from middleware.slots import MINUTE_MS, Cron

logger = logging.getLogger(__name__)

_CHECK_INS = UUID("2c0f6a1e-58a4-5b0e-9a43-0f2b7f4c1d90")
#: Longest name of a monitor that Sentry takes, in characters.
MAX_SLUG_CHARS = 50
#: A slot may begin this late before Sentry calls it missed, in minutes: a rolling deploy, a queue that is busy.
MARGIN_MIN = 5
#: Slots in a row that must fail before Sentry tells a person, of actors that come at least every :data:`OFTEN_MS`.
OFTEN_FAILURES = 3
OFTEN_MS = 10 * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """A periodic actor as Sentry shall watch it. ``max_runtime_ms``: a run that takes longer counts as failed."""

    slug: str
    cron: Cron
    max_runtime_ms: int

    def config(self, now_ms: int) -> dict[str, Any]:
        """What Sentry makes, or keeps, its monitor by."""
        slot_ms = self.cron.after(now_ms)
        is_often = self.cron.after(slot_ms) - slot_ms <= OFTEN_MS
        return {
            "schedule": {"type": "crontab", "value": self.cron.line},
            "timezone": self.cron.time_zone,
            "checkin_margin": MARGIN_MIN,
            "max_runtime": max(1, math.ceil(self.max_runtime_ms / MINUTE_MS)),
            "failure_issue_threshold": OFTEN_FAILURES if is_often else 1,
            "recovery_threshold": 1,
        }


def slug_of(prefix: str, actor_name: str) -> str:
    """Name of an actor's monitor: lower case, digits and dashes."""
    text = f"{prefix}-{actor_name}".lower()
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in text)[:MAX_SLUG_CHARS].strip("-")


def _is_slot(options: Mapping[str, Any]) -> bool:
    return options.get("tick") is not None


class SentryCrons(Middleware):
    """Says what became of each slot. Raises nothing: Sentry must not decide whether a sweep runs."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._monitors: Mapping[str, Monitor] = {}

    def watch(self, monitors: Mapping[str, Monitor]) -> None:
        """Check in for these actors, by name, and for no other."""
        self._monitors = dict(monitors)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """The first attempt has begun."""
        options = message.options
        if _is_slot(options) and not options.get("retries") and not options.get("put_backs"):
            self._check_in(message.actor_name, message.message_id, "in_progress")
        message.began_boot_ms = self.clock.boot_ms()  # type: ignore[attr-defined]  # rides on the message to the hook below

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """It is over, unless it comes again. Of one that was given up its dead letter tells, see :meth:`tell`."""
        outcome = getattr(message, "outcome", None)
        if not _is_slot(message.options) or isinstance(outcome, Retry | PutBack | Dead):
            return
        took_ms = self.clock.boot_ms() - getattr(message, "began_boot_ms", self.clock.boot_ms())
        status = "ok" if exception is None else "error"
        self._check_in(message.actor_name, message.message_id, status, duration_s=took_ms / 1000)

    def tell(self, letter: DeadLetter) -> None:
        """A slot was given up; for who announces dead letters, because one may die where no hook runs."""
        if letter.actor is not None and letter.job_id is not None and _is_slot(letter.options):
            self._check_in(letter.actor, letter.job_id, "error")

    def _check_in(self, actor_name: str, job_id: str, status: str, *, duration_s: float | None = None) -> None:
        monitor = self._monitors.get(actor_name)
        if monitor is None or sdk() is None:
            return
        try:
            check_in(
                monitor_slug=monitor.slug,
                # The same for all that is said of one slot, by whichever process.
                check_in_id=uuid5(_CHECK_INS, job_id).hex,
                status=status,
                duration=duration_s,
                monitor_config=monitor.config(self.clock.now_ms()),
            )
        except Exception as error:
            logger.warning("sentry.check_in_failed", extra={"actor": actor_name, "code": type(error).__name__})
