"""When maxmemory is reached: a date where the samples have a direction, and the reason where they have none."""

import math
import random

import pytest

from middleware.memory_forecast import HORIZON_MS, POINTS, Outlook, forecast, slopes, thin

MB = 1024 * 1024
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
NOW_MS = 1_800_000_000_000
LIMIT = 512 * MB


def day(used, *, minutes: int = 1_440) -> list[tuple[int, int]]:
    """A sample a minute; ``used`` of the part of a day in megabytes."""
    return [(NOW_MS + at * MINUTE_MS, round(used(at / 1_440) * MB)) for at in range(minutes)]


def test_steady_growth_has_a_date_and_its_interval_holds_it():
    dice = random.Random(1)  # noqa: S311
    points = day(lambda part: 300 + 100 * part + dice.gauss(0, 2))

    found = forecast(points, limit_bytes=LIMIT)

    assert found.outlook is Outlook.GROWING
    truth_ms = NOW_MS + DAY_MS * 212 / 100
    assert found.at_ms == pytest.approx(truth_ms, abs=0.1 * DAY_MS)
    assert found.early_ms <= truth_ms <= found.late_ms
    assert found.slope_bytes_per_day == pytest.approx(100 * MB, rel=0.02)


def test_a_cache_that_is_emptied_once_does_not_turn_the_slope():
    points = day(lambda part: 300 + 100 * part - (200 if 0.5 <= part < 0.53 else 0))

    assert forecast(points, limit_bytes=LIMIT).slope_bytes_per_day == pytest.approx(100 * MB, rel=0.05)


@pytest.mark.parametrize("phase", [0, 0.25, 0.5, 0.75])
def test_memory_that_breathes_with_the_day_has_no_direction(phase):
    points = day(lambda part: 250 + 100 * math.sin(2 * math.pi * (part + phase)))

    found = forecast(points, limit_bytes=LIMIT)

    assert (found.outlook, found.at_ms) == (Outlook.UNKNOWN, None)
    assert "direction" in found.why


def test_noise_without_a_slope_has_no_date():
    dice = random.Random(2)  # noqa: S311
    assert forecast(day(lambda part: 250 + dice.gauss(0, 20)), limit_bytes=LIMIT).outlook is Outlook.UNKNOWN


def test_what_does_not_change_is_steady_and_what_falls_shrinks():
    assert forecast(day(lambda part: 250), limit_bytes=LIMIT).outlook is Outlook.STEADY
    assert forecast(day(lambda part: 250 + part / 10), limit_bytes=LIMIT).outlook is Outlook.STEADY
    assert forecast(day(lambda part: 250 - 50 * part), limit_bytes=LIMIT).outlook is Outlook.SHRINKING


def test_growth_that_is_too_uneven_has_no_date_but_a_sign():
    found = forecast(day(lambda part: 100 + 100 * part**6 + part), limit_bytes=LIMIT)

    assert (found.outlook, found.at_ms) == (Outlook.UNKNOWN, None)
    assert found.slope_bytes_per_day > 0
    assert found.early_ms > NOW_MS


def test_full_is_full_whatever_the_slope():
    assert forecast([(NOW_MS, LIMIT)], limit_bytes=LIMIT).outlook is Outlook.FULL


def test_without_a_limit_there_is_a_slope_and_no_date():
    found = forecast(day(lambda part: 100 + 10 * part), limit_bytes=0)

    assert (found.outlook, found.at_ms) == (Outlook.NO_LIMIT, None)
    assert found.slope_bytes_per_day == pytest.approx(10 * MB, rel=0.01)


@pytest.mark.parametrize("points", [[], day(lambda part: 1, minutes=5), day(lambda part: part, minutes=59)])
def test_less_than_an_hour_tells_nothing(points):
    found = forecast(points, limit_bytes=LIMIT)

    assert found.outlook is Outlook.UNKNOWN
    assert "hour" in found.why


def test_a_limit_that_is_not_known_is_said():
    assert "maxmemory" in forecast(day(lambda part: 100), limit_bytes=None).why


def test_a_date_beyond_the_horizon_is_none():
    found = forecast(day(lambda part: 1 + part), limit_bytes=10**15)

    assert (found.outlook, found.at_ms) == (Outlook.STEADY, None)
    assert 10**15 / (MB / DAY_MS) > HORIZON_MS


def test_points_are_thinned_to_medians_and_a_gap_has_none():
    points = [*day(lambda part: 10, minutes=100), (NOW_MS + DAY_MS, 20 * MB)]

    thinned = thin(points)

    assert len(thinned) <= POINTS
    assert {used for _, used in thinned} == {10 * MB, 20 * MB}
    assert thin([]) == []


def test_the_slope_of_a_line_is_its_slope_and_one_point_has_none():
    assert slopes([(0, 0), (10, 20), (20, 40), (30, 60)]) == (2, 2, 2)
    with pytest.raises(ValueError, match="two points"):
        slopes([(1, 5), (1, 6)])
