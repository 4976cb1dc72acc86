"""The table of periodic sends: which actor, when, in which time zone.

``actors.schedulers`` sends what is due; every entry's actor stands in ``actors.housekeeping`` and takes no argument.
"""

from dataclasses import dataclass

from actors.errors import SettingsError
from actors.settings import Settings
from middleware.slots import Cron

_HOUR_S = 60 * 60
_DAY_S = 24 * _HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One periodic send. An actor has one entry, and is sent once per slot however many processes try.

    Attributes:
        actor: name of the actor.
        cron: when, and in which time zone.
        catch_up_s: how late a slot that everybody missed is still sent, in seconds; only the latest one is.
    """

    actor: str
    cron: Cron
    catch_up_s: int = _HOUR_S

    def __post_init__(self) -> None:
        if not 60 <= self.catch_up_s <= _DAY_S:
            # Marks of sent slots are kept for two days (middleware/ticks.py).
            raise ValueError(f"entry {self.actor}: catch_up_s is {self.catch_up_s}; it must be in 60-{_DAY_S}")


#: Actors that have an entry, whatever the settings.
PERIODIC_ACTORS = ("record_memory_usage", "sweep_pending")


def entries(settings: Settings) -> tuple[Entry, ...]:
    """The table for these settings.

    Raises:
        SettingsError: ``memory_every_s`` does not fit a clock's face.
    """
    return (
        Entry(actor="record_memory_usage", cron=_every(settings.memory_every_s)),
        Entry(actor="sweep_pending", cron=Cron("* * * * *")),
    )


def entry_of(actor: str, settings: Settings) -> Entry:
    """Entry of an actor.

    Raises:
        KeyError: it has none.
    """
    return {entry.actor: entry for entry in entries(settings)}[actor]


def _every(period_s: int) -> Cron:
    minutes, rest_s = divmod(period_s, 60)
    if rest_s == 0 and minutes and 60 % minutes == 0 and minutes < 60:
        return Cron(f"*/{minutes} * * * *")
    hours, rest_s = divmod(period_s, _HOUR_S)
    if rest_s == 0 and hours and 24 % hours == 0:
        return Cron("0 0 * * *" if hours == 24 else f"0 */{hours} * * *")
    raise SettingsError(
        [
            f"CHAT_MEMORY_EVERY_S is {period_s}; it must be whole minutes that divide an hour, or whole hours that divide a day"
        ]
    )
