"""An independent cron: random lines of every kind of syntax, and when ``croniter`` says that they come.

``scheduler_contract`` holds the backends to it.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

#: Zones, and a day on which each changes its clocks: at night, at midnight; the last four do not.
ZONES = {
    "Europe/Berlin": ((2026, 3, 29), (2026, 10, 25)),
    "America/New_York": ((2026, 3, 8), (2026, 11, 1)),
    "America/Santiago": ((2026, 4, 5), (2026, 9, 6)),
    "America/Havana": ((2026, 3, 8), (2026, 11, 1)),
    "Africa/Cairo": ((2026, 4, 24), (2026, 10, 30)),
    "Pacific/Auckland": ((2026, 4, 5), (2026, 9, 27)),
    "America/Sao_Paulo": (),
    "Asia/Kathmandu": (),
    "Asia/Tokyo": (),
    "UTC": (),
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MACROS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
#: Field: lowest and highest number, names from the lowest on.
FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (0, 7, (*WEEKDAYS, "7")))


@dataclass(frozen=True)
class Case:
    """A line, its zone, and when to begin to look, in milliseconds."""

    text: str
    zone: str
    start_ms: int


def cases(count: int, *, seed: int) -> Iterator[Case]:
    """The same ones for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    while count:
        zone = draw.choice(list(ZONES))
        case = Case(_line(draw), zone, _start_ms(draw, zone))
        if not _is_misread(case.text):
            count -= 1
            yield case


def fire_times(case: Case, count: int) -> list[int]:
    """The first ``count`` times after the start, in milliseconds.

    What is our own choice: of two equal local times the first, unless the line is for every hour.
    """
    zone = ZoneInfo(case.zone)
    # Its "bug" is crontab(5): a day field that begins with * does not count as restricted.
    clock = croniter(case.text, datetime.fromtimestamp(case.start_ms / 1000, tz=zone), implement_cron_bug=True)
    is_hourly = clock.expanded[1] == ["*"] or len(clock.expanded[1]) == 24
    times: list[int] = []
    while len(times) < count:
        at = clock.get_next(datetime).astimezone(UTC)
        if is_hourly or not at.astimezone(zone).fold:
            times.append(int(at.timestamp()) * 1000)
    return times


def _is_misread(text: str) -> bool:
    """Where croniter 7.0 is no oracle: ``6-6`` is every day to it, and a day field that lists all days restricts nothing."""
    parts = text.lower().split()
    if len(parts) == 5 and re.search(r"\b(7|sun)-(0|7|sun)\b", parts[4]):
        return True
    try:
        expanded, _ = croniter.expand(text)
    except CroniterError:
        return False
    return any(expanded[index] == ["*"] and not parts[index].startswith("*") for index in (2, 4) if len(parts) == 5)


def _start_ms(draw: random.Random, zone: str) -> int:
    if ZONES[zone] and draw.random() < 0.5:
        day = datetime(*draw.choice(ZONES[zone]), tzinfo=UTC)
        at = day + timedelta(minutes=draw.randint(-36 * 60, 12 * 60))
    else:
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=draw.randrange(6 * 365 * 86_400))
    return int(at.timestamp()) * 1000


def _line(draw: random.Random) -> str:
    if draw.random() < 0.03:
        return draw.choice(MACROS)
    parts = [_field(draw, index) for index in range(5)]
    if draw.random() < 0.4:
        parts[draw.choice((2, 4))] = "*"
    line = draw.choice((" ", " ", "  ")).join(parts)
    return draw.choice((str.lower, str.lower, str.upper, str.title))(line)


def _field(draw: random.Random, index: int) -> str:
    if draw.random() < 0.35:
        return "*"
    return ",".join(_item(draw, index) for _ in range(draw.choice((1, 1, 1, 2, 3))))


def _item(draw: random.Random, index: int) -> str:
    lowest, highest, _ = FIELDS[index]
    kind = draw.random()
    if kind < 0.45:
        return _number(draw, index, draw.randint(lowest, highest))
    if kind < 0.6:
        return f"*/{draw.randint(1, highest)}"
    # Two different ones: 6-6 is every day of the week to croniter 7.0.
    first, last = sorted(draw.sample(range(lowest, highest + 1), 2))
    if draw.random() < (0.25 if index == 4 and kind >= 0.75 else 0.005):
        first, last = last, first
    text = f"{_number(draw, index, first)}-{_number(draw, index, last)}"
    if kind < 0.602:
        return f"{_number(draw, index, first)}/{draw.randint(1, highest)}"
    return f"{text}/{draw.randint(1, highest)}" if kind < 0.75 else text


def _number(draw: random.Random, index: int, number: int) -> str:
    lowest, _, names = FIELDS[index]
    return names[number - lowest] if names and draw.random() < 0.5 else str(number)
