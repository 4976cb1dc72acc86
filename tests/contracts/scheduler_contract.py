"""What every scheduler keeps: subclass :class:`SchedulerContract` and say how to ask it and how to let it look at a clock.

``test_scheduler_contract`` runs it over the schedulers of this distribution; a backend from elsewhere can do the same. Redis
and workers are real, what the clock says is the test's.
"""

import os
import sys
import threading
from collections.abc import Iterator

import pytest
import redis
from contracts.cron_oracle import Case, cases, fire_times
from contracts.scheduler_world import HOUR_MS, NOON_MS, Process, Rig, World, entry, every_hour

from actors.schedule import CatchUp
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.slots import MINUTE_MS, Cron

#: Of the random lines; TEST_CRON_SEED names another one.
SEED = int(os.environ.get("TEST_CRON_SEED", "20260105"))
#: Fire times compared of each line.
TIMES = 6


class SchedulerContract:
    """Subclass it with a fixture ``rig``."""

    @pytest.fixture
    def world(self, redis_server: EmbeddedRedis, queue_client: redis.Redis, rig: Rig) -> Iterator[World]:
        world = World(redis_server, rig)
        yield world
        world.close()

    @pytest.mark.parametrize("count", [200, pytest.param(1_000, marks=pytest.mark.slow)])
    def test_a_line_comes_when_an_independent_cron_says(self, rig, count, record_property):
        sys.stdout.write(f"cron lines of seed {SEED}\n")
        refused: list[str] = []
        for case in cases(count, seed=SEED):
            try:
                cron = Cron(case.text, case.zone)
            except ValueError as error:
                refused.append(str(error))
                continue
            assert rig.fire_times(cron, case.start_ms, TIMES) == fire_times(case, TIMES), case

        record_property("seed", SEED)
        record_property("lines", count)
        record_property("read_percent", round(100 * (1 - len(refused) / count), 1))
        assert len(refused) <= count * 0.05, refused
        for words in refused:
            assert words.startswith("cron '")
            assert "write" in words or "never comes" in words

    @pytest.mark.redis
    @pytest.mark.parametrize(
        "text", ["0 12 * * 0", "0 12 * * 7", "0 12 * * sat-sun", "0 12 29 2 *", "0 12 13 * fri", "0 12 * jan,dec mon"]
    )
    def test_it_sends_on_the_days_of_a_line_and_on_no_other(self, world, text):
        # Lines that one scheduler or another fires on a wrong day, or never.
        due = fire_times(Case(text, "UTC", NOON_MS - MINUTE_MS), 8)
        days = {NOON_MS + day * 24 * HOUR_MS for day in range(15)} | set(due)
        look = world.process(entry(text, CatchUp.SKIP))
        with world.working():
            for at_ms in sorted(days | {at_ms + 5 * MINUTE_MS for at_ms in days}):
                look(at_ms)
                world.settled()

        assert world.ran == due

    @pytest.mark.redis
    def test_two_at_once_send_each_slot_once(self, world):
        two = [world.process(entry("* * * * *")) for _ in range(2)]
        slots = [NOON_MS + minute * MINUTE_MS for minute in range(15)]
        line = threading.Barrier(len(two) + 1)

        def look_at_each_minute(look: Process) -> None:
            for slot_ms in slots:
                line.wait(10)
                look(slot_ms)
                line.wait(10)

        threads = [threading.Thread(target=look_at_each_minute, args=(look,)) for look in two]
        with world.working():
            for thread in threads:
                thread.start()
            for _ in slots:
                line.wait(10)
                line.wait(10)
                world.settled()
            for thread in threads:
                thread.join(10)

        assert world.ran == slots
        assert world.counter("enqueued") == len(slots)

    @pytest.mark.redis
    @pytest.mark.parametrize("catch_up", CatchUp)
    def test_one_that_starts_again_in_the_middle_of_a_minute_sends_nothing_again(self, world, catch_up):
        due = entry("* * * * *", catch_up, catch_up_s=60)
        with world.working():
            world.process(due)(NOON_MS + 2_000)
            sent = list(world.settled())
            for second in (2, 20, 59):
                world.process(due)(NOON_MS + second * 1_000)
                world.settled()

        assert NOON_MS in sent
        assert world.ran == sent

    @pytest.mark.redis
    @pytest.mark.parametrize("catch_up", CatchUp)
    def test_a_clock_ten_minutes_ahead_neither_doubles_nor_loses_a_slot(self, world, catch_up):
        due = entry("* * * * *", catch_up, catch_up_s=60)
        right, ahead = world.process(due), world.process(due)
        minutes = [NOON_MS + minute * MINUTE_MS for minute in range(30)]
        with world.working():
            for at_ms in minutes:
                right(at_ms + 300)
                world.settled()
                ahead(at_ms + 10 * MINUTE_MS)
                world.settled()
            # It is put right, and then the one that was right alone goes on.
            ahead(minutes[-1] + MINUTE_MS)
            for minute in range(2, 12):
                right(minutes[-1] + minute * MINUTE_MS)
                world.settled()

        assert len(world.ran) == len(set(world.ran))
        assert {slot_ms for slot_ms in world.ran if slot_ms >= NOON_MS} == {
            NOON_MS + minute * MINUTE_MS for minute in range(41)
        }

    @pytest.mark.redis
    def test_a_clock_that_was_ahead_does_not_silence_its_process(self, world):
        look = world.process(entry("0 * * * *"))
        with world.working():
            look(NOON_MS + 3 * HOUR_MS)
            world.settled()
            look(NOON_MS)
            world.settled()

        assert world.ran == [NOON_MS + 3 * HOUR_MS, NOON_MS]

    @pytest.mark.redis
    def test_a_late_tick_that_fails_is_tried_again(self, world):
        world.failing = 2
        with world.working():
            world.process(entry("0 12 * * *"))(NOON_MS + 40 * MINUTE_MS)
            world.settled()

        assert world.ran == [NOON_MS] * 3
        assert world.counter("done") == 1

    @pytest.mark.redis
    @pytest.mark.parametrize(
        ("catch_up", "caught_up"),
        [(CatchUp.SKIP, []), (CatchUp.LAST, every_hour(5, 5)), (CatchUp.ALL, every_hour(3, 5))],
    )
    def test_what_everybody_missed_is_sent_late_as_the_entry_has_it(self, world, catch_up, caught_up):
        due = entry("0 * * * *", catch_up, catch_up_s=3 * 60 * 60)
        first = world.process(due)
        with world.working(threads=4):
            first(NOON_MS)
            begun = list(world.settled())
            # Five hours and ten minutes in which no process runs.
            late_ms = NOON_MS + 5 * HOUR_MS + 10 * MINUTE_MS
            for look in (world.process(due), world.process(due), first):
                look(late_ms)
                world.settled()
            first(NOON_MS + 6 * HOUR_MS)
            world.settled()

        assert NOON_MS in begun
        assert world.ran == begun + caught_up + every_hour(6, 6)

    @pytest.mark.redis
    def test_a_tick_may_be_almost_a_minute_late_even_where_nothing_is_caught_up(self, world):
        with world.working():
            world.process(entry("0 12 * * *", CatchUp.SKIP))(NOON_MS + 59_000)
            world.settled()

        assert world.ran == [NOON_MS]

    @pytest.mark.redis
    def test_all_missed_slots_run_in_order_behind_a_worker_that_was_away_too(self, world):
        two = [world.process(entry("0 * * * *", CatchUp.ALL, catch_up_s=24 * 60 * 60)) for _ in range(2)]
        threads = [threading.Thread(target=look, args=(NOON_MS + MINUTE_MS,)) for look in two]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        world.failing = 3
        with world.working(threads=4):
            world.settled()

        in_order = every_hour(-23, 0)
        assert world.ran == in_order[:1] * 3 + in_order
        assert world.counter("enqueued") == len(in_order)

    @pytest.mark.redis
    @pytest.mark.parametrize(
        ("catch_up", "caught_up"), [(CatchUp.LAST, every_hour(3, 3)), (CatchUp.ALL, every_hour(1, 3))]
    )
    def test_slots_that_came_while_redis_was_away_are_sent_when_it_is_back(self, rig, catch_up, caught_up, caplog):
        with EmbeddedRedis() as server:
            world = World(server, rig)
            look = world.process(entry("0 * * * *", catch_up, catch_up_s=3 * 60 * 60))
            with world.working():
                look(NOON_MS)
                begun = list(world.settled())
            server.stop()
            for minutes in (60, 61, 120, 180):
                look(NOON_MS + minutes * MINUTE_MS)
            server.start()
            with world.working():
                look(NOON_MS + 181 * MINUTE_MS)
                world.settled()
            world.close()

        assert NOON_MS in begun
        assert world.ran == begun + caught_up
        failed = [vars(record) for record in caplog.records if record.getMessage() == "tick.failed"]
        assert {record["code"] for record in failed} == {"queue_unavailable"}
        assert len(failed) >= 4
