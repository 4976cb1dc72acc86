"""The table of periodic sends."""

from dataclasses import replace

import pytest

import actors
from actors.errors import SettingsError
from actors.schedule import PERIODIC_ACTORS, CatchUp, Entry, entries, entry_of
from actors.settings import Settings
from middleware.slots import MINUTE_MS, Cron

MIDNIGHT_MS = 1_767_571_200_000
HOUR_MS = 60 * MINUTE_MS


def test_every_entry_has_an_actor_that_runs_without_arguments():
    for entry in entries(Settings()):
        actor = actors.broker.get_actor(entry.actor)
        assert actor.queue_name == "housekeeping"
        assert actor.message().args == ()
    assert [entry.actor for entry in entries(Settings())] == list(PERIODIC_ACTORS)


def test_an_actor_has_one_entry_so_that_a_slot_has_one_id():
    names = [entry.actor for entry in entries(Settings())]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("every_s", "cron"),
    [(60, "*/1 * * * *"), (300, "*/5 * * * *"), (1_800, "*/30 * * * *"), (3_600, "0 */1 * * *"), (86_400, "0 0 * * *")],
)
def test_the_time_between_memory_samples_is_that_of_the_settings(every_s, cron):
    settings = replace(Settings(), memory_every_s=every_s)

    found = entry_of("record_memory_usage", settings).cron
    assert str(found) == cron
    assert found.after(MIDNIGHT_MS) - MIDNIGHT_MS == every_s * 1000


@pytest.mark.parametrize("every_s", [1, 59, 61, 90, 420, 5_400, 18_000, 100_000])
def test_a_time_that_does_not_fit_the_clock_is_refused(every_s):
    with pytest.raises(SettingsError, match=f"CHAT_MEMORY_EVERY_S is {every_s}"):
        entries(replace(Settings(), memory_every_s=every_s))


@pytest.mark.parametrize("catch_up_s", [0, 59, 86_401])
def test_no_slot_is_caught_up_after_its_mark_was_forgotten(catch_up_s):
    with pytest.raises(ValueError, match="catch_up_s"):
        Entry(actor="sweep_pending", cron=Cron("* * * * *"), catch_up_s=catch_up_s)


@pytest.mark.parametrize(
    ("catch_up", "minutes_late", "hours"),
    [
        (CatchUp.SKIP, 0, [0]),
        (CatchUp.SKIP, 1, [0]),
        (CatchUp.SKIP, 2, []),
        (CatchUp.LAST, 59, [0]),
        (CatchUp.LAST, 61, [1]),
        (CatchUp.LAST, 4 * 60, [4]),
        (CatchUp.ALL, 0, [-3, -2, -1, 0]),
        (CatchUp.ALL, 1, [-2, -1, 0]),
        (CatchUp.ALL, 4 * 60 + 30, [2, 3, 4]),
    ],
)
def test_what_is_due_late_is_what_the_entry_catches_up(catch_up, minutes_late, hours):
    entry = Entry(actor="a", cron=Cron("0 * * * *"), catch_up=catch_up, catch_up_s=3 * 60 * 60)

    due = entry.due(MIDNIGHT_MS + minutes_late * MINUTE_MS)

    assert due == [MIDNIGHT_MS + hour * HOUR_MS for hour in hours]


@pytest.mark.parametrize("catch_up", CatchUp)
def test_what_was_sent_is_not_due(catch_up):
    entry = Entry(actor="a", cron=Cron("0 * * * *"), catch_up=catch_up, catch_up_s=3 * 60 * 60)

    assert entry.due(MIDNIGHT_MS, after_ms=MIDNIGHT_MS) == []
    assert entry.due(MIDNIGHT_MS, after_ms=MIDNIGHT_MS - 1) == [MIDNIGHT_MS]


def test_the_latest_slot_is_caught_up_within_its_time_and_not_after():
    entry = Entry(actor="a", cron=Cron("0 0 * * *"), catch_up_s=3_600)

    assert entry.due(MIDNIGHT_MS + HOUR_MS) == [MIDNIGHT_MS]
    assert entry.due(MIDNIGHT_MS + HOUR_MS + 1) == []
