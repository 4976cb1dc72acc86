"""The table of periodic sends: which actor, when, in which time zone.

``actors.schedulers`` sends what is due; every entry's actor stands in ``housekeeping``, ``instances``, ``alerts`` or
``backups`` and takes no argument.
"""

from dataclasses import dataclass
from enum import StrEnum

from actors.errors import SettingsError
from actors.settings import Settings
from middleware.slots import MINUTE_MS, Cron

_HOUR_S = 60 * 60
_DAY_S = 24 * _HOUR_S


class CatchUp(StrEnum):
    """Which slots are sent late when everybody missed them: no process ran, or Redis was away."""

    #: None: a slot is sent within a minute or never.
    SKIP = "skip"
    #: The latest one.
    LAST = "last"
    #: Every one, oldest first; they also run one at a time and in that order.
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One periodic send. An actor has one entry, and is sent once per slot however many processes try.

    Attributes:
        actor: name of the actor.
        cron: when, and in which time zone.
        catch_up: which slots are sent late.
        catch_up_s: how late, in seconds; ``skip`` does not ask it.
    """

    actor: str
    cron: Cron
    catch_up: CatchUp = CatchUp.LAST
    catch_up_s: int = _HOUR_S

    def __post_init__(self) -> None:
        if not 60 <= self.catch_up_s <= _DAY_S:
            # Marks of sent slots are kept for two days (middleware/ticks.py).
            raise ValueError(f"entry {self.actor}: catch_up_s is {self.catch_up_s}; it must be in 60-{_DAY_S}")

    def due(self, now_ms: int, *, after_ms: int = 0) -> list[int]:
        """Slots later than ``after_ms`` that shall have been sent by now, oldest first; somebody may have sent them."""
        within_ms = MINUTE_MS if self.catch_up is CatchUp.SKIP else self.catch_up_s * 1000
        if self.catch_up is CatchUp.ALL:
            return self.cron.between(max(after_ms, now_ms - within_ms - 1), now_ms)
        slot_ms = self.cron.latest(now_ms, within_ms=within_ms)
        return [] if slot_ms is None or slot_ms <= after_ms else [slot_ms]


#: Actors that have an entry, whatever the settings.
PERIODIC_ACTORS = ("record_memory_usage", "sweep_pending", "tend_instances", "check_alerts", "backup_queues")


def entries(settings: Settings) -> tuple[Entry, ...]:
    """The table for these settings.

    Raises:
        SettingsError: ``memory_every_s`` or ``backup_every_s`` does not fit a clock's face.
    """
    return (
        Entry(actor="record_memory_usage", cron=_every("memory_every_s", settings.memory_every_s)),
        Entry(actor="sweep_pending", cron=Cron("* * * * *")),
        Entry(actor="tend_instances", cron=Cron("* * * * *"), catch_up=CatchUp.SKIP),
        Entry(actor="check_alerts", cron=Cron("* * * * *"), catch_up=CatchUp.SKIP),
        # Without a folder it does nothing.
        Entry(actor="backup_queues", cron=_every("backup_every_s", settings.backup_every_s)),
    )


def entry_of(actor: str, settings: Settings) -> Entry:
    """Entry of an actor.

    Raises:
        KeyError: it has none.
    """
    return {entry.actor: entry for entry in entries(settings)}[actor]


def is_idle(actor: str, settings: Settings) -> bool:
    """Whether an actor does nothing under these settings: nobody is to be told that it went well."""
    return actor == "backup_queues" and settings.backup_dir is None


def _every(name: str, period_s: int) -> Cron:
    minutes, rest_s = divmod(period_s, 60)
    if rest_s == 0 and minutes and 60 % minutes == 0 and minutes < 60:
        return Cron(f"*/{minutes} * * * *")
    hours, rest_s = divmod(period_s, _HOUR_S)
    if rest_s == 0 and hours and 24 % hours == 0:
        return Cron("0 0 * * *" if hours == 24 else f"0 */{hours} * * *")
    raise SettingsError(
        [
            f"CHAT_{name.upper()} is {period_s}; it must be whole minutes that divide an hour, or whole hours that divide a day"
        ]
    )
