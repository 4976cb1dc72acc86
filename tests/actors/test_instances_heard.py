"""What a provider says of a session: what is parked, tried or only noted, and who is told."""

import pytest
from instance_world import told, world

from actors.circuit import LOGGED_OUT, Cause, State
from actors.instances import heard, watch_instance
from actors.updates import InstanceUpdate, SessionState

__all__ = ["world"]

pytestmark = pytest.mark.redis


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
