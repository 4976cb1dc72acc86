"""Scheduler ``periodiq``: its own process, ``periodiq actors``, of which any number may run.

``actors`` calls :func:`attach` when it is imported. periodiq keeps the time and asks an actor's option ``periodic``; ours
answers from the schedule, because periodiq's own cron never fires on Sundays, cannot read ``sat-sun`` and knows only the time
zone of its process. It also sends, so that slots are sent once and caught up as under any other scheduler. periodiq's
middleware is not used: it drops runs that start late, retries among them, as if they were done.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

from dramatiq import Broker

from actors import services
from actors.errors import SettingsError
from actors.schedule import PERIODIC_ACTORS, Entry, entries, entry_of
from actors.schedulers.base import AGAIN_MS, Fire, Nothing, Running, Sender, firing
from actors.watching import show_scheduler
from middleware.brokers.redis import connections
from middleware.brokers.redis.broker import CarrierBroker
from middleware.clock import Clock
from middleware.errors import ExitCode, Refusal

logger = logging.getLogger(__name__)


class Periodic:
    """When an actor is due, in the form that periodiq asks for; asked, it sends what is due.

    ``entry`` is read at the first question; there ``refuse`` ends a process that could send nothing. ``send`` is
    :meth:`actors.schedulers.base.Sender.send_due`.
    """

    def __init__(
        self,
        entry: Callable[[], Entry],
        send: Callable[[Entry, int], bool],
        *,
        refuse: Callable[[], None] = lambda: None,
    ) -> None:
        self.entry = entry
        self.send = send
        self.refuse = refuse
        self._is_behind = False

    def __str__(self) -> str:
        try:
            return str(self.entry().cron)
        except SettingsError:
            # periodiq shows its schedule before it asks anything.
            self.refuse()
            raise

    def validate(self, date: datetime) -> bool:
        """Send what is due at an aware ``date``; False, so that periodiq does not.

        It knows the current minute only, sends without asking whether another process did, and ends when Redis is away.
        """
        self.refuse()
        self._is_behind = not self.send(self.entry(), _ms(date))
        return False

    def next_valid_date(self, last: datetime) -> datetime:
        """First due minute after ``last``; sooner when a send failed."""
        if self._is_behind:
            # Not after ``last``: a send that waits for Redis takes time, and periodiq calls itself for each date in the past.
            return datetime.now(UTC) + timedelta(milliseconds=AGAIN_MS)
        return datetime.fromtimestamp(self.entry().cron.after(_ms(last)) / 1000, tz=UTC)


def _ms(date: datetime) -> int:
    return int(date.timestamp() * 1000)


def attach(broker: Broker) -> None:
    """Give the actors of the schedule their option ``periodic``. Repeatable; reads no setting."""
    refuse, send = _refuse_once(broker), _send_through(broker)
    for actor_name in PERIODIC_ACTORS:
        periodic = Periodic(partial(_entry, actor_name), send, refuse=refuse)
        broker.get_actor(actor_name).options.setdefault("periodic", periodic)


def _entry(actor_name: str) -> Entry:
    return entry_of(actor_name, services.settings())


def _send_through(broker: Broker) -> Callable[[Entry, int], bool]:
    @cache
    def sender() -> Sender:
        return Sender(firing(broker, entries(services.settings())))

    return lambda entry, now_ms: sender().send_due(entry, now_ms)


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
        show_scheduler(broker)

    return refuse


def start(schedule: tuple[Any, ...], fire: Fire, clock: Clock) -> Running:
    """Start nothing here: see :class:`actors.schedulers.base.Start`. The log says who must run."""
    logger.info("scheduler.external: run `periodiq actors` beside the workers")
    return Nothing()
