"""When a cron line is due, and the one id of a slot."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.slots import MINUTE_MS, Cron, slot_of, tick_options

DAY_MS = 24 * 60 * MINUTE_MS


def ms(*parts: int, zone: str = "UTC") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def iso(at_ms: int, zone: str = "UTC") -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=ZoneInfo(zone)).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    "sunday", ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun", "0 0 * * Sun", "@weekly", "0 0 * * 7-7", "0 0 * * 7-sun"]
)
def test_sunday_is_sunday_however_it_is_written(sunday):
    # 4 January 2026 is a Sunday.
    assert iso(Cron(sunday).after(ms(2026, 1, 1))) == "2026-01-04T00:00+00:00"


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [
        ("sat-sun", [3, 4]),
        ("6-7", [3, 4]),
        ("6-0", [3, 4]),
        ("fri-mon", [2, 3, 4, 5]),
        ("5-1", [2, 3, 4, 5]),
        ("sun-tue", [4, 5, 6]),
        ("7-2", [4, 5, 6]),
        ("mon-7", [1, 2, 3, 4, 5, 6, 7]),
        ("mon-sun", [1, 2, 3, 4, 5, 6, 7]),
        ("wed,sat-sun", [3, 4, 7]),
        ("1-5/2", [2, 5, 7]),
    ],
)
def test_a_range_of_weekdays_may_go_on_into_the_next_week(weekdays, days):
    # 1 January 2026 is a Thursday.
    slots = Cron(f"0 0 * * {weekdays}").between(ms(2025, 12, 31, 23), ms(2026, 1, 7, 1))

    assert slots == [ms(2026, 1, day) for day in days]


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
        ("0 8 * * fri-mon", "2026-01-02T08:00+00:00"),
        ("0 0 13 * fri", "2026-01-02T00:00+00:00"),
        ("0 0 */13 * fri", "2026-02-27T00:00+00:00"),
        ("0 0 L * *", "2026-01-31T00:00+00:00"),
        ("0 0 * * mon#2", "2026-01-12T00:00+00:00"),
        ("@hourly", "2026-01-01T11:00+00:00"),
        ("@yearly", "2027-01-01T00:00+00:00"),
    ],
)
def test_the_next_slot_is_the_next_minute_that_the_line_names(text, expected):
    assert iso(Cron(text).after(ms(2026, 1, 1, 10, 7))) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * * *", "has 4 fields; it needs 5"),
        ("* * * * * *", "has 6 fields; it needs 5"),
        ("@fortnightly", "has 1 fields; it needs 5"),
        ("60 * * * *", "minute '60' cannot be read; write 0-59"),
        ("* 24 * * *", "hour '24' cannot be read; write 0-23"),
        ("* * 0 * *", "day of month '0' cannot be read; write 1-31"),
        ("* * * foo *", "month 'foo' cannot be read; write 1-12 or jan-dec"),
        ("* * * * 8", "day of week '8' cannot be read; write 0-7 or sun-sat"),
        ("*/0 * * * *", "minute '\\*/0' cannot be read"),
        ("9-5 * * * *", "minute '9-5' cannot be read"),
        ("1,,2 * * * *", "minute '1,,2' cannot be read"),
        ("* * * * sat-sun/2", "day of week 'sat-sun/2' cannot be read"),
        ("* * * * sat-sun-mon", "day of week 'sat-sun-mon' cannot be read"),
        ("٣ * * * *", "minute '٣' cannot be read"),
        ("5/10 * * * *", "minute '5/10' has a step but no range; write first-last/step"),
        ("0 0 31 2 *", "never comes"),
        ("0 0 */20 * 1L", "never comes"),
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


# Berlin goes from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October, both at 01:00 UTC.


@pytest.mark.parametrize("text", ["30 2 * * *", "*/30 2 * * *", "30 */2 * * *", "30 1-23 * * *"])
def test_a_line_for_certain_hours_comes_once_in_a_repeated_hour(text):
    cron = Cron(text, time_zone="Europe/Berlin")
    first_ms = ms(2026, 10, 25, 0, 30)

    assert cron.after(first_ms - 1) == first_ms
    assert cron.after(first_ms) >= ms(2026, 10, 25, 2)
    for minute in range(60):
        # Asked within the second of the two hours, it must not point back to the first.
        assert cron.after(ms(2026, 10, 25, 1, minute)) >= ms(2026, 10, 25, 2)


@pytest.mark.parametrize("text", ["30 2 * * *", "*/30 2 * * *", "0,15 1-2 * * *", "30 */2 * * *"])
def test_what_a_skipped_hour_would_have_had_comes_once_and_at_once_after_it(text):
    cron = Cron(text, time_zone="Europe/Berlin")
    gap_ms = ms(2026, 3, 29, 1)

    assert cron.after(gap_ms - 1) == gap_ms
    assert cron.matches(datetime(2026, 3, 29, 1, 0, 30, tzinfo=UTC))
    assert cron.between(gap_ms - 1, gap_ms + 60 * MINUTE_MS) == [gap_ms]


@pytest.mark.parametrize("text", ["30 * * * *", "30 0-23 * * *", "30 */1 * * *", "@hourly"])
@pytest.mark.parametrize("change", [(2026, 3, 28, 22), (2026, 10, 24, 22)])
def test_a_line_for_every_hour_goes_on_with_the_time_that_passes(text, change):
    cron = Cron(text, time_zone="Europe/Berlin")
    slots = cron.between(ms(*change), ms(*change) + 8 * 60 * MINUTE_MS)

    assert len(slots) == 8
    assert {later - earlier for earlier, later in itertools.pairwise(slots)} == {60 * MINUTE_MS}


def test_a_midnight_that_does_not_exist_does_not_stop_the_search():
    # Cairo skips 00:00 to 01:00 on 24 April 2026.
    cron = Cron("15 1 * * *", time_zone="Africa/Cairo")

    assert iso(cron.after(ms(2026, 4, 23, 12)), "Africa/Cairo") == "2026-04-24T01:15+03:00"


def test_the_slots_between_two_times_are_all_of_them_in_order():
    cron = Cron("*/20 9 * * *")

    assert cron.between(ms(2026, 1, 1, 9), ms(2026, 1, 2, 9)) == [
        ms(2026, 1, 1, 9, 20),
        ms(2026, 1, 1, 9, 40),
        ms(2026, 1, 2, 9),
    ]
    assert cron.between(ms(2026, 1, 1, 9), ms(2026, 1, 1, 9)) == []


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
