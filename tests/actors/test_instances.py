"""Watch and tend: what is looked at when, and who is told, with a clock and a gateway of the test's own."""

from dataclasses import replace

import pytest
from instance_world import I1, told, world

import actors
from actors import instances, wiring
from actors.circuit import ALERT_AFTER_MS, CREDENTIALS_LOOK_MS, LIES, REFUSED_LOOK_MS, Cause, Circuit, State
from actors.errors import AuthConfig, GatewayUnreachable
from actors.gates import stands
from actors.instances import WATCH_QUEUE, tend_instances, watch_instance
from actors.pace import paces_of
from actors.stores.rows import InstanceRow
from middleware.brokers.redis.values import GateChange
from middleware.errors import QueueFull, Snooze

__all__ = ["world"]

pytestmark = pytest.mark.redis

UNAUTHORIZED = AuthConfig("no", code="unauthorized", request_written=True)


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
