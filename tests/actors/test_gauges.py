"""What Redis knows is shown as it is, for little, and a Redis that does not answer holds no scraper up."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from waiting import until

import actors
from actors import gauges, services
from actors.circuit import Cause, Circuit, State
from actors.gauges import GOOD_FOR_MS, TOO_OLD_MS, Look, look_at
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.standings import standings
from actors.stores.memory import MemoryStore
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.roster import RosterEntry, ServingWorker, SignOfLife
from middleware.brokers.redis.values import GateChange, NewMessage, Routing
from middleware.clock import SystemClock
from middleware.errors import QueueRefused, QueueUnavailable
from middleware.limits.limits import Limits
from middleware.memory import Sample, record
from middleware.meters import MAX_VALUES, OTHER, Family

QUEUE = "send_message"


@pytest.fixture
def broker(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[CarrierBroker]:
    actors.broker.close()
    settings = Settings(redis_url=Hidden(redis_server.url(0)), store="memory", scheduler="none", metrics_port=0)
    services.install(Services(settings=settings, store=MemoryStore()))
    assert isinstance(actors.broker, CarrierBroker)
    yield actors.broker
    actors.broker.close()
    services.install(None)


def numbers(families: list[Family]) -> dict[tuple[str, ...], float]:
    return {(one.name, *labels): row[0] for one in families for labels, row in one.rows}


@pytest.mark.redis
def test_queues_instances_and_memory_are_shown_as_redis_has_them(broker, redis_server):
    for number in range(3):
        broker.transitions.enqueue(QUEUE, f"m{number}", b"{}", options={"group": "support"})
    broker.transitions.set_gate(QUEUE, "support", GateChange(limit=0))
    broker.transitions.enqueue(QUEUE, "m3", b"{}", options={"group": "support/bulk"})
    with redis_server.client(3) as client:
        circuit = Circuit(state=State.OPEN, cause=Cause.SESSION_DOWN, since_ms=1_000, code="session_down")
        Limits(client, namespace="chat:queue").swap("support", seen="", new=circuit.text())
    at_ms = broker.clock.now_ms()
    databases = {"2": {"keys": 7, "expires": 0, "estimated_bytes": 900}, "0": {"keys": 1, "estimated_bytes": None}}
    said = {
        "databases": databases,
        "queues": {QUEUE: {"ready": 3, "estimated_bytes": 640}},
        "memory": {"rss_bytes": 990},
    }
    sample = Sample(at_ms=at_ms, used_memory_bytes=750, maxmemory_bytes=1_000, **said)
    record(broker.client, broker.machinery.keys.memory, sample)

    found = numbers(look_at(broker))

    waiting = found[("chat_actors_queue_messages", QUEUE, "waiting_in_group")]
    ready = found[("chat_actors_queue_messages", QUEUE, "ready")]
    assert waiting + ready == 4
    assert found[("chat_actors_queue_events_total", QUEUE, "enqueued")] == 4
    assert found[("chat_actors_queue_workers", QUEUE)] == 0
    assert found[("chat_actors_instance_state", "support", "parked", "session_down")] == 1
    assert found[("chat_actors_instances", "parked")] == 1
    assert found[("chat_actors_instance_waiting_messages", "support")] == waiting
    assert found[("chat_actors_redis_memory_used_bytes",)] == 750
    assert found[("chat_actors_redis_database_bytes", "2")] == 900
    assert ("chat_actors_redis_database_bytes", "0") not in found
    assert found[("chat_actors_queue_bytes", QUEUE)] == 640
    assert found[("chat_actors_redis_memory_resident_bytes",)] == 990
    assert found[("chat_actors_memory_sample_age_seconds",)] >= 0


def refuse() -> None:
    raise QueueRefused("refused")


@pytest.mark.redis
def test_what_a_user_may_not_read_hides_nothing_of_the_queues(broker, queue_client, caplog, monkeypatch):
    broker.transitions.enqueue(QUEUE, "m1", b"{}")
    at_ms = broker.clock.now_ms()
    record(broker.client, broker.machinery.keys.memory, Sample(at_ms=at_ms, used_memory_bytes=750))
    # Not by a right: what the queues need is all that the records need.
    monkeypatch.setattr(gauges, "_circuits", refuse)
    queue_client.execute_command("ACL", "SETUSER", "default", "-xrevrange")
    try:
        look = Look(lambda: look_at(broker))
        found = numbers(look.families())
    finally:
        queue_client.execute_command("ACL", "SETUSER", "default", "+@all")

    assert (found[("chat_actors_redis_up",)], found[("chat_actors_queue_messages", QUEUE, "ready")]) == (1, 1)
    assert ("chat_actors_redis_memory_used_bytes",) not in found
    refused = [record for record in caplog.records if record.getMessage() == "metrics.part_refused"]
    assert [vars(record)["part"] for record in refused] == ["instances", "memory"]


@pytest.mark.redis
def test_the_memory_of_all_worker_processes_is_shown(broker):
    for owner, rss_bytes in (("a", 100), ("b", 300), ("c", None)):
        worker = ServingWorker(host="box", pid=7, threads=4, queues=(QUEUE,), started_at_ms=1)
        sign = SignOfLife(owner, 60_000, worker.facts(in_flight=0, rss_bytes=rss_bytes))
        broker.transitions.tend((QUEUE,), max_deliveries=5, sign=sign)

    found = numbers(look_at(broker))

    assert found[("chat_actors_workers_resident_bytes",)] == 400
    assert found[("chat_actors_workers_largest_resident_bytes",)] == 300


def test_processes_that_do_not_know_their_memory_are_not_said_to_have_none():
    worker = ServingWorker(host="box", pid=7, threads=4, queues=(QUEUE,), started_at_ms=1)

    assert list(gauges._of_workers([RosterEntry(id="a", worker=worker, in_flight=0)])) == []


def test_names_of_instances_are_shown_up_to_a_cap():
    groups = {
        f"line-{number:03}": {"state": "parked", "parked": number, "pace": {}} for number in range(MAX_VALUES + 50)
    }

    found = {family.name: family for family in gauges._of_instances(standings(groups, {}))}

    assert len(found["chat_actors_instance_state"].rows) == MAX_VALUES
    waiting = {labels[0]: row[0] for labels, row in found["chat_actors_instance_waiting_messages"].rows}
    assert len(waiting) == MAX_VALUES + 1
    assert waiting[OTHER] == sum(range(50))


class ShiftedClock(SystemClock):
    """A clock that a test puts forward."""

    ahead_ms = 0

    def boot_ms(self) -> int:
        return super().boot_ms() + self.ahead_ms


def seen(count: int) -> list[Family]:
    return [Family("chat_actors_queue_messages", "gauge", "", ("queue", "state"), [(("q", "ready"), (count,))])]


def test_all_scrapers_share_a_look_until_it_is_old():
    looks, clock = [], ShiftedClock()

    def look_once() -> list[Family]:
        looks.append(1)
        return seen(len(looks))

    look = Look(look_once, clock=clock)
    assert numbers(look.families())[("chat_actors_queue_messages", "q", "ready")] == 1
    assert numbers(look.families())[("chat_actors_queue_messages", "q", "ready")] == 1

    clock.ahead_ms = GOOD_FOR_MS + 1
    assert numbers(look.families())[("chat_actors_queue_messages", "q", "ready")] == 2


def test_a_redis_that_is_away_is_said_to_be_and_what_was_seen_goes_after_a_while():
    clock, is_away = ShiftedClock(), threading.Event()

    def look_once() -> list[Family]:
        if is_away.is_set():
            raise QueueUnavailable("away")
        return seen(7)

    look = Look(look_once, clock=clock)
    assert numbers(look.families())[("chat_actors_redis_up",)] == 1

    is_away.set()
    clock.ahead_ms = GOOD_FOR_MS + 1
    found = numbers(look.families())
    assert (found[("chat_actors_redis_up",)], found[("chat_actors_queue_messages", "q", "ready")]) == (0, 7)

    clock.ahead_ms = TOO_OLD_MS + 1
    found = numbers(look.families())
    assert found[("chat_actors_redis_up",)] == 0
    assert ("chat_actors_queue_messages", "q", "ready") not in found
    assert found[("chat_actors_look_age_seconds",)] > 60


def test_a_redis_that_says_nothing_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(gauges, "PATIENCE_S", 0.05)
    goes_on, looks = threading.Event(), []

    def look_once() -> list[Family]:
        looks.append(1)
        goes_on.wait(10)
        return seen(7)

    clock = ShiftedClock()
    look = Look(look_once, clock=clock)
    for _ in range(3):
        clock.ahead_ms += GOOD_FOR_MS + 1
        assert numbers(look.families()) == {("chat_actors_redis_up",): 0}
    # One asks; the others do not pile up behind it.
    assert len(looks) == 1
    goes_on.set()
    until(lambda: numbers(look.families()).get(("chat_actors_redis_up",)) == 1, within_ms=5_000)


@pytest.mark.slow
@pytest.mark.redis
def test_a_look_costs_redis_little_whatever_waits(broker, redis_server, record_property: Callable[[str, object], None]):
    """100,000 messages, 200 instances with gates: time that Redis spent in commands, by its own count. Median of 30 looks."""
    for instance in range(200):
        broker.transitions.set_gate(QUEUE, f"line-{instance}", GateChange(limit=3, interval_ms=500, burst=3))
    new = [
        NewMessage(f"m{n}", b"{}", routing=Routing.of(f"m{n}", {"group": f"line-{n % 200}", "lane": f"c{n % 5_000}"}))
        for n in range(100_000)
    ]
    broker.transitions.enqueue_many(QUEUE, new)
    look_at(broker)
    spent_ms, longest_us = [], []
    with redis_server.client(2) as client:
        for _ in range(30):
            client.config_resetstat()
            begin = time.perf_counter()
            look_at(broker)
            del begin
            stats = client.info("commandstats")
            # A script's own commands are inside its time.
            outer = {name: one for name, one in stats.items() if name.partition("_")[2] in OUTER}
            spent_ms.append(sum(one["usec"] for one in outer.values()) / 1000)
            longest_us.append(max(one["usec"] / one["calls"] for one in outer.values()))
    record_property("look_redis_ms_median", round(sorted(spent_ms)[15], 2))
    record_property("look_redis_ms_max", round(max(spent_ms), 2))
    record_property("look_longest_command_us_median", round(sorted(longest_us)[15]))

    assert sorted(spent_ms)[15] < 20


#: Commands that a look sends itself.
OUTER = ("evalsha", "eval", "time", "zrange", "xrevrange", "client|setinfo", "select", "hello", "ping", "multi", "exec")
