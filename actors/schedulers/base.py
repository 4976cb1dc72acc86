"""What a scheduler must do, how backends are found, and how a worker process runs one.

``actors`` has :func:`prepare` called when a worker's threads run. A third party adds a backend through the entry-point group
``chat_actors.schedulers``: a callable like :class:`Start`. However many processes run one, ``fire`` sends each slot once.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from dramatiq import Broker

from actors import backends, services
from actors.errors import SettingsError
from actors.schedule import CatchUp, Entry, entries, is_idle
from actors.settings import Settings
from middleware.clock import Clock
from middleware.errors import Described, ExitCode, Refusal
from middleware.meters import METERS, TICKS_FAILED
from middleware.sentry_crons import Monitor, SentryCrons, slug_of
from middleware.ticks import Ticks

logger = logging.getLogger(__name__)

#: After a send that failed, the slot is tried again so long after, in milliseconds.
AGAIN_MS = 5_000
#: Begins the names of our monitors in Sentry's Crons.
MONITOR_PREFIX = "chat-actors"

#: Sends one slot (in milliseconds) of an actor; may be called again for the same slot. Raises ``PipelineError`` when Redis is
#: away: then it shall be called again.
Fire = Callable[[str, int], object]


class Sender:
    """Fires what entries owe, for a backend that knows when to look. One per process, used by one thread at a time."""

    def __init__(self, fire: Fire) -> None:
        self.fire = fire
        #: Once it is set, the slots of a long absence that are left are not sent.
        self.stopping = threading.Event()
        self._fired_ms: dict[str, int] = {}

    def send_due(self, entry: Entry, now_ms: int) -> bool:
        """Fire each slot that is due, oldest first; False when one could not be sent, which is logged: look again soon."""
        fired_ms = self._fired_ms.get(entry.actor, 0)
        # A clock that was ahead for a while must not keep back what comes until it is there again.
        for slot_ms in entry.due(now_ms, after_ms=fired_ms if fired_ms <= now_ms else 0):
            if self.stopping.is_set():
                break
            try:
                self.fire(entry.actor, slot_ms)
            except Exception as error:
                # A scheduler outlives Redis being away, and the error's own text may quote anything.
                code = error.code if isinstance(error, Described) else type(error).__name__
                METERS.count(TICKS_FAILED, entry.actor)
                logger.warning("tick.failed", extra={"actor": entry.actor, "slot_ms": slot_ms, "code": code})
                return False
            self._fired_ms[entry.actor] = slot_ms
        return True


class Running(Protocol):
    """A scheduler at work."""

    def stop(self) -> None:
        """Send nothing more; returns without waiting for a send under way. Repeatable."""
        ...


class Start(Protocol):
    """A backend: begins to fire what is due, also what nobody sent in its time, and returns at once."""

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


def firing(broker: Broker, schedule: tuple[Entry, ...]) -> Fire:
    """What sends a slot of the schedule through the broker's :class:`Ticks`."""
    ticks = next(one for one in broker.middleware if isinstance(one, Ticks))
    each = {entry.actor for entry in schedule if entry.catch_up is CatchUp.ALL}
    return lambda actor_name, slot_ms: ticks.fire(broker, actor_name, slot_ms, each=actor_name in each)


def watch_in_sentry(broker: Broker, settings: Settings) -> None:
    """Have every periodic actor check in with Sentry's Crons, unless the settings say otherwise."""
    for one in broker.middleware:
        if isinstance(one, SentryCrons):
            known = [entry for entry in entries(settings) if entry.actor in broker.actors and settings.sentry_crons]
            watched = [entry for entry in known if not is_idle(entry.actor, settings)]
            one.watch({entry.actor: _monitor(broker, entry, settings) for entry in watched})


def _monitor(broker: Broker, entry: Entry, settings: Settings) -> Monitor:
    options = broker.actors[entry.actor].options
    attempts = options.get("max_attempts") or settings.max_attempts
    backoff_ms = options.get("max_backoff") or settings.backoff_cap_ms
    return Monitor(
        slug=slug_of(MONITOR_PREFIX, entry.actor),
        cron=entry.cron,
        # All its attempts, with the waits between them.
        max_runtime_ms=attempts * settings.time_limit_ms + (attempts - 1) * backoff_ms,
    )


def prepare(broker: Broker) -> Callable[[], None]:
    """Start the scheduler that the settings name, in this worker process; returns what stops it.

    Raises:
        Refusal: it cannot be started; a worker that silently sweeps nothing would break a promise.
    """
    work = services.get()
    try:
        schedule = entries(work.settings)
        running = start_scheduler(work.settings.scheduler, schedule, firing(broker, schedule), work.clock)
    except SettingsError as error:
        logger.critical("worker.refused: %s", error)
        raise Refusal(ExitCode.SETTINGS, str(error)) from error
    watch_in_sentry(broker, work.settings)
    logger.info("scheduler.started", extra={"scheduler": work.settings.scheduler})
    return running.stop
