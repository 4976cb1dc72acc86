"""Instances in trouble, held, and on their way back: what the gateway saw of it."""

from dataclasses import replace

import pytest
from flow_world import Change, working
from line_world import I1, all_sent, gate, requests, say_many, second
from waiting import stays, until

import actors
from actors import services, wiring
from actors.chat import prepare_redrive
from actors.circuit import Cause, State
from actors.domain import MessageStatus
from actors.instances import step
from actors.turns import after_redrive
from middleware.letters import DeadLetters

__all__ = ["second"]

pytestmark = pytest.mark.redis


@pytest.fixture
def quick(change: Change) -> None:
    """Looks and ramps that a test can wait for."""
    change(look_ms=50, ramp_ms=200)


def state(name: str = "i1") -> State:
    return wiring.traffic().circuit(name).state


# -- a session that is down ----------------------------------------------------------------------------------------------


def test_messages_of_a_line_that_is_down_wait_in_order_and_use_no_attempt(world, quick, second):
    world.sandbox.admin.put_instance("i1", state="close")
    down = world.sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})
    ids = say_many(world, 20, lanes=4)
    world.say("other", conversation="c2")
    actors.send_message.send("other")
    with working(threads=8):
        until(lambda: state() is State.OPEN, within_ms=5_000)
        until(lambda: world.status("other") == MessageStatus.SENT, within_ms=5_000)
        tried = len(requests(world))
        stays(lambda: len(requests(world)) <= tried + 1, for_ms=500)
        assert gate("i1").state == "parked"
        world.sandbox.admin.clear_faults(down)
        world.sandbox.admin.put_instance("i1", state="open")
        until(lambda: all_sent(world, ids), within_ms=20_000)
        until(lambda: state() is State.CLOSED, within_ms=10_000)

    counters = world.sandbox.admin.counters()
    assert (counters["order_violations"], counters["duplicates_by_client_ref"]) == (0, 0)
    assert counters["max_concurrency_per_instance"] == 1
    assert world.letters() == []
    assert actors.broker.transitions.stats(["send_message"])[0].counters.get("retried", 0) == 0


def test_a_line_that_says_it_is_open_and_is_not_is_tried_seldom_and_told_of(world, quick, caplog):
    lie = world.sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "lie": True})
    ids = say_many(world, 6, lanes=3)
    with working():
        until(lambda: wiring.traffic().circuit("i1").lies >= 3, within_ms=20_000)
        until(lambda: "instance.alerted" in caplog.messages, within_ms=5_000)
        # One request met it, and one canary for each lie.
        assert len(requests(world)) <= wiring.traffic().circuit("i1").lies + 2
        world.sandbox.admin.clear_faults(lie)
        until(lambda: all_sent(world, ids), within_ms=20_000)

    assert caplog.messages.count("instance.alerted") == 1
    assert world.sandbox.admin.counters()["order_violations"] == 0


def test_a_server_that_cannot_be_reached_parks_its_line_after_three_tries(world, quick):
    world.sandbox.admin.add_fault({"type": "refuse", "for_s": 1.5})
    ids = say_many(world, 12, lanes=6)
    with working(threads=8):
        until(lambda: wiring.traffic().circuit("i1").cause is Cause.NOT_REACHED, within_ms=5_000)
        until(lambda: all_sent(world, ids), within_ms=20_000)

    assert world.letters() == []


def test_the_gates_of_a_parked_line_may_be_lost_and_still_nothing_goes_out(world, quick, queue_client):
    world.sandbox.admin.put_instance("i1", state="close")
    world.sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})
    say_many(world, 3, lanes=3)
    with working():
        until(lambda: state() is State.OPEN, within_ms=5_000)
        queue_client.flushdb()
        tried = len(requests(world))
        more = say_many(world, 6, lanes=3, first=3)
        until(lambda: gate("i1") is not None and gate("i1").state == "parked", within_ms=5_000)
        stays(lambda: len(requests(world)) == tried, for_ms=300)

    assert {world.status(id_) for id_ in more} == {MessageStatus.PENDING}


# -- refused ---------------------------------------------------------------------------------------------------------------


def test_a_refused_key_kills_the_message_that_met_it_and_parks_the_rest(world, quick):
    row = world.store._instances[-1]
    world.store._instances[-1] = replace(row, api_key="revoked")
    ids = say_many(world, 8, lanes=4)
    with working():
        until(lambda: len(world.letters()) == 1, within_ms=5_000)
        until(lambda: world.status(world.letters()[0].kwargs["message_id"]) == MessageStatus.FAILED, within_ms=5_000)
        stays(lambda: len(requests(world)) == 1, for_ms=300)
        assert wiring.traffic().circuit("i1").cause is Cause.REFUSED

        world.store._instances[-1] = row
        (letter,) = world.letters()
        prepare_redrive(letter)
        assert DeadLetters(actors.broker).redrive(letter) == "redriven"
        after_redrive(letter)
        until(lambda: all_sent(world, ids), within_ms=20_000)

    assert world.letters() == []


def test_a_key_that_was_mended_is_seen_without_anybody_saying_so(world, quick):
    row = world.store._instances[-1]
    world.store._instances[-1] = replace(row, api_key="revoked")
    ids = say_many(world, 4, lanes=4)
    with working():
        until(lambda: any(world.status(id_) == MessageStatus.FAILED for id_ in ids), within_ms=5_000)
        rest = [id_ for id_ in ids if world.status(id_) == MessageStatus.PENDING]
        traffic = wiring.traffic()
        instance = services.get().store.load_instance("i1", tenant_id="t")
        looks = len(requests(world, "connectionState"))
        step(services.get(), traffic, instance, traffic.circuit("i1"))
        assert (state(), len(requests(world, "connectionState"))) == (State.OPEN, looks)

        world.store._instances[-1] = row
        instance = services.get().store.load_instance("i1", tenant_id="t")
        step(services.get(), traffic, instance, traffic.circuit("i1"))
        until(lambda: all_sent(world, rest), within_ms=20_000)


# -- an operator -----------------------------------------------------------------------------------------------------------


def test_a_fallback_goes_out_though_the_line_it_would_rather_use_is_parked(world, quick, second):
    world.store._instances[0] = replace(world.store._instances[0], is_active=False)
    with working():
        wiring.traffic().hold(I1)
        world.say("m1")
        actors.send_message.send("m1", use_fallback=True)
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert [one["instance"] for one in world.sandbox.admin.deliveries()] == ["i2"]


def test_an_operator_holds_a_line_and_lets_it_go(world, quick):
    with working():
        wiring.traffic().hold(I1)
        ids = say_many(world, 4, lanes=2)
        until(lambda: gate("i1").waiting == 2, within_ms=5_000)
        stays(lambda: world.delivered() == [], for_ms=200)
        wiring.traffic().release(I1)
        until(lambda: all_sent(world, ids), within_ms=20_000)
        until(lambda: state() is State.CLOSED, within_ms=10_000)
