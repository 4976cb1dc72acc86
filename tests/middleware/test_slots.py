"""When a cron line is due, and the one id of a slot."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from middleware.slots import MINUTE_MS, Cron, slot_of, tick_options

DAY_MS = 24 * 60 * MINUTE_MS


def ms(*parts: int, zone: str = "UTC") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def iso(at_ms: int, zone: str = "UTC") -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=ZoneInfo(zone)).isoformat(timespec="minutes")


@pytest.mark.parametrize("sunday", ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun", "0 0 * * Sun", "@weekly", "0 0 * * 7-7"])
def test_sunday_is_sunday_however_it_is_written(sunday):
    # 4 January 2026 is a Sunday.
    assert iso(Cron(sunday).after(ms(2026, 1, 1))) == "2026-01-04T00:00+00:00"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", "2026-01-01T10:08+00:00"),
        ("*/15 * * * *", "2026-01-01T10:15+00:00"),
        ("5,7 9-11 * * *", "2026-01-01T11:05+00:00"),
        ("0 0 1 * *", "2026-02-01T00:00+00:00"),
        ("30 6 * * sat-sun", "2026-01-03T06:30+00:00"),
        ("30 6 * * 1-5", "2026-01-02T06:30+00:00"),
        ("0 12 * * 6-7", "2026-01-03T12:00+00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00+00:00"),
        ("0 0 1 jan-mar/2 *", "2026-03-01T00:00+00:00"),
        ("@hourly", "2026-01-01T11:00+00:00"),
        ("@yearly", "2027-01-01T00:00+00:00"),
    ],
)
def test_the_next_slot_is_the_next_minute_that_the_line_names(text, expected):
    assert iso(Cron(text).after(ms(2026, 1, 1, 10, 7))) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * * *", "4 fields"),
        ("60 * * * *", "'60' is not in 0-59"),
        ("* * * * 8", "'8' is not in 0-7"),
        ("* * 0 * *", "'0' is not in 1-31"),
        ("* * * foo *", "'foo' is not in 1-12"),
        ("*/0 * * * *", "is empty"),
        ("9-5 * * * *", "is empty"),
        ("5/10 * * * *", "no range"),
        ("1,,2 * * * *", "cannot be read"),
        ("0 0 31 2 *", "do not have"),
        ("0 0 1 * mon", "two entries"),
        ("@fortnightly", "1 fields"),
    ],
)
def test_a_line_that_could_be_misread_is_refused_with_its_reason(text, why):
    with pytest.raises(ValueError, match=why):
        Cron(text)


def test_an_unknown_time_zone_is_refused():
    with pytest.raises(ValueError, match="Mars/Olympus"):
        Cron("* * * * *", time_zone="Mars/Olympus")


def test_a_slot_is_in_the_time_zone_of_its_entry():
    cron = Cron("0 9 * * mon", time_zone="America/Sao_Paulo")

    assert iso(cron.after(ms(2026, 1, 1))) == "2026-01-05T12:00+00:00"
    assert cron.matches(datetime(2026, 1, 5, 12, 0, 59, tzinfo=UTC))
    assert not cron.matches(datetime(2026, 1, 5, 9, 0, tzinfo=UTC))


def test_a_repeated_local_hour_fires_a_daily_line_once_and_an_hourly_one_twice():
    # Berlin goes back from 03:00 to 02:00 on 25 October 2026 at 01:00 UTC.
    daily, hourly = (Cron(text, time_zone="Europe/Berlin") for text in ("30 2 * * *", "30 * * * *"))
    first_ms = ms(2026, 10, 25, 0, 30)

    assert daily.after(first_ms - 1) == first_ms
    assert iso(daily.after(first_ms)) == "2026-10-26T01:30+00:00"
    assert hourly.after(first_ms) == first_ms + 60 * MINUTE_MS


def test_a_skipped_local_time_does_not_come_that_day():
    # Berlin skips 02:00 to 03:00 on 29 March 2026.
    cron = Cron("30 2 * * *", time_zone="Europe/Berlin")

    assert iso(cron.after(ms(2026, 3, 28, 12)), "Europe/Berlin") == "2026-03-30T02:30+02:00"


def test_a_midnight_that_does_not_exist_does_not_stop_the_search():
    # Cairo skips 00:00 to 01:00 on 24 April 2026.
    cron = Cron("15 1 * * *", time_zone="Africa/Cairo")

    assert iso(cron.after(ms(2026, 4, 23, 12)), "Africa/Cairo") == "2026-04-24T01:15+03:00"


@pytest.mark.parametrize("zone", ["UTC", "America/Sao_Paulo", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    ("text", "aps_weekday"),
    [
        ("7 3 * * *", "*"),
        ("*/20 8-17 * * 1-5", "mon-fri"),
        ("0 0 * * 0", "sun"),
        ("30 22 * * fri-sun", "fri-sun"),
        ("0 5 31 * *", "*"),
        ("59 23 29 2 *", "*"),
    ],
)
def test_the_grid_is_that_of_an_independent_cron(text, aps_weekday, zone):
    minute, hour, day, month, _ = text.split()
    other = CronTrigger(
        minute=minute, hour=hour, day=day, month=month, day_of_week=aps_weekday, timezone=ZoneInfo(zone)
    )
    at_ms, cron = ms(2026, 1, 1, 3, 3), Cron(text, time_zone=zone)
    for _ in range(40):
        expected = other.get_next_fire_time(None, datetime.fromtimestamp(at_ms / 1000 + 1, tz=UTC))
        at_ms = cron.after(at_ms)
        assert at_ms == int(expected.timestamp()) * 1000


@given(
    text=st.sampled_from(["* * * * *", "*/7 * * * *", "0 */5 * * *", "15 3 * * 1,4", "0 0 1 * *"]),
    now_ms=st.integers(min_value=ms(2025, 1, 1), max_value=ms(2030, 1, 1)),
    within_ms=st.integers(min_value=1, max_value=40 * DAY_MS),
)
def test_the_latest_slot_is_due_not_late_and_nothing_comes_between(text, now_ms, within_ms):
    cron = Cron(text)
    slot_ms = cron.latest(now_ms, within_ms=within_ms)

    if slot_ms is None:
        assert cron.after(now_ms - within_ms - 1) > now_ms
    else:
        assert now_ms - within_ms <= slot_ms <= now_ms < cron.after(slot_ms)
        assert cron.matches(datetime.fromtimestamp(slot_ms / 1000, tz=UTC))


@pytest.mark.parametrize(
    "scheduled_at", ["2026-01-05 12:00:00+00:00", "2026-01-05T09:00:59.5-03:00", "2026-01-05T12:00:00.000000+00:00"]
)
def test_a_scheduled_time_is_the_slot_of_its_minute(scheduled_at):
    assert slot_of(scheduled_at) == ms(2026, 1, 5, 12)


def test_a_scheduled_time_without_an_offset_is_refused():
    with pytest.raises(ValueError, match="no offset"):
        slot_of("2026-01-05 12:00:00")


def test_one_slot_of_one_actor_has_one_id():
    slot_ms = ms(2026, 1, 5, 12)
    ids = {
        tick_options(actor, at_ms)["enqueue_id"]
        for actor in ("sample", "sweep")
        for at_ms in (slot_ms, slot_ms + MINUTE_MS)
        for _ in range(3)
    }

    assert len(ids) == 4
    assert slot_of(str(datetime.fromtimestamp(slot_ms / 1000, tz=UTC) + timedelta(seconds=30))) == slot_ms
