"""What gates say in each state, and who is the canary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic_world import INSTANCE, trip
from waiting import until

from actors.circuit import Circuit, State, Times
from actors.gates import RAMP_INTERVAL_MS, Gates, gate_for, group_of
from actors.pace import Kind, Pace
from middleware.brokers.redis.values import GateChange

PACED = Pace(interval_ms=2_000, burst=5, jitter=0.2, concurrency=3)


@pytest.mark.parametrize(
    ("state", "pace", "is_canary", "part", "says"),
    [
        (State.CLOSED, PACED, False, 1.0, GateChange(limit=3, interval_ms=2_000, burst=5, jitter=0.2)),
        (State.CLOSED, Pace(), False, 1.0, GateChange(limit=-1, interval_ms=0, burst=1, jitter=0)),
        (State.OPEN, PACED, True, 0.0, GateChange(limit=0)),
        (State.HELD, PACED, True, 0.0, GateChange(limit=0)),
        (State.TRYING, PACED, False, 1.0, GateChange(limit=0)),
        (State.TRYING, PACED, True, 1.0, GateChange(limit=1, interval_ms=2_000, burst=1, jitter=0.2)),
        (State.TRYING, Pace(), True, 1.0, GateChange(limit=1, interval_ms=0, burst=1, jitter=0)),
        (State.RAMPING, PACED, False, 0.1, GateChange(limit=3, interval_ms=20_000, burst=1, jitter=0.2)),
        (State.RAMPING, Pace(), False, 0.5, GateChange(limit=-1, interval_ms=2 * RAMP_INTERVAL_MS, burst=1, jitter=0)),
    ],
)
def test_what_a_gate_says(state, pace, is_canary, part, says):
    assert gate_for(pace, Circuit(state=state), is_canary=is_canary, share=part) == says


@given(st.floats(0.1, 1), st.floats(0.1, 1), st.integers(0, 10**6))
def test_a_larger_share_is_never_slower(one, other, interval_ms):
    less, more = sorted((one, other))
    slow, quick = (
        gate_for(Pace(interval_ms=interval_ms), Circuit(state=State.RAMPING), is_canary=False, share=part).interval_ms
        for part in (less, more)
    )

    assert quick <= slow


def test_without_gates_nothing_is_set_and_nobody_waits():
    gates = Gates(lambda: None, Times())
    gates.set(INSTANCE, {}, Circuit(), now_ms=0)
    gates.hold_off(INSTANCE, [Kind.SEND], for_ms=1)

    assert (gates.waiting(INSTANCE), gates.knows(INSTANCE, {})) == ({}, False)


# -- on a real queue -------------------------------------------------------------------------------------------------------


@pytest.mark.redis
def test_gates_follow_pace_and_circuit_under_every_name(desk):
    desk.paces |= {Kind.SEND: PACED, Kind.BULK: Pace(interval_ms=9_000), Kind.PICTURE: Pace(interval_ms=700)}
    desk.traffic.set_gates(INSTANCE)

    for name in INSTANCE.names:
        assert (desk.gate(name).limit, desk.gate(name).interval_ms, desk.gate(name).burst) == (3, 2_000, 5)
        assert desk.gate(group_of(name, Kind.BULK)).interval_ms == 9_000
        assert desk.gate(name, "fetch_profile_pic").interval_ms == 700
        # A gate that holds nobody back is none.
        assert desk.gate(name, "fetch_group_info") is None
    desk.put(State.RAMPING)
    assert (desk.gate().interval_ms, desk.gate("i1", "fetch_group_info").interval_ms) == (20_000, 1_000)


@pytest.mark.redis
def test_of_all_who_wait_one_message_is_the_canary(desk):
    desk.open()
    desk.send("p1", queue="fetch_profile_pic")
    desk.send("b1", group="i1/bulk")
    desk.send("m1", group="line one")
    desk.send("m2", group="line one")
    desk.put(State.TRYING)

    assert list(desk.traffic.gates.waiting(INSTANCE)) == [
        ("send_message", "line one"),
        ("send_message", "i1/bulk"),
        ("fetch_profile_pic", "i1"),
    ]
    assert (desk.gate("line one").admitted, desk.gate("line one").waiting) == (1, 1)
    others = [desk.gate("i1"), desk.gate("i1/bulk"), desk.gate("i1", "fetch_profile_pic")]
    assert [gate.admitted for gate in others] == [0, 0, 0]


@pytest.mark.redis
def test_where_no_message_waits_another_kind_of_work_tries(desk):
    desk.open()
    desk.send("p1", queue="fetch_profile_pic")
    desk.put(State.TRYING)

    assert desk.gate("i1", "fetch_profile_pic").admitted == 1


@pytest.mark.redis
def test_who_may_not_pass_yet_is_no_canary_while_another_may(desk):
    desk.open()
    desk.send("m1")
    desk.send("p1", queue="fetch_profile_pic")
    desk.traffic.gates.hold_off(INSTANCE, [Kind.SEND, Kind.BULK], for_ms=600_000)
    desk.put(State.TRYING)

    assert (desk.gate().admitted, desk.gate("i1", "fetch_profile_pic").admitted) == (0, 1)


@pytest.mark.redis
def test_what_an_operator_pauses_is_not_waited_for(desk):
    desk.open()
    desk.send("m1")
    desk.transitions.set_gate("send_message", "i1", GateChange(paused=True))

    assert desk.traffic.gates.waiting(INSTANCE) == {}


@pytest.mark.redis
def test_a_message_that_was_sent_while_it_is_tried_becomes_the_next_canary(desk):
    desk.put(State.TRYING)
    desk.send("p1", queue="fetch_profile_pic")
    desk.traffic.set_gates(INSTANCE)
    assert desk.gate("i1", "fetch_profile_pic").admitted == 1
    desk.send("m1")
    desk.traffic.set_gates(INSTANCE)

    assert desk.gate().admitted == 1
    desk.go(trip("m1"))
    assert desk.circuit().state is State.RAMPING


@pytest.mark.redis
def test_a_canary_whose_worker_dies_is_the_canary_again(desk):
    desk.open()
    desk.send("m1")
    desk.send("m2")
    desk.put(State.TRYING)
    (taken,) = desk.transitions.fetch("send_message", limit=9, lease_ms=1, owner="dies").messages
    until(lambda: desk.transitions.tend(["send_message"], max_deliveries=5)[0].reclaimed, within_ms=5_000)
    desk.traffic.set_gates(INSTANCE)
    again = desk.transitions.fetch("send_message", limit=9, lease_ms=60_000, owner="lives").messages

    assert [one.lease.id for one in again] == [taken.lease.id] == ["m1"]
    assert (desk.gate().admitted, desk.gate().waiting) == (1, 1)
