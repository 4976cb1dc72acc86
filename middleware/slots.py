"""When a periodic actor is due: a cron line, the minutes it names, and the id that all senders of one minute share.

Schedulers ask :class:`Cron`; ``actor`` and ``ticks`` make a message of a slot. A *slot* is one due minute, in milliseconds.
One grid serves every scheduler, because those in use disagree: to one Sunday is 0, to another 6, and a third never fires it.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

MINUTE_MS = 60 * 1000

_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
#: Field of a cron line: name, lowest and highest number, names that stand for numbers.
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
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
_ITEM = re.compile(r"(?:(?P<all>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
#: Offsets from UTC change on quarters of an hour, so within one the local hour stays.
_QUARTER = timedelta(minutes=15)
_MINUTE = timedelta(minutes=1)
#: More steps than eight years have days: 29 February may be that far away.
_MAX_STEPS = 10_000
_TICKS = UUID("4c2cf43c-58a2-5a0a-9d1e-0a1d9d8e7c55")


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line of five fields (or ``@daily`` and the like) in a time zone.

    Numbers, names, lists, ranges and steps; Sunday is 0, 7 or ``sun``. A local time that a change of clocks skips does not
    come; one that it repeats comes once, unless every hour is meant.

    Raises:
        ValueError: it is not a cron line, can never come, names no known zone, or restricts both the day of the month and
            the day of the week (schedulers disagree what that means: make two entries).
    """

    text: str
    time_zone: str = "UTC"
    _allowed: tuple[frozenset[int], ...] = field(init=False, repr=False, compare=False)
    _zone: tzinfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = _MACROS.get(self.text.strip().lower(), self.text).lower().split()
        if len(parts) != len(_FIELDS):
            raise ValueError(f"cron {self.text!r} has {len(parts)} fields; it needs 5: minute hour day month weekday")
        allowed = [_numbers(part, index, self.text) for index, part in enumerate(parts)]
        allowed[4] = frozenset(day % 7 for day in allowed[4])
        _, _, days, months, weekdays = allowed
        if len(days) < 31 and len(weekdays) < 7:
            raise ValueError(f"cron {self.text!r} restricts day of month and day of week; make two entries of it")
        if min(days) > max(_LONGEST_MONTH.get(month, 31) for month in months):
            raise ValueError(f"cron {self.text!r} names a day that its months do not have")
        object.__setattr__(self, "_allowed", tuple(allowed))
        object.__setattr__(self, "_zone", _zone(self.time_zone))

    def __str__(self) -> str:
        return self.text if self.time_zone == "UTC" else f"{self.text} ({self.time_zone})"

    def matches(self, at: datetime) -> bool:
        """Whether the minute of an aware ``at`` is due."""
        local = at.astimezone(self._zone)
        return self._is_day(local) and self._is_hour(local) and local.minute in self._allowed[0]

    def after(self, at_ms: int) -> int:
        """First slot later than ``at_ms``."""
        at = datetime.fromtimestamp(at_ms // MINUTE_MS * 60, tz=UTC) + _MINUTE
        for _ in range(_MAX_STEPS):
            local = at.astimezone(self._zone)
            if not self._is_day(local):
                midnight = datetime.combine(local.date() + timedelta(days=1), time(), tzinfo=self._zone)
                at = max(at + _MINUTE, midnight.astimezone(UTC))
            elif not self._is_hour(local):
                at += _QUARTER - timedelta(minutes=at.minute % 15)
            elif local.minute not in self._allowed[0]:
                at += _MINUTE
            else:
                return int(at.timestamp()) * 1000
        raise ValueError(f"cron {self} does not come within eight years")

    def latest(self, now_ms: int, *, within_ms: int) -> int | None:
        """Last slot at or before ``now_ms`` and at most ``within_ms`` old; None when there is none."""
        window_ms = min(MINUTE_MS, within_ms)
        while True:
            slot_ms = self.after(now_ms - window_ms - 1)
            if slot_ms <= now_ms:
                # The window before had none, so few are left to pass.
                while (next_ms := self.after(slot_ms)) <= now_ms:
                    slot_ms = next_ms
                return slot_ms
            if window_ms >= within_ms:
                return None
            window_ms = min(window_ms * 8, within_ms)

    def _is_day(self, local: datetime) -> bool:
        _, _, days, months, weekdays = self._allowed
        return local.month in months and local.day in days and local.isoweekday() % 7 in weekdays

    def _is_hour(self, local: datetime) -> bool:
        hours = self._allowed[1]
        return local.hour in hours and not (local.fold and len(hours) < 24)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        # A slim image may have no zone files; this one needs none.
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"time zone {name!r} is not known on this machine; install tzdata or use UTC") from error


def _numbers(part: str, index: int, text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for item in part.split(","):
        numbers |= _item(item, index, text)
    return frozenset(numbers)


def _item(item: str, index: int, text: str) -> set[int]:
    name, lowest, highest, _ = _FIELDS[index]
    found = _ITEM.fullmatch(item)
    if found is None:
        raise ValueError(f"cron {text!r}: {name} {item!r} cannot be read")
    if found["all"]:
        first, last = lowest, highest
    else:
        first = _number(found["first"], index, text)
        last = first if found["last"] is None else _number(found["last"], index, text)
        if found["step"] and found["last"] is None:
            raise ValueError(f"cron {text!r}: {name} {item!r} has a step but no range; write first-last/step or */step")
    if index == 4 and last < first:
        # sat-sun goes on into the next week.
        last += 7
    if last < first or found["step"] == "0":
        raise ValueError(f"cron {text!r}: {name} {item!r} is empty")
    return set(range(first, last + 1, int(found["step"] or 1)))


def _number(word: str, index: int, text: str) -> int:
    name, lowest, highest, names = _FIELDS[index]
    number = names.get(word, int(word) if word.isdecimal() else -1)
    if not lowest <= number <= highest:
        raise ValueError(f"cron {text!r}: {name} {word!r} is not in {lowest}-{highest}")
    return number


def slot_of(scheduled_at: str) -> int:
    """Slot of an ISO time with an offset, as periodiq puts it into the option ``scheduled_at``.

    Raises:
        ValueError: it is no such time.
    """
    at = datetime.fromisoformat(scheduled_at)
    if at.tzinfo is None:
        raise ValueError(f"scheduled_at {scheduled_at!r} has no offset from UTC")
    return int(at.timestamp()) * 1000 // MINUTE_MS * MINUTE_MS


def tick_options(actor_name: str, slot_ms: int) -> dict[str, Any]:
    """Options of the message for one slot: the same whoever sends it, so that a broker keeps one.

    ``unique_key``: while one is unfinished the next slot joins it, so that nothing piles up behind a stopped worker.
    """
    return {
        "enqueue_id": str(uuid5(_TICKS, f"{actor_name}@{slot_ms}")),
        "unique_key": f"tick:{actor_name}",
        "tick": slot_ms,
    }
