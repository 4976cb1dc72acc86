"""The scheduler inside a worker: fires what is due, survives what fails, stops when told."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from waiting import stays, until

from actors.schedule import CatchUp, Entry
from actors.schedulers.apscheduler import GridTrigger, Ticking, start
from middleware.clock import SystemClock
from middleware.errors import QueueUnavailable
from middleware.slots import MINUTE_MS, Cron

MINUTELY = Entry(actor="sample", cron=Cron("* * * * *"))


class SetClock(SystemClock):
    """Wall time as the test says; threads wait for real."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000


@pytest.fixture
def ticking() -> Iterator[Callable[..., Ticking]]:
    made: list[Ticking] = []

    def make(fire: Callable[[str, int], object], clock: SystemClock | None = None, **options: int) -> Ticking:
        made.append(Ticking(fire, clock or SystemClock(), **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def engine_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("APScheduler")]


def test_the_slot_of_now_is_fired_at_once_and_without_blocking(ticking):
    fired: list[tuple[str, int]] = []
    clock = SystemClock()
    before_ms = clock.now_ms()
    ticking(lambda *slot: fired.append(slot)).start((MINUTELY, Entry(actor="sweep", cron=Cron("* * * * *"))))
    until(lambda: len(fired) >= 2, within_ms=5_000)

    assert {actor for actor, _ in fired} == {"sample", "sweep"}
    for _, slot_ms in fired:
        assert slot_ms % MINUTE_MS == 0
        assert before_ms - MINUTE_MS < slot_ms <= clock.now_ms() + 500


def test_the_next_minute_is_fired_when_it_comes(ticking):
    # A grid of seconds would be no cron: so the trigger is asked, as APScheduler asks it.
    trigger = GridTrigger(Cron("30 6 * * sun"))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    first = trigger.get_next_fire_time(None, now)

    assert first == datetime(2026, 1, 4, 6, 30, tzinfo=UTC)
    assert trigger.get_next_fire_time(first, now) == datetime(2026, 1, 11, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "slot"),
    [
        ((2026, 1, 5, 3, 0), (2026, 1, 5, 3, 0)),
        ((2026, 1, 5, 3, 59), (2026, 1, 5, 3, 0)),
        ((2026, 1, 5, 4, 1), None),
        ((2026, 1, 5, 2, 59), None),
    ],
)
def test_a_slot_is_caught_up_within_its_time_and_not_after(ticking, now, slot):
    fired: list[int] = []
    entry = Entry(actor="daily", cron=Cron("0 3 * * *"), catch_up_s=3_600)

    ticking(lambda _, slot_ms: fired.append(slot_ms), SetClock(ms(*now))).tick(entry)

    assert fired == ([] if slot is None else [ms(*slot)])


def test_a_tick_that_comes_a_moment_early_means_the_slot_ahead(ticking):
    fired: list[int] = []
    ticking(lambda _, slot_ms: fired.append(slot_ms), SetClock(ms(2026, 1, 5, 3, 1) - 200)).tick(MINUTELY)

    assert fired == [ms(2026, 1, 5, 3, 1)]


def test_a_slot_that_could_not_be_sent_is_tried_until_it_can(ticking, caplog):
    tries: list[int] = []

    def fire(actor: str, slot_ms: int) -> None:
        tries.append(slot_ms)
        if len(tries) < 4:
            raise QueueUnavailable("Redis is away")

    entry = Entry(actor="yearly", cron=Cron("0 3 5 1 *"), catch_up_s=3_600)
    clock = SetClock(ms(2026, 1, 5, 3, 10))
    ticking(fire, clock, again_ms=0).start((entry,))
    until(lambda: len(tries) >= 4, within_ms=5_000)

    assert set(tries) == {ms(2026, 1, 5, 3)}
    stays(lambda: len(tries) == 4, for_ms=200)
    failed = [record for record in caplog.records if record.getMessage() == "tick.failed"]
    assert [vars(record)["code"] for record in failed] == ["queue_unavailable"] * 3


def test_a_fault_that_nobody_expected_ends_nothing_and_its_text_is_not_logged(ticking, caplog):
    tries: list[int] = []

    def fire(actor: str, slot_ms: int) -> None:
        tries.append(slot_ms)
        raise ValueError("Olá Maria")

    with caplog.at_level(logging.INFO):
        ticking(fire, again_ms=0).start((MINUTELY,))
        until(lambda: len(tries) >= 3, within_ms=5_000)

    assert "Maria" not in caplog.text
    assert "ValueError" in {vars(record).get("code") for record in caplog.records}


def test_a_stopped_scheduler_fires_no_more_and_its_threads_end():
    fired: list[int] = []
    running = start((MINUTELY,), lambda _, slot_ms: fired.append(slot_ms), SystemClock())
    until(lambda: fired, within_ms=5_000)

    running.stop()
    running.stop()

    until(lambda: engine_threads() == [], within_ms=5_000)


def test_a_send_under_way_does_not_hold_up_the_stop_and_none_follows_it(ticking):
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    fired: list[int] = []

    def fire(actor: str, slot_ms: int) -> None:
        fired.append(slot_ms)
        begun.set()
        may_end.wait(10)
        ended.set()

    scheduler = ticking(fire)
    scheduler.start((Entry(actor="sample", cron=Cron("* * * * *"), catch_up=CatchUp.ALL),))
    assert begun.wait(5)
    scheduler.stop()
    assert not ended.is_set()

    may_end.set()
    assert ended.wait(5)
    stays(lambda: len(fired) == 1, for_ms=200)
