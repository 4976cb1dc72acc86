"""``periodiq actors``: any number of processes, one message per slot, and Sundays."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dramatiq
import pendulum
import periodiq
import pytest
import redis
from dramatiq.brokers.stub import StubBroker
from waiting import until

import actors
from actors import services
from actors.schedule import PERIODIC_ACTORS, Entry
from actors.schedulers.base import Sender
from actors.schedulers.periodiq import Periodic, attach
from actors.services import Services
from actors.settings import Settings
from actors.stores.memory import MemoryStore
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import QueueUnavailable
from middleware.slots import Cron, slot_of, tick_options

ROOT = Path(__file__).parents[3]
PERIODIQ = Path(sys.executable).with_name("periodiq")


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    services.install(Services(settings=Settings(), store=MemoryStore()))
    yield
    services.install(None)


def due(text: str, zone: str = "UTC", sent: list[int] | None = None) -> Periodic:
    """An actor that is due as the test says; what it sends goes to ``sent``."""
    sender = Sender(lambda _, slot_ms: (sent if sent is not None else []).append(slot_ms))
    return Periodic(lambda: Entry(actor="sample", cron=Cron(text, time_zone=zone)), sender.send_due)


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000


def test_every_actor_of_the_schedule_is_one_that_periodiq_finds():
    periodic = [actor for actor in actors.broker.actors.values() if "periodic" in actor.options]

    assert sorted(actor.actor_name for actor in periodic) == sorted(PERIODIC_ACTORS)
    assert {str(actor.options["periodic"]) for actor in periodic} == {*("* * * * *", "*/1 * * * *", "0 */1 * * *")}


def test_what_a_host_has_set_itself_stays():
    broker = StubBroker(middleware=[])
    broker.actor_options |= {"periodic"}
    own = due("0 3 * * *")
    for name in PERIODIC_ACTORS:
        dramatiq.actor(lambda: None, broker=broker, actor_name=name, periodic=own)
    attach(broker)

    assert [broker.get_actor(name).options["periodic"] for name in PERIODIC_ACTORS] == [own] * len(PERIODIC_ACTORS)


def test_the_option_can_be_set_with_periodiqs_own_cron_too():
    actor = dramatiq.actor(
        lambda: None,
        broker=actors.broker,
        actor_name="hosts_own",
        queue_name="hosts",
        periodic=periodiq.cron("0 3 * * *"),
    )
    try:
        assert actor.options["periodic"].validate(datetime(2026, 1, 5, 3, 0, tzinfo=UTC))
    finally:
        del actors.broker.actors["hosts_own"]
        actors.broker.queues.discard("hosts")


@pytest.mark.parametrize("text", ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun", "@weekly"])
def test_sunday_comes(text):
    # Of periodiq 0.14's own cron only the form with 7 ever matches a Sunday, and that one is slept over when asked on a
    # Saturday evening.
    sunday, sent = pendulum.datetime(2026, 1, 4), []
    periodic = due(text, sent=sent)

    assert periodic.next_valid_date(sunday.subtract(minutes=1)) == sunday
    for day in range(-1, 7):
        periodic.validate(sunday.add(days=day))
    assert sent == [ms(2026, 1, 4)]


def test_it_is_asked_in_any_time_zone_and_answers_in_its_own():
    sent: list[int] = []
    periodic = due("30 9 * * *", "America/Sao_Paulo", sent)
    periodic.validate(pendulum.datetime(2026, 1, 5, 13, 30, tz="Europe/Berlin"))

    assert sent == [ms(2026, 1, 5, 12, 30)]
    assert periodic.next_valid_date(pendulum.datetime(2026, 1, 5, tz="Asia/Tokyo")) == datetime(
        2026, 1, 5, 12, 30, tzinfo=UTC
    )


def test_periodiq_is_left_nothing_to_send():
    # Its own send would go out once more where another process sent the slot minutes ago.
    assert due("* * * * *").validate(pendulum.datetime(2026, 1, 5)) is False


def test_a_send_that_failed_is_tried_again_within_seconds():
    tries: list[int] = []

    def fire(_: str, slot_ms: int) -> None:
        tries.append(slot_ms)
        if len(tries) == 1:
            raise QueueUnavailable("Redis is away")

    yearly = Entry(actor="sample", cron=Cron("0 3 5 1 *"))
    periodic, now = Periodic(lambda: yearly, Sender(fire).send_due), pendulum.datetime(2026, 1, 5, 3)
    periodic.validate(now)
    assert periodic.next_valid_date(now) - pendulum.now() < timedelta(minutes=1)

    periodic.validate(now.add(seconds=5))
    assert periodic.next_valid_date(now) == datetime(2027, 1, 5, 3, tzinfo=UTC)
    assert tries == [ms(2026, 1, 5, 3)] * 2


def test_its_answers_mix_with_periodiqs():
    now = pendulum.now()
    dates = sorted([due("* * * * *").next_valid_date(now), periodiq.cron("0 0 1 1 *").next_valid_date(now)])

    assert timedelta() < dates[0] - pendulum.now() + timedelta(seconds=1) <= timedelta(minutes=1, seconds=1)


def test_a_send_of_periodiq_and_one_of_another_scheduler_are_the_same_message():
    scheduled_at = str(pendulum.datetime(2026, 1, 5, 9, 0, 0, tz="America/Sao_Paulo"))
    message = actors.sweep_pending.message_with_options(scheduled_at=scheduled_at)

    expected = tick_options("sweep_pending", slot_of("2026-01-05T12:00:00+00:00"))
    assert {name: message.options[name] for name in expected} == expected


class Process:
    """One ``periodiq actors``, and what it says."""

    def __init__(self, log: Path, environ: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.popen = subprocess.Popen([str(PERIODIQ), "-v", "actors"], cwd=ROOT, env=environ, stderr=stderr)

    def has_asked(self) -> bool:
        text = self.log.read_text()
        assert self.popen.poll() is None, text
        # Said when every actor was asked, and so sent.
        return "Nothing to do until" in text


@pytest.fixture
def start_periodiq(
    redis_server: EmbeddedRedis, queue_client: redis.Redis, tmp_path: Path
) -> Iterator[Callable[[], Process]]:
    processes: list[Process] = []
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = {**bare, "REDIS_URL": redis_server.url(0), "CHAT_STORE": "memory", "CHAT_NAMESPACE": "test:periodiq"}

    def start() -> Process:
        processes.append(Process(tmp_path / f"{len(processes)}.log", environ))
        return processes[-1]

    yield start
    for process in processes:
        process.popen.kill()
        process.popen.wait(10)


@pytest.mark.redis
@pytest.mark.process
def test_two_processes_and_a_restart_send_each_slot_once(start_periodiq, queue_client):
    prefix = "test:periodiq:housekeeping"
    two = [start_periodiq() for _ in range(2)]
    # They wait for the next minute when they start in the last seconds of one.
    until(lambda: all(process.has_asked() for process in two), within_ms=30_000)
    two[0].popen.kill()
    again = start_periodiq()
    until(again.has_asked, within_ms=30_000)

    until(lambda: queue_client.llen(prefix) == len(PERIODIC_ACTORS), within_ms=5_000)
    assert int(queue_client.hget(f"{prefix}.counters", "enqueued")) == len(PERIODIC_ACTORS)
