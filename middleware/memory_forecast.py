"""When ``maxmemory`` is reached if memory goes on growing as it does today: pure.

The slope is Theil and Sen's, the median of the slopes between all pairs of points: a cache that is emptied at noon does not turn
it. Its interval is Sen's at 95 %, widened to the slopes of the thirds of the time: memory that breathes with the day's traffic
has a slope at any hour, and no direction. Where there is none, that is said in place of a date.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

#: Points that the slope is made of: medians of equal stretches. So few, because samples of neighbouring minutes say the same
#: thing twice, and an interval that takes them for independent is too narrow.
POINTS = 24
#: Fewer points, or less time than this between the first and the last, tell nothing, in milliseconds.
LEAST_POINTS = 8
LEAST_MS = 60 * 60 * 1000
#: Beyond this nobody plans, in milliseconds.
HORIZON_MS = 365 * 24 * 60 * 60 * 1000
#: The late and the early end of the interval, as a ratio, beyond which a date means nothing.
VAGUE = 10.0
_Z = 1.96


class Outlook(StrEnum):
    """What a forecast says."""

    #: ``maxmemory`` is reached already.
    FULL = "full"
    #: It will be, ``at_ms``.
    GROWING = "growing"
    #: Not within a year.
    STEADY = "steady"
    #: Memory shrinks.
    SHRINKING = "shrinking"
    #: There is no ``maxmemory``: the machine's memory is the limit, and its killer the end.
    NO_LIMIT = "no_limit"
    #: The samples do not tell; ``why`` says so.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Times in milliseconds since 1970; ``early_ms`` and ``late_ms`` bound ``at_ms`` if it goes on as it did."""

    outlook: Outlook
    slope_bytes_per_day: float | None = None
    at_ms: int | None = None
    early_ms: int | None = None
    late_ms: int | None = None
    why: str | None = None


def forecast(points: Sequence[tuple[int, int]], *, limit_bytes: int | None) -> Forecast:
    """From (milliseconds, bytes used), in the order of time.

    Args:
        points: since the server's start only: before it is another story.
        limit_bytes: ``maxmemory``, 0 for none; None where it is not known.
    """
    if limit_bytes is None:
        return Forecast(outlook=Outlook.UNKNOWN, why="the server does not say its maxmemory")
    if limit_bytes and points and points[-1][1] >= limit_bytes:
        return Forecast(outlook=Outlook.FULL, at_ms=points[-1][0])
    thinned = thin(points)
    if len(thinned) < LEAST_POINTS or points[-1][0] - points[0][0] < LEAST_MS:
        return Forecast(outlook=Outlook.UNKNOWN, why="it takes samples of an hour and more")
    low, slope, high = _widened(thinned)
    per_day = slope * 86_400_000
    if limit_bytes == 0:
        return Forecast(outlook=Outlook.NO_LIMIT, slope_bytes_per_day=per_day)
    return _outlook((low, slope, high), now_ms=thinned[-1][0], left=limit_bytes - thinned[-1][1], per_day=per_day)


def _outlook(interval: tuple[float, float, float], *, now_ms: int, left: int, per_day: float) -> Forecast:
    low, slope, high = interval
    left = max(0, left)

    def after(speed: float) -> float:
        return left / speed if speed > 0 else math.inf

    if after(high) > HORIZON_MS:
        # Even the steepest line that fits does not get there.
        outlook = Outlook.SHRINKING if high < 0 else Outlook.STEADY
        return Forecast(outlook=outlook, slope_bytes_per_day=per_day)
    if low <= 0:
        why = "memory went up and down: the samples do not agree on a direction"
        return Forecast(outlook=Outlook.UNKNOWN, slope_bytes_per_day=per_day, why=why)
    if after(low) > VAGUE * after(high):
        why = "it grows, but too unevenly for a date"
        return Forecast(
            outlook=Outlook.UNKNOWN, slope_bytes_per_day=per_day, early_ms=now_ms + round(after(high)), why=why
        )
    return Forecast(
        outlook=Outlook.GROWING,
        slope_bytes_per_day=per_day,
        at_ms=now_ms + round(after(slope)),
        early_ms=now_ms + round(after(high)),
        late_ms=now_ms + round(after(low)),
    )


def _widened(points: Sequence[tuple[int, int]]) -> tuple[float, float, float]:
    low, slope, high = slopes(points)
    third = len(points) // 3
    parts = [slopes(part)[1] for part in (points[:third], points[third : 2 * third], points[-third:]) if len(part) > 1]
    return min(low, *parts), slope, max(high, *parts)


def thin(points: Sequence[tuple[int, int]], count: int = POINTS) -> list[tuple[int, int]]:
    """At most ``count`` points: of each stretch of time the median; a stretch without samples has none."""
    if not points:
        return []
    first, last = points[0][0], points[-1][0]
    length = max(1, -(-(last - first + 1) // count))
    stretches: dict[int, list[tuple[int, int]]] = {}
    for at_ms, used in points:
        stretches.setdefault((at_ms - first) // length, []).append((at_ms, used))
    return [
        (round(median(at for at, _ in stretch)), round(median(used for _, used in stretch)))
        for _, stretch in sorted(stretches.items())
    ]


def slopes(points: Sequence[tuple[int, int]]) -> tuple[float, float, float]:
    """Lower end, middle and upper end of the slope, in bytes per millisecond.

    Raises:
        ValueError: there are not two points at different times.
    """
    pairs = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, later in enumerate(points)
        for earlier in points[:index]
        if later[0] != earlier[0]
    )
    if not pairs:
        raise ValueError("a slope needs two points")
    count = len(points)
    # Variance of Kendall's score, without ties.
    spread = _Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lower = max(0, round((len(pairs) - spread) / 2))
    upper = min(len(pairs) - 1, round((len(pairs) + spread) / 2))
    return pairs[lower], median(pairs), pairs[upper]
