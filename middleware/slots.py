"""When a periodic actor is due: a cron line, the minutes it names, and the id that all senders of one minute share.

Schedulers ask :class:`Cron`; ``actor`` and ``ticks`` make a message of a slot. A *slot* is one due minute, in milliseconds.
One grid serves every scheduler, because those in use disagree: to one Sunday is 0, to another 6, and a third never fires it.
The calendar is ``cronsim``'s, which follows Debian's cron; here stand what it leaves out and the words of a refusal.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from cronsim import CronSim

MINUTE_MS = 60 * 1000

#: Field of a cron line: its name, and what may stand there.
_FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31"),
    ("month", "1-12 or jan-dec"),
    ("day of week", "0-7 or sun-sat"),
)
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_WEEKDAYS |= {str(number): number for number in range(8)}
_WEEKDAY_RANGE = re.compile(r"(\w+)-(\w+)", re.ASCII)
#: A step behind one number: to some crons it goes on from there, to others it is nothing.
_LONE_STEP = re.compile(r"(?:^|,)\w+/")
#: Where the look for a first slot begins; any day would do.
_ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_TICKS = UUID("4c2cf43c-58a2-5a0a-9d1e-0a1d9d8e7c55")


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line of five fields (or ``@daily`` and the like) in a time zone.

    Numbers, names, lists, ranges and steps; Sunday is 0, 7 or ``sun``, and ``sat-sun`` goes on into the next week. A day comes
    if either of its two fields names it; where one of them begins with ``*``, both must.

    When clocks change, a line for every hour goes on with the time that passes. Any other line comes once for each local time
    that it names: at the first of two, and for what is skipped at once after the gap.

    Raises:
        ValueError: it is not a cron line, can be read in two ways, can never come, or names no known zone.
    """

    text: str
    time_zone: str = "UTC"
    _line: str = field(init=False, repr=False, compare=False)
    _zone: tzinfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_line", _read(self.text))
        object.__setattr__(self, "_zone", _zone(self.time_zone))

    def __str__(self) -> str:
        return self.text if self.time_zone == "UTC" else f"{self.text} ({self.time_zone})"

    @property
    def line(self) -> str:
        """The same in numbers and plain lists, as every other cron reads it alike."""
        return self._line

    def matches(self, at: datetime) -> bool:
        """Whether the minute of an aware ``at`` is due."""
        minute_ms = int(at.timestamp()) * 1000 // MINUTE_MS * MINUTE_MS
        return self.after(minute_ms - 1) == minute_ms

    def after(self, at_ms: int) -> int:
        """First slot later than ``at_ms``."""
        slot_ms = next(self._slots(at_ms), None)
        if slot_ms is None:
            raise ValueError(f"cron {self} does not come within fifty years")
        return slot_ms

    def between(self, after_ms: int, until_ms: int) -> list[int]:
        """Slots later than ``after_ms`` and not later than ``until_ms``, oldest first."""
        return list(takewhile(lambda slot_ms: slot_ms <= until_ms, self._slots(after_ms)))

    def latest(self, now_ms: int, *, within_ms: int) -> int | None:
        """Last slot at or before ``now_ms`` and at most ``within_ms`` old; None when there is none."""
        window_ms = min(MINUTE_MS, within_ms)
        while True:
            # The window before had none, so it has few.
            if found := self.between(now_ms - window_ms - 1, now_ms):
                return found[-1]
            if window_ms >= within_ms:
                return None
            window_ms = min(window_ms * 8, within_ms)

    def _slots(self, after_ms: int) -> Iterator[int]:
        last_ms = after_ms
        for at in _walk(self._line, datetime.fromtimestamp(after_ms // 1000, tz=self._zone)):
            slot_ms = int(at.timestamp()) * 1000
            # Around a change of clocks it comes to one minute twice, and from the second of two equal hours to the first.
            if slot_ms > last_ms:
                yield (last_ms := slot_ms)


def _walk(line: str, start: datetime) -> "CronSim":
    # Not at the head of the file: every process that only sends imports this one.
    from cronsim import CronSim

    return CronSim(line, start)


def _read(text: str) -> str:
    """The line as ``cronsim`` shall have it."""
    from cronsim import CronSimError

    parts = _MACROS.get(text.strip().lower(), text).lower().split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"cron {text!r} has {len(parts)} fields; it needs 5: minute hour day month weekday")
    for index, part in enumerate(parts):
        name, takes = _FIELDS[index]
        if _LONE_STEP.search(part):
            raise ValueError(f"cron {text!r}: {name} {part!r} has a step but no range; write first-last/step or */step")
        alone = ["*"] * len(parts)
        alone[index] = parts[index] = _week(part) if index == 4 else part
        try:
            _walk(" ".join(alone), _ANY_DAY)
        except CronSimError as error:
            raise ValueError(
                f"cron {text!r}: {name} {part!r} cannot be read; write {takes}, and with them lists (1,2), ranges (1-5), steps (*/5)"
            ) from error
    try:
        walk = _walk(" ".join(parts), _ANY_DAY)
        next(walk)
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"cron {text!r} never comes: its months do not have such a day") from error
    # cronsim tells a line for every hour by its asterisks; here every spelling of it counts, and none of another.
    if len(walk.hours) == 24:
        parts[1] = "*"
    else:
        parts[:2] = (",".join(map(str, sorted(numbers))) for numbers in (walk.minutes, walk.hours))
    return " ".join(parts)


def _week(part: str) -> str:
    """A weekday field whose ranges over the end of the week are lists."""
    return ",".join(_days(item) for item in part.split(","))


def _days(item: str) -> str:
    found = _WEEKDAY_RANGE.fullmatch(item)
    first, last = (_WEEKDAYS.get(word, 0) for word in found.groups()) if found else (0, 0)
    if found is None or not _WEEKDAYS.keys() >= set(found.groups()) or first <= last:
        return item
    return ",".join(str(day % 7) for day in range(first, last + 8))


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        # A slim image may have no zone files; this one needs none.
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"time zone {name!r} is not known on this machine; install tzdata or use UTC") from error


def slot_of(scheduled_at: str) -> int:
    """Slot of an ISO time with an offset, as periodiq puts it into the option ``scheduled_at``.

    Raises:
        ValueError: it is no such time.
    """
    at = datetime.fromisoformat(scheduled_at)
    if at.tzinfo is None:
        raise ValueError(f"scheduled_at {scheduled_at!r} has no offset from UTC")
    return int(at.timestamp()) * 1000 // MINUTE_MS * MINUTE_MS


def tick_options(actor_name: str, slot_ms: int, *, each: bool = False) -> dict[str, Any]:
    """Options of the message for one slot: the same whoever sends it, so that a broker keeps one. ``tick`` tells a run its slot.

    ``unique_key``: while one is unfinished the next slot joins it, so that nothing piles up behind a stopped worker. Where
    ``each`` slot counts, they run one at a time in the order of their sends instead.
    """
    lines_up = {"lane" if each else "unique_key": f"tick:{actor_name}"}
    return {"enqueue_id": str(uuid5(_TICKS, f"{actor_name}@{slot_ms}")), "tick": slot_ms, **lines_up}
