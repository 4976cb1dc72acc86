"""Scheduler ``periodiq``: its own process, ``periodiq actors``, of which any number may run.

``actors`` calls :func:`attach` when it is imported. periodiq asks an actor's option ``periodic`` whether it is due; ours
answers from the schedule, because periodiq's own cron never fires on Sundays, cannot read ``sat-sun`` and knows only the time
zone of its process. Its middleware is not used: it drops runs that start late, retries among them, as if they were done.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from dramatiq import Broker

from actors import services
from actors.errors import SettingsError
from actors.schedule import PERIODIC_ACTORS, entry_of
from actors.schedulers.base import Fire, Nothing, Running
from middleware.brokers.redis import connections
from middleware.brokers.redis.broker import CarrierBroker
from middleware.clock import Clock
from middleware.errors import ExitCode, Refusal
from middleware.slots import Cron

logger = logging.getLogger(__name__)


class Periodic:
    """When an actor is due, in the form that periodiq asks for.

    Settings are read at the first question; there ``refuse`` ends a process that could send nothing.
    """

    def __init__(self, actor_name: str, *, refuse: Callable[[], None] = lambda: None) -> None:
        self.actor_name = actor_name
        self.refuse = refuse

    def __str__(self) -> str:
        try:
            return str(self._cron)
        except SettingsError:
            # periodiq shows its schedule before it asks anything.
            self.refuse()
            raise

    def validate(self, date: datetime) -> bool:
        """Whether the minute of an aware ``date`` is due."""
        self.refuse()
        return self._cron.matches(date)

    def next_valid_date(self, last: datetime) -> datetime:
        """First due minute after ``last``."""
        return datetime.fromtimestamp(self._cron.after(int(last.timestamp() * 1000)) / 1000, tz=UTC)

    @property
    def _cron(self) -> Cron:
        return entry_of(self.actor_name, services.settings()).cron


def attach(broker: Broker) -> None:
    """Give the actors of the schedule their option ``periodic``. Repeatable; reads no setting."""
    refuse = _refuse_once(broker)
    for actor_name in PERIODIC_ACTORS:
        broker.get_actor(actor_name).options.setdefault("periodic", Periodic(actor_name, refuse=refuse))


def _refuse_once(broker: Broker) -> Callable[[], None]:
    """What periodiq has no boot hook for: a refusal with its documented exit code (docs/exit-codes.md)."""

    @cache
    def refuse() -> None:
        try:
            settings = services.settings()
            if isinstance(broker, CarrierBroker):
                settings.queue_connection()
        except SettingsError as error:
            logger.critical("scheduler.refused: %s", error)
            raise Refusal(ExitCode.SETTINGS, str(error)) from error
        if isinstance(broker, CarrierBroker):
            connections.refuse_unpinned(broker.client, db=settings.queue_db)

    return refuse


def start(schedule: tuple[Any, ...], fire: Fire, clock: Clock) -> Running:
    """Start nothing here: see :class:`actors.schedulers.base.Start`. The log says who must run."""
    logger.info("scheduler.external: run `periodiq actors` beside the workers")
    return Nothing()
