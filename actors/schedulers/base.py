"""What a scheduler must do, how backends are found, and how a worker process runs one.

``actors`` has :func:`prepare` called when a worker's threads run. A third party adds a backend through the entry-point group
``chat_actors.schedulers``: a callable like :class:`Start`. However many processes run one, ``fire`` sends each slot once.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from dramatiq import Broker

from actors import backends, services
from actors.errors import SettingsError
from actors.schedule import Entry, entries
from middleware.clock import Clock
from middleware.errors import ExitCode, Refusal
from middleware.ticks import Ticks

logger = logging.getLogger(__name__)

#: Sends one slot (in milliseconds) of an actor; may be called again for the same slot. Raises ``PipelineError`` when Redis is
#: away: then it shall be called again.
Fire = Callable[[str, int], object]


class Running(Protocol):
    """A scheduler at work."""

    def stop(self) -> None:
        """Send nothing more; returns without waiting for a send under way. Repeatable."""
        ...


class Start(Protocol):
    """A backend: begins to fire what is due, also the latest slot that nobody sent, and returns at once."""

    def __call__(self, schedule: tuple[Entry, ...], fire: Fire, clock: Clock) -> Running:
        """Raises ``ImportError`` when its package is not installed."""
        ...


class Nothing:
    """A scheduler that runs elsewhere, or not at all."""

    def stop(self) -> None:
        """See :meth:`Running.stop`."""


def start_nothing(schedule: tuple[Entry, ...], fire: Fire, clock: Clock) -> Running:
    """Backend ``none``: nothing is sent by itself; who wants samples and sweeps calls ``.send()``."""
    return Nothing()


def start_scheduler(name: str, schedule: tuple[Entry, ...], fire: Fire, clock: Clock) -> Running:
    """Start the backend ``name``.

    Raises:
        SettingsError: unknown name (the known ones are listed), or its package is not installed.
    """
    try:
        start: Start = backends.load("scheduler", name)
        return start(schedule, fire, clock)
    except ImportError as error:
        raise SettingsError(
            [f"CHAT_SCHEDULER is {name!r} but its package is missing ({error.name}): pip install chat-actors[{name}]"]
        ) from error


def prepare(broker: Broker) -> Callable[[], None]:
    """Start the scheduler that the settings name, in this worker process; returns what stops it.

    Raises:
        Refusal: it cannot be started; a worker that silently sweeps nothing would break a promise.
    """
    ticks = next(one for one in broker.middleware if isinstance(one, Ticks))
    work = services.get()
    try:
        schedule = entries(work.settings)
        running = start_scheduler(
            work.settings.scheduler,
            schedule,
            lambda actor_name, slot_ms: ticks.fire(broker, actor_name, slot_ms),
            work.clock,
        )
    except SettingsError as error:
        logger.critical("worker.refused: %s", error)
        raise Refusal(ExitCode.SETTINGS, str(error)) from error
    logger.info("scheduler.started", extra={"scheduler": work.settings.scheduler})
    return running.stop
