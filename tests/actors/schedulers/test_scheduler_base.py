"""Finding and starting the scheduler that the settings name."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from waiting import until

from actors import services
from actors.errors import SettingsError
from actors.schedule import CatchUp, Entry
from actors.schedulers.base import Sender, firing, prepare, start_scheduler
from actors.services import Services
from actors.settings import Settings
from actors.stores.memory import MemoryStore
from middleware.clock import SystemClock
from middleware.errors import ExitCode, QueueUnavailable, Refusal
from middleware.slots import MINUTE_MS, Cron
from middleware.ticks import Ticks

ROOT = Path(__file__).parents[3]
NOW_MS = 1_767_614_400_000
EVERY_MINUTE = Entry(actor="sample", cron=Cron("* * * * *"), catch_up=CatchUp.ALL, catch_up_s=300)
MINUTES = [NOW_MS + minute * MINUTE_MS for minute in range(-5, 1)]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    services.install(None)


def use(**settings: object) -> None:
    services.install(Services(settings=replace(Settings(), **settings), store=MemoryStore()))


@pytest.mark.parametrize("name", ["none", "periodiq"])
def test_a_scheduler_that_runs_elsewhere_fires_nothing_here(name):
    fired: list[object] = []
    running = start_scheduler(name, (), lambda *slot: fired.append(slot), SystemClock())
    running.stop()

    assert fired == []


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match="'cronish'; known: apscheduler, none, periodiq"):
        start_scheduler("cronish", (), lambda *slot: None, SystemClock())


def test_a_worker_starts_what_the_settings_name_and_gets_what_stops_it():
    use(scheduler="apscheduler")
    before = set(threading.enumerate())
    stop = prepare(StubBroker(middleware=[Ticks()]))
    began = set(threading.enumerate()) - before

    stop()

    assert began
    until(lambda: not any(thread.is_alive() for thread in began), within_ms=20_000)


def test_a_worker_that_could_not_sweep_refuses_to_start():
    use(scheduler="none", memory_every_s=61)
    with pytest.raises(Refusal) as refused:
        prepare(StubBroker(middleware=[Ticks()]))

    assert refused.value.code == ExitCode.SETTINGS
    assert "CHAT_MEMORY_EVERY_S" in str(refused.value)


def test_a_missing_package_is_named_with_what_installs_it():
    script = (
        "import sys; sys.modules['apscheduler'] = None\n"
        "from actors.schedulers.base import start_scheduler\n"
        "from actors.errors import SettingsError\n"
        "try:\n    start_scheduler('apscheduler', (), print, None)\n"
        "except SettingsError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert "pip install chat-actors[apscheduler]" in done.stdout


def test_a_slot_that_could_not_be_sent_holds_back_the_later_ones():
    tries: list[int] = []

    def fire(_: str, slot_ms: int) -> None:
        tries.append(slot_ms)
        if len(tries) == 3:
            raise QueueUnavailable("Redis is away")

    sender = Sender(fire)

    assert not sender.send_due(EVERY_MINUTE, NOW_MS)
    assert sender.send_due(EVERY_MINUTE, NOW_MS)
    assert tries == [*MINUTES[:3], *MINUTES[2:]]


def test_what_a_process_sent_itself_it_does_not_ask_for_again():
    fired: list[int] = []
    sender = Sender(lambda _, slot_ms: fired.append(slot_ms))
    for second in range(0, 120, 5):
        assert sender.send_due(EVERY_MINUTE, NOW_MS + second * 1_000)

    assert fired == [*MINUTES, NOW_MS + MINUTE_MS]


def test_a_long_catch_up_ends_when_the_process_shall_stop():
    fired: list[int] = []

    def fire(_: str, slot_ms: int) -> None:
        fired.append(slot_ms)
        if len(fired) == 2:
            sender.stopping.set()

    sender = Sender(fire)
    sender.send_due(EVERY_MINUTE, NOW_MS)

    assert fired == MINUTES[:2]


def test_only_where_all_slots_count_is_each_a_message_of_its_own():
    broker = StubBroker(middleware=[Ticks()])
    for name in ("all", "last"):
        dramatiq.actor(lambda: None, broker=broker, actor_name=name)
    schedule = tuple(
        Entry(actor=one.value, cron=Cron("* * * * *"), catch_up=one) for one in (CatchUp.ALL, CatchUp.LAST)
    )
    fire = firing(broker, schedule)
    for entry in schedule:
        fire(entry.actor, NOW_MS)

    sent = [dramatiq.Message.decode(data).options for data in broker.queues["default"].queue]
    assert [(one.get("lane"), one.get("unique_key"), one["tick"]) for one in sent] == [
        ("tick:all", None, NOW_MS),
        (None, "tick:last", NOW_MS),
    ]
