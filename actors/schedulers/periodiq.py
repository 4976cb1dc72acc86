"""Scheduler ``periodiq``: its own process, ``periodiq actors``, of which any number may run.

``actors`` calls :func:`attach` when it is imported. periodiq asks an actor's option ``periodic`` whether it is due; ours
answers from the schedule, because periodiq's own cron never fires on Sundays, cannot read ``sat-sun`` and knows only the time
zone of its process. Its middleware is not used: it drops runs that start late, retries among them, as if they were done.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from dramatiq import Broker

from actors import services
from actors.schedule import PERIODIC_ACTORS, entry_of
from actors.schedulers.base import Fire, Nothing, Running
from middleware.clock import Clock
from middleware.slots import Cron

logger = logging.getLogger(__name__)


class Periodic:
    """When an actor is due, in the form that periodiq asks for. Settings are read at the first question."""

    def __init__(self, actor_name: str) -> None:
        self.actor_name = actor_name

    def __str__(self) -> str:
        return str(self._cron)

    def validate(self, date: datetime) -> bool:
        """Whether the minute of an aware ``date`` is due."""
        return self._cron.matches(date)

    def next_valid_date(self, last: datetime) -> datetime:
        """First due minute after ``last``."""
        return datetime.fromtimestamp(self._cron.after(int(last.timestamp() * 1000)) / 1000, tz=UTC)

    @property
    def _cron(self) -> Cron:
        return entry_of(self.actor_name, services.settings()).cron


def attach(broker: Broker) -> None:
    """Give the actors of the schedule their option ``periodic``. Repeatable; reads no setting."""
    for actor_name in PERIODIC_ACTORS:
        broker.get_actor(actor_name).options.setdefault("periodic", Periodic(actor_name))


def start(schedule: tuple[Any, ...], fire: Fire, clock: Clock) -> Running:
    """Start nothing here: see :class:`actors.schedulers.base.Start`. The log says who must run."""
    logger.info("scheduler.external: run `periodiq actors` beside the workers")
    return Nothing()
