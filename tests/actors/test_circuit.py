"""The circuit as tables and as properties: from any state any event leads to a state, and never past a canary."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import circuit as circuits
from actors.circuit import (
    ALERT_AFTER_MS,
    CLOSED,
    CREDENTIALS_LOOK_MS,
    LIES,
    LOGGED_OUT,
    LOOK_FIRST_MS,
    LOOK_LAST_MS,
    RAMP_FROM,
    Cause,
    Circuit,
    Failure,
    State,
    Times,
)

TIMES = Times()
NOW = 1_000_000


def failure(cause: Cause = Cause.SESSION_DOWN, **fields) -> Failure:
    return Failure(cause=cause, **{"code": "connection_closed", "tenant_id": "t", **fields})


def standing(state: State, **fields) -> Circuit:
    return Circuit(**{"state": state, "since_ms": NOW - 5_000, "changed_ms": NOW - 1_000, "tenant_id": "t", **fields})


# -- tables ------------------------------------------------------------------------------------------------------------

EVENTS = {
    "down": lambda now: circuits.failed(now, failure(), now_ms=NOW),
    "refused": lambda now: circuits.failed(now, failure(Cause.REFUSED), now_ms=NOW),
    "unreached": lambda now: circuits.failed(now, failure(Cause.NOT_REACHED), now_ms=NOW),
    "through": lambda now: circuits.got_through(now, now_ms=NOW),
    "looked_open": lambda now: circuits.looked(now, is_open=True, now_ms=NOW),
    "looked_down": lambda now: circuits.looked(now, is_open=False, now_ms=NOW),
    "heard_open": lambda now: circuits.heard_open(now, now_ms=NOW + 60_000, times=TIMES),
    "nobody": lambda now: circuits.passed_time(now, now_ms=NOW, nobody_waits=True, times=TIMES),
    "a_minute": lambda now: circuits.passed_time(now, now_ms=NOW + 60_000, nobody_waits=False, times=TIMES),
    "hold": lambda now: circuits.held(now, now_ms=NOW),
    "release": lambda now: circuits.released(now, now_ms=NOW),
    "alerted": circuits.alerted,
}
#: Rows: state before; columns: what comes after each event.
TABLE = """
           down  refused unreached through  looked_open looked_down heard_open nobody   a_minute hold release
closed     open  open    open      closed   closed      closed      closed     closed   closed   held closed
open       open  open    open      open     trying      open        trying     open     open     held trying
trying     open  open    open      ramping  trying      trying      trying     ramping  trying   held trying
ramping    open  open    open      ramping  ramping     ramping     ramping    ramping  closed   held trying
held       held  held    held      held     held        held        held       held     held     held trying
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [(State(row[0]), event, State(after)) for row in ROWS for event, after in zip(HEAD, row[1:], strict=True)]


@pytest.mark.parametrize(("before", "event", "after"), CELLS, ids=lambda one: str(one))
def test_every_event_in_every_state(before, event, after):
    assert EVENTS[event](CLOSED if before is State.CLOSED else standing(before)).state is after


def test_what_opened_it_first_names_the_trouble_until_it_is_closed():
    opened = circuits.failed(CLOSED, failure(), now_ms=NOW)
    again = circuits.failed(replace(opened, state=State.RAMPING), failure(Cause.NOT_REACHED), now_ms=NOW + 9)

    assert (opened.since_ms, again.since_ms, again.changed_ms, again.cause) == (NOW, NOW, NOW + 9, Cause.NOT_REACHED)


def test_only_a_canary_that_meets_a_dead_session_is_a_lie():
    lies = {
        (state, cause): circuits.failed(standing(state, lies=1), failure(cause), now_ms=NOW).lies
        for state in (State.TRYING, State.RAMPING)
        for cause in (Cause.SESSION_DOWN, Cause.NOT_REACHED)
    }

    assert lies.pop((State.TRYING, Cause.SESSION_DOWN)) == 2
    assert set(lies.values()) == {1}
    assert circuits.got_through(standing(State.TRYING, lies=2), now_ms=NOW).lies == 0


def test_a_new_name_is_given_where_a_watch_shall_begin_at_once():
    held = standing(State.HELD, since_ms=NOW)

    assert circuits.released(held, now_ms=NOW).since_ms > held.since_ms
    # Of a process whose clock is behind.
    opened = standing(State.OPEN, since_ms=NOW + 50_000)
    assert circuits.heard_open(opened, now_ms=NOW + 40_000, times=TIMES).since_ms > opened.since_ms


@pytest.mark.parametrize(
    ("fields", "passed_ms", "after"),
    [
        ({}, TIMES.look_ms - 1, State.OPEN),
        ({}, TIMES.look_ms, State.TRYING),
        ({"cause": Cause.REFUSED, "code": "unauthorized"}, 10 * TIMES.look_ms, State.OPEN),
        ({"cause": Cause.REFUSED, "code": LOGGED_OUT}, 10 * TIMES.look_ms, State.TRYING),
    ],
)
def test_a_provider_s_word_is_taken_when_it_can_be_true(fields, passed_ms, after):
    heard = circuits.heard_open(standing(State.OPEN, changed_ms=NOW, **fields), now_ms=NOW + passed_ms, times=TIMES)

    assert heard.state is after


# -- alerts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("circuit", "needs"),
    [
        (CLOSED, False),
        (standing(State.HELD, since_ms=0), False),
        (standing(State.OPEN), False),
        (standing(State.OPEN, since_ms=NOW - ALERT_AFTER_MS), True),
        (standing(State.OPEN, since_ms=NOW - ALERT_AFTER_MS, is_alerted=True), False),
        (standing(State.TRYING, since_ms=NOW - ALERT_AFTER_MS), False),
        (standing(State.TRYING, lies=LIES), True),
        (standing(State.OPEN, lies=LIES - 1), False),
        # A look found it out: no message died of it.
        (standing(State.OPEN, cause=Cause.REFUSED), True),
        (standing(State.OPEN, cause=Cause.REFUSED, is_alerted=True), False),
    ],
)
def test_when_a_person_is_told(circuit, needs):
    assert circuits.needs_alert(circuit, now_ms=NOW) is needs


@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN, State.TRYING, State.RAMPING])
@pytest.mark.parametrize("is_told", [True, False])
def test_a_refusal_is_told_of_once_also_where_the_trouble_before_it_was(state, is_told):
    before = CLOSED if state is State.CLOSED else standing(state, is_alerted=True)
    after = circuits.failed(before, failure(Cause.REFUSED, is_told=is_told), now_ms=NOW)

    assert circuits.needs_alert(after, now_ms=NOW) is not is_told
    assert not circuits.needs_alert(circuits.alerted(after), now_ms=NOW + ALERT_AFTER_MS)


# -- times -------------------------------------------------------------------------------------------------------------

STATES = st.sampled_from(State)
TIMES_ST = st.builds(Times, look_ms=st.integers(10, 10**7), ramp_ms=st.integers(0, 10**7))
CIRCUITS = st.builds(
    Circuit,
    state=STATES,
    cause=st.sampled_from(Cause),
    code=st.text(max_size=5),
    since_ms=st.integers(0, 2 * NOW),
    changed_ms=st.integers(0, 2 * NOW),
    looks=st.integers(0, 10**6),
    lies=st.integers(0, 10**6),
    is_alerted=st.booleans(),
    tenant_id=st.none() | st.text(max_size=3),
    credentials=st.text(max_size=3),
).map(lambda one: CLOSED if one.state is State.CLOSED else one)


@given(CIRCUITS, st.floats(0, 1, exclude_max=True), TIMES_ST)
def test_a_look_is_never_at_once_and_never_late(circuit, draw, times):
    wait_ms = circuits.look_in_ms(circuit, draw=draw, times=times)

    assert wait_ms >= 0.8 * min(10, LOOK_FIRST_MS) - 1
    if circuit.state in (State.TRYING, State.RAMPING):
        assert wait_ms <= 1.2 * max(times.look_ms, LOOK_FIRST_MS)
    else:
        # Whoever mends a refused key need not wait for the next time that the gateway is asked.
        assert wait_ms <= (CREDENTIALS_LOOK_MS if circuit.cause is Cause.REFUSED else 1.2 * LOOK_LAST_MS)


def test_looks_become_seldom_and_a_liar_is_not_believed_sooner_each_time():
    def waits(**fields):
        return circuits.look_in_ms(standing(State.OPEN, **fields), draw=0.5, times=TIMES)

    assert [waits(looks=looks) for looks in range(6)] == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]
    assert [waits(lies=lies) for lies in range(3)] == [5_000, 10_000, 20_000]


@given(st.integers(0, 10**6), st.integers(0, 10**6), TIMES_ST)
def test_a_ramp_only_rises_from_a_tenth_to_all(first_ms, later_ms, times):
    first_ms, later_ms = sorted((first_ms, later_ms))
    ramp = standing(State.RAMPING, changed_ms=NOW)
    shares = [circuits.share(ramp, now_ms=NOW + ms, times=times) for ms in (0, first_ms, later_ms, times.ramp_ms)]

    assert RAMP_FROM <= shares[0] <= shares[1] <= shares[2] <= 1
    assert shares[3] == 1 or times.ramp_ms == 0
    # Of a process whose clock is behind.
    assert circuits.share(ramp, now_ms=NOW - 1_000, times=times) == RAMP_FROM


# -- properties over histories -------------------------------------------------------------------------------------------

HISTORIES = st.lists(st.sampled_from(sorted(EVENTS)), max_size=30)


@given(CIRCUITS, HISTORIES)
def test_any_event_leads_from_any_state_to_one_that_is_kept_and_read_again(circuit, history):
    for event in history:
        circuit = EVENTS[event](circuit)
        assert Circuit.read(circuit.text()) == (CLOSED if circuit.state is State.CLOSED else circuit)
        assert circuit.text().startswith("!") is circuit.lets_nobody


@given(HISTORIES)
def test_nothing_that_was_open_is_closed_but_past_a_canary_or_with_nobody_there_to_be_one(history):
    circuit, proven = CLOSED, True
    for event in history:
        before, circuit = circuit, EVENTS[event](circuit)
        if circuit.lets_nobody or (before.state is not circuit.state and circuit.state is State.TRYING):
            proven = False
        if before.state is State.TRYING and event in ("through", "nobody"):
            proven = True
        if circuit.state in (State.RAMPING, State.CLOSED):
            assert proven, history


@given(HISTORIES)
def test_whoever_was_told_is_not_told_again_of_the_same(history):
    circuit, told = CLOSED, False
    for event in history:
        before, circuit = circuit, EVENTS[event](circuit)
        is_another = circuit.since_ms != before.since_ms or circuit.cause is not before.cause
        if circuits.needs_alert(circuit, now_ms=NOW + 10 * ALERT_AFTER_MS):
            assert is_another or not told, history
            circuit, told = circuits.alerted(circuit), True
        elif is_another:
            told = False


@pytest.mark.parametrize("text", ["{", "[]", "!", '!{"state": "gone"}', '{"state": "open"}', "null", '{"state": 1}'])
def test_a_record_that_cannot_be_read_is_closed(text):
    assert Circuit.read(text) == CLOSED


def test_a_record_of_a_newer_process_can_be_read():
    kept = standing(State.OPEN)
    newer = kept.text().replace('"code"', '"colour": "red", "code"')

    assert newer != kept.text()
    assert Circuit.read(newer) == kept
