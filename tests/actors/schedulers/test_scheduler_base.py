"""Finding and starting the scheduler that the settings name."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dramatiq.brokers.stub import StubBroker

from actors import services
from actors.errors import SettingsError
from actors.schedulers.base import prepare, start_scheduler
from actors.services import Services
from actors.settings import Settings
from actors.stores.memory import MemoryStore
from middleware.clock import SystemClock
from middleware.errors import ExitCode, Refusal
from middleware.ticks import Ticks

ROOT = Path(__file__).parents[3]


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
    use(scheduler="none")
    stop = prepare(StubBroker(middleware=[Ticks()]))

    stop()


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
