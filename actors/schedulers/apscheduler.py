"""Scheduler ``apscheduler``: a thread in every worker process. The tick script lets only one of them send a slot.

Started by ``base.prepare``. APScheduler keeps the time; when an entry is due comes from its own grid (``middleware.slots``),
because ``CronTrigger.from_crontab`` takes 0 for Monday. A tick sends what is due, also what was missed while no process ran,
the process slept or Redis was away, as the entry's ``catch_up`` has it.
"""

import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from actors.schedule import Entry
from actors.schedulers.base import AGAIN_MS, Fire, Running, Sender
from middleware.clock import Clock
from middleware.slots import Cron

#: A tick this early still means the slot ahead of it, in milliseconds: clocks are set back by a little now and then.
EARLY_MS = 500


class GridTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no types
    """Fires at the slots of a cron line."""

    def __init__(self, cron: Cron) -> None:
        self.cron = cron

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """First slot after the one before, or after now."""
        after = previous_fire_time or now
        return datetime.fromtimestamp(self.cron.after(int(after.timestamp() * 1000)) / 1000, tz=UTC)


class Ticking:
    """The scheduler of this process: see :class:`actors.schedulers.base.Running`."""

    def __init__(self, fire: Fire, clock: Clock, *, again_ms: int = AGAIN_MS) -> None:
        self.clock = clock
        self.again_ms = again_ms
        self._sender = Sender(fire)
        # One thread is enough for all entries; late ticks run (no grace), and those that piled up run as one. A second
        # instance may be waiting: a tick that failed is due again while it still counts as running.
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            daemon=True,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 2},
        )

    def start(self, schedule: tuple[Entry, ...]) -> None:
        """Begin; every entry ticks at once, which sends what nobody sent while no process ran."""
        for entry in schedule:
            self._scheduler.add_job(
                self.tick, GridTrigger(entry.cron), args=(entry,), id=entry.actor, next_run_time=_in_ms(0)
            )
        self._scheduler.start()

    def stop(self) -> None:
        """See :meth:`actors.schedulers.base.Running.stop`."""
        self._sender.stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def tick(self, entry: Entry) -> None:
        """Send what an entry owes; on failure, come again."""
        if not self._sender.send_due(entry, self.clock.now_ms() + EARLY_MS):
            # No job of its own: APScheduler's thread dies of removing one while it is stopped.
            with suppress(JobLookupError):
                self._scheduler.modify_job(entry.actor, next_run_time=_in_ms(self.again_ms))


def _in_ms(delay_ms: int) -> datetime:
    # In APScheduler's own time, which is always the machine's.
    return datetime.now(UTC) + timedelta(milliseconds=delay_ms)


def start(schedule: tuple[Entry, ...], fire: Fire, clock: Clock) -> Running:
    """Start ticking in a thread of this process: see :class:`actors.schedulers.base.Start`."""
    engine = logging.getLogger("apscheduler")
    if engine.level == logging.NOTSET:
        # At its own level it says four lines a minute in every process; what was sent is in our log.
        engine.setLevel(logging.WARNING)
    ticking = Ticking(fire, clock)
    ticking.start(schedule)
    return ticking
