"""The scheduler contract over APScheduler and periodiq."""

from datetime import UTC, datetime

import pendulum
import periodiq
import pytest
from contracts.scheduler_contract import SchedulerContract
from contracts.scheduler_world import ACTOR, Process

from actors import backends
from actors.schedule import Entry
from actors.schedulers.apscheduler import GridTrigger, Ticking
from actors.schedulers.base import Sender, firing
from actors.schedulers.periodiq import Periodic
from middleware.brokers.redis.broker import CarrierBroker
from middleware.clock import SystemClock
from middleware.slots import Cron


class SetClock(SystemClock):
    """Wall time as the test says."""

    at_ms = 0

    def now_ms(self) -> int:
        return self.at_ms


class ApschedulerRig:
    def fire_times(self, cron: Cron, start_ms: int, count: int) -> list[int]:
        trigger, now, previous = GridTrigger(cron), datetime.fromtimestamp(start_ms / 1000, tz=UTC), None
        times: list[int] = []
        while len(times) < count:
            previous = trigger.get_next_fire_time(previous, now)
            times.append(int(previous.timestamp()) * 1000)
        return times

    def process(self, broker: CarrierBroker, entry: Entry) -> Process:
        clock = SetClock()
        ticking = Ticking(firing(broker, (entry,)), clock)

        def look(at_ms: int) -> None:
            clock.at_ms = at_ms
            ticking.tick(entry)

        return look


class PeriodiqRig:
    def fire_times(self, cron: Cron, start_ms: int, count: int) -> list[int]:
        sent: list[int] = []
        sender = Sender(lambda _, slot_ms: sent.append(slot_ms))
        periodic = Periodic(lambda: Entry(actor=ACTOR, cron=cron), sender.send_due)
        last = pendulum.from_timestamp(start_ms / 1000)
        while len(sent) < count:
            last = periodic.next_valid_date(last)
            periodic.validate(last)
        return sent

    def process(self, broker: CarrierBroker, entry: Entry) -> Process:
        actor = broker.get_actor(ACTOR)
        actor.options["periodic"] = Periodic(lambda: entry, Sender(firing(broker, (entry,))).send_due)
        scheduler = periodiq.Scheduler(actors=[actor])

        def look(at_ms: int) -> None:
            # As its own ``schedule`` does, which asks the machine for the time.
            now = pendulum.from_timestamp(at_ms / 1000)
            due = [one for one in scheduler.actors if one.options["periodic"].validate(now)]
            scheduler.send_actors(due, now=now)

        return look


class TestApscheduler(SchedulerContract):
    @pytest.fixture
    def rig(self) -> ApschedulerRig:
        return ApschedulerRig()


class TestPeriodiq(SchedulerContract):
    @pytest.fixture
    def rig(self) -> PeriodiqRig:
        return PeriodiqRig()


def test_every_backend_that_fires_is_held_to_the_contract():
    assert set(backends.BUILT_IN["scheduler"]) == {"apscheduler", "periodiq", "none"}
