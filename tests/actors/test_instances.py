"""Watch, tend and hear: what is looked at when, and who is told, with a clock and a gateway of the test's own."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from traffic_world import SetClock

import actors
from actors import instances, services, wiring
from actors.circuit import (
    ALERT_AFTER_MS,
    CREDENTIALS_LOOK_MS,
    LIES,
    LOGGED_OUT,
    REFUSED_LOOK_MS,
    Cause,
    Circuit,
    Failure,
    State,
    failed,
)
from actors.domain import Instance
from actors.errors import AuthConfig, GatewayUnreachable, InstanceUnavailable
from actors.gates import stands
from actors.instances import WATCH_QUEUE, heard, step, tend_instances, watch_instance
from actors.pace import paces_of
from actors.services import Services
from actors.settings import Hidden, Settings
from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, InstanceRow, MessageRow
from actors.updates import InstanceUpdate, SessionState
from middleware.brokers.redis.values import GateChange
from middleware.errors import QueueFull, Snooze

pytestmark = pytest.mark.redis

CLOSE = InstanceUnavailable("close", delay_ms=1, code="connection_closed")
UNAUTHORIZED = AuthConfig("no", code="unauthorized", request_written=True)
I1 = Instance(name="wire-1", aliases=("i1",), tenant_id="t")


class Gateway:
    """Answers a look with what the test says."""

    name = "evolution"

    def __init__(self) -> None:
        self.answer: Exception | None = CLOSE
        self.looks: list[str] = []

    def check(self, instance: Instance | None = None) -> str:
        assert instance is not None
        self.looks.append(instance.name)
        if self.answer is not None:
            raise self.answer
        return "open"

    def close(self) -> None:
        """Has nothing to give back."""


class World:
    """One process with its rows, queue and limits."""

    def __init__(self, settings: Settings) -> None:
        self.clock, self.gateway, self.store = SetClock(), Gateway(), MemoryStore()
        row = InstanceRow(
            instance_name="i1", evolution_instance_name="wire-1", tenant_id="t", api_key="key-1", api_url="http://x"
        )
        self.store.add(
            row,
            InstanceRow(instance_name="i2", tenant_id="t", api_key="k", api_url="http://x"),
            ConversationRow(id="c1", contact_phone="+5511988887777", tenant_id="t", instance_name="i1"),
        )
        self.work = Services(
            settings=settings, store=self.store, clock=self.clock, gateways={"evolution": self.gateway}
        )
        services.install(self.work)

    @property
    def traffic(self):
        return wiring.traffic()

    def circuit(self, name: str = "wire-1") -> Circuit:
        return self.traffic.circuit(name)

    def instance(self) -> Instance:
        found = self.store.load_instance("i1", tenant_id="t")
        assert found is not None
        return found

    def open(self, cause: Cause = Cause.SESSION_DOWN, *, code: str = "connection_closed") -> Circuit:
        instance = self.instance()
        failure = Failure(
            cause=cause, code=code, credentials=self.traffic.credentials_of(instance), tenant_id="t", is_told=True
        )
        failure = failure if cause is Cause.REFUSED else replace(failure, is_told=False)
        return self.traffic.change(instance, lambda now: failed(now, failure, now_ms=self.clock.at_ms))

    def put(self, state: State, **fields) -> Circuit:
        new = Circuit(**{"state": state, "since_ms": 1, "changed_ms": self.clock.at_ms, "tenant_id": "t", **fields})
        return self.traffic.change(I1, lambda _: new)

    def step(self) -> Circuit:
        return step(self.work, self.traffic, self.instance(), self.circuit())

    def watches(self) -> int:
        stats = actors.broker.transitions.stats([WATCH_QUEUE])[0]
        return stats.ready + stats.delayed

    def gate(self, group: str = "i1", queue: str = "send_message"):
        return {one.group: one for one in actors.broker.transitions.gates(queue)}.get(group)

    def send(self, id_: str) -> None:
        self.store.add(MessageRow(id=id_, conversation_id="c1", content="oi", created_at_ms=1))
        actors.send_message.send(id_)


@pytest.fixture
def world(redis_server, queue_client: redis.Redis) -> Iterator[World]:
    yield World(Settings(redis_url=Hidden(redis_server.url(0)), store="memory", scheduler="none", gateway="evolution"))
    actors.broker.close()
    services.install(None)


# -- looks -----------------------------------------------------------------------------------------------------------------


def test_a_session_that_is_down_is_looked_at_and_stays_parked(world):
    world.open()
    assert [world.step().looks for _ in range(3)] == [1, 2, 3]

    assert (world.gateway.looks, world.gate().state) == (["wire-1"] * 3, "parked")


def test_one_that_is_open_again_lets_one_message_try(world):
    world.open()
    world.send("m1")
    world.gateway.answer = None

    assert world.step().state is State.TRYING
    assert (world.gate().limit, world.gate().admitted) == (1, 1)
    # The canary has not come back: nothing else is decided without it.
    assert world.step().state is State.TRYING


def test_where_nobody_waits_the_pace_rises_by_itself_until_it_is_whole(world):
    world.open()
    world.gateway.answer = None
    assert world.step().state is State.RAMPING
    intervals = []
    for _ in range(5):
        intervals.append(world.gate().interval_ms)
        world.clock.at_ms += 15_000
        circuit = world.step()

    assert intervals[0] == 20_000
    assert intervals == sorted(intervals, reverse=True)
    assert (circuit.state, world.gate().interval_ms) == (State.CLOSED, 2_000)


def test_a_server_that_cannot_be_reached_is_looked_at_too(world):
    world.open(Cause.NOT_REACHED, code="gateway_unreachable")
    world.gateway.answer = GatewayUnreachable("refused")

    assert (world.step().state, world.circuit().cause) == (State.OPEN, Cause.NOT_REACHED)


def test_a_refused_key_is_shown_again_when_it_has_changed_or_seldom(world):
    world.open(Cause.REFUSED, code="unauthorized")
    world.gateway.answer = UNAUTHORIZED
    world.step()
    assert world.gateway.looks == []

    world.clock.at_ms += REFUSED_LOOK_MS
    world.step()
    world.step()
    assert len(world.gateway.looks) == 1

    world.store._instances[0] = replace(world.store._instances[0], api_key="key-2")
    world.gateway.answer = None
    assert world.step().state is not State.OPEN


# -- alerts ----------------------------------------------------------------------------------------------------------------


def told(caplog) -> int:
    return caplog.messages.count("instance.alerted")


def test_one_that_stays_down_is_told_of_once(world, caplog):
    world.open()
    world.step()
    assert told(caplog) == 0
    world.clock.at_ms += ALERT_AFTER_MS
    for _ in range(3):
        world.step()

    assert told(caplog) == 1


def test_a_refusal_that_a_look_finds_out_is_told_of_for_no_message_died_of_it(world, caplog):
    world.open()
    world.gateway.answer = UNAUTHORIZED
    for _ in range(3):
        world.step()

    assert (world.circuit().cause, told(caplog)) == (Cause.REFUSED, 1)


def test_a_refusal_that_a_message_met_is_told_of_by_its_dead_letter(world, caplog):
    world.open(Cause.REFUSED, code="unauthorized")
    world.step()

    assert told(caplog) == 0


def test_a_session_that_lies_is_told_of_once(world, caplog):
    world.put(State.OPEN, lies=LIES)
    for _ in range(3):
        world.step()

    assert told(caplog) == 1


# -- the watch -------------------------------------------------------------------------------------------------------------


def test_a_watch_puts_itself_back_until_the_trouble_is_over(world):
    circuit = world.open()
    with pytest.raises(Snooze) as later:
        watch_instance.fn("wire-1", circuit.since_ms)
    assert 1_000 < later.value.delay_ms <= 12_000

    world.gateway.answer = None
    with pytest.raises(Snooze):
        watch_instance.fn("wire-1", circuit.since_ms)
    world.clock.at_ms += 60_000
    assert watch_instance.fn("wire-1", circuit.since_ms) is None
    assert world.circuit().state is State.CLOSED


def test_the_watch_of_a_refused_key_compares_it_every_minute(world):
    circuit = world.open(Cause.REFUSED, code="unauthorized")
    with pytest.raises(Snooze) as later:
        watch_instance.fn("wire-1", circuit.since_ms)

    assert later.value.delay_ms <= CREDENTIALS_LOOK_MS
    assert world.gateway.looks == []


@pytest.mark.parametrize("state", [State.CLOSED, State.HELD])
def test_a_watch_of_what_is_over_ends(world, state):
    world.put(state)
    watch_instance.fn("wire-1", 1)

    assert world.gateway.looks == []


def test_a_watch_of_another_trouble_ends_and_leaves_this_one_alone(world):
    world.open()
    watch_instance.fn("wire-1", 5)

    assert world.gateway.looks == []


def test_one_whose_row_is_gone_is_closed_for_its_messages_fail_by_themselves(world):
    circuit = world.open()
    world.store._instances[0] = replace(world.store._instances[0], is_active=False)
    watch_instance.fn("wire-1", circuit.since_ms)

    assert world.circuit().state is State.CLOSED
    assert world.gateway.looks == []


def test_a_trouble_has_one_watch_however_often_it_is_asked_for(world):
    world.open()
    for _ in range(3):
        tend_instances.fn()

    assert world.watches() == 1


def test_watches_are_slow_work(world):
    assert WATCH_QUEUE in wiring.SLOW_QUEUES
    assert watch_instance.queue_name == WATCH_QUEUE


# -- tending ---------------------------------------------------------------------------------------------------------------


def test_gates_and_watches_that_redis_lost_are_there_again(world, queue_client):
    world.open()
    queue_client.flushdb()
    tend_instances.fn()

    assert (world.gate("wire-1").state, world.gate("i1/bulk").state, world.watches()) == ("parked", "parked", 1)
    assert world.gate("i2").interval_ms == 2_000


def test_what_stands_is_not_set_again_and_what_does_not_is(world):
    tend_instances.fn()
    broken = [("send_message", "i1"), ("send_message", "wire-1/bulk"), ("fetch_profile_pic", "i2")]
    changes = [GateChange(limit=0), GateChange(interval_ms=1), GateChange(burst=9)]
    for where, change in zip(broken, changes, strict=True):
        before = world.traffic.gates.all()
        actors.broker.transitions.set_gate(*where, change)
        tend_instances.fn()
        assert world.traffic.gates.all()[where].interval_ms == before[where].interval_ms
        assert world.traffic.gates.all() == before

    asked = scripts_run(world)
    tend_instances.fn()
    assert scripts_run(world) - asked < 10


def scripts_run(world) -> int:
    return int(actors.broker.client.info("commandstats")["cmdstat_evalsha"]["calls"])


@pytest.mark.parametrize("gateway", ["evolution", "whatsapp_cloud", "sandbox"])
def test_gates_that_were_just_set_stand(world, gateway):
    paces = paces_of(I1, gateway=gateway, overrides={})
    world.traffic.gates.set(I1, paces, Circuit(), now_ms=0)

    assert stands(world.traffic.gates.all(), I1, paces)
    assert not stands({}, I1, paces)


def test_a_row_without_a_name_keeps_no_other_from_its_gates(world):
    world.store._instances.insert(0, InstanceRow(instance_name="", tenant_id="t"))
    tend_instances.fn()

    assert world.gate("i2").interval_ms == 2_000


def test_a_record_that_redis_lost_lets_its_instance_go(world, redis_server):
    world.open()
    with redis_server.client(3) as client:
        client.flushdb()
    tend_instances.fn()

    assert world.gate().state == "open"


def test_a_held_instance_is_not_watched(world):
    world.traffic.hold(world.instance())
    tend_instances.fn()

    assert world.watches() == 0


def test_a_worker_sets_the_gates_before_its_first_message_and_starts_without_them(world, monkeypatch, caplog):
    instances._prepare()
    assert world.gate("i2").interval_ms == 2_000

    def away(*_, **__):
        raise QueueFull("full")

    monkeypatch.setattr(world.traffic.gates, "all", away)
    instances._prepare()
    assert "gates.not_set" in caplog.messages


# -- hearing ---------------------------------------------------------------------------------------------------------------


def hear(state: SessionState, reason: int | None = None, name: str = "wire-1") -> None:
    heard(InstanceUpdate(instance_name=name, state=state, reason_code=reason))


def test_a_session_that_is_said_to_be_open_gets_a_canary_at_once_and_its_own_watch(world):
    before = world.open()
    world.send("m1")
    world.clock.at_ms += 30_000
    hear(SessionState.OPEN)
    hear(SessionState.OPEN)

    assert (world.circuit().state, world.gate().admitted) == (State.TRYING, 1)
    assert world.circuit().since_ms > before.since_ms
    assert (world.watches(), world.gateway.looks) == (2, [])
    # The old one ends when it wakes.
    watch_instance.fn("wire-1", before.since_ms)


def test_a_provider_that_says_open_over_and_over_does_not_have_messages_tried_as_often(world):
    world.open()
    for _ in range(20):
        hear(SessionState.OPEN)
        world.clock.at_ms += 100

    assert world.circuit().state is State.OPEN


@pytest.mark.parametrize("state", [State.CLOSED, State.RAMPING, State.TRYING, State.HELD])
def test_open_is_no_news_of_one_that_is_not_parked(world, state):
    before = world.put(state) if state is not State.CLOSED else world.circuit()
    world.clock.at_ms += 60_000
    hear(SessionState.OPEN)

    assert world.circuit() == before


@pytest.mark.parametrize("reason", [401, 402, 403, 406])
@pytest.mark.parametrize("state", [SessionState.CLOSE, SessionState.CLOSED])
def test_a_session_that_a_person_must_connect_is_parked_and_told_of_at_once(world, caplog, state, reason):
    hear(state, reason)
    hear(state, reason)

    circuit = world.circuit()
    assert (circuit.state, circuit.cause, circuit.code) == (State.OPEN, Cause.REFUSED, LOGGED_OUT)
    assert (world.gate().state, world.watches(), told(caplog)) == ("parked", 1, 1)


def test_connected_again_it_comes_back_by_a_look_or_by_its_provider_s_word(world):
    hear(SessionState.CLOSED, 401)
    world.gateway.answer = None
    assert world.step().state is State.RAMPING

    hear(SessionState.CLOSED, 401)
    world.clock.at_ms += 10_000
    hear(SessionState.OPEN)
    assert world.circuit().state is State.TRYING


@pytest.mark.parametrize(
    ("state", "reason"),
    [(SessionState.CONNECTING, None), (SessionState.CLOSE, None), (SessionState.CLOSE, 428), (SessionState.CLOSE, 515)],
)
def test_what_comes_back_by_itself_is_only_noted(world, caplog, state, reason):
    caplog.set_level("INFO")
    hear(state, reason)

    assert (world.circuit().state, "instance.heard" in caplog.messages) == (State.CLOSED, True)


def test_an_instance_that_nobody_has_a_row_of_changes_nothing(world):
    hear(SessionState.CLOSED, 401, name="stranger")

    assert world.traffic.limits.all_records() == {}


def test_an_operator_s_hold_is_not_undone_by_a_webhook(world):
    world.traffic.hold(world.instance())
    hear(SessionState.OPEN)
    hear(SessionState.CLOSED, 401)

    assert world.circuit().state is State.HELD
