"""A turn and its instance's circuit: what parks it, what a canary tells, and who of several processes changes it."""

from dataclasses import replace

import pytest
from traffic_world import DOWN, INSTANCE, REFUSED, later, made_desk, met, trip

from actors.circuit import Cause, State
from actors.domain import Instance
from actors.errors import (
    Ambiguous,
    AuthConfig,
    GatewayUnreachable,
    InstanceUnavailable,
    NotOnWhatsApp,
    Paced,
    Permanent,
    Throttled,
    Transient,
    Unsupported,
)
from actors.pace import Kind, Pace
from actors.traffic import UNREACHED

pytestmark = pytest.mark.redis

HOUR_MS = 3_600_000
UNREACHED_ERROR = GatewayUnreachable("refused")


# -- parked ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "cause"),
    [
        ([DOWN], Cause.SESSION_DOWN),
        ([REFUSED], Cause.REFUSED),
        ([UNREACHED_ERROR] * UNREACHED, Cause.NOT_REACHED),
    ],
    ids=["down", "refused", "unreached"],
)
def test_an_instance_in_trouble_is_parked_under_all_its_names_and_watched_once(desk, errors, cause):
    desk.paces = dict.fromkeys(Kind, Pace())
    for number, error in enumerate(errors):
        assert desk.circuit().state is State.CLOSED
        met(desk, error, trip(f"m{number}"))

    assert (desk.circuit().state, desk.circuit().cause) == (State.OPEN, cause)
    queues = ("send_message", "send_message", "fetch_profile_pic", "fetch_group_info")
    for name in ("i1", "line one"):
        groups = (name, f"{name}/bulk", name, name)
        assert {desk.gate(group, queue).state for group, queue in zip(groups, queues, strict=True)} == {"parked"}
    assert [name for name, _, _ in desk.watched] == ["i1"]
    # Whoever is told is told by a dead letter, or by the watch when it lasts.
    assert desk.alerted == []


@pytest.mark.parametrize(
    "error",
    [
        NotOnWhatsApp("no", request_written=True),
        AuthConfig("no", code="not_in_test_list", request_written=True),
        Permanent("no", code="groups_not_allowed", request_written=True, alert=True),
        Transient("503"),
        Ambiguous("?"),
        ValueError("a bug"),
    ],
    ids=repr,
)
def test_what_says_nothing_of_the_instance_parks_nothing(desk, error):
    met(desk, error)

    assert desk.circuit().state is State.CLOSED


@pytest.mark.parametrize(("code", "state"), [("permission", State.CLOSED), ("unauthorized", State.OPEN)])
def test_a_question_that_is_not_allowed_parks_no_sends_and_a_refused_key_does(desk, code, state):
    met(desk, AuthConfig("no", code=code, request_written=True), trip(kind=Kind.GROUP_INFO))

    assert desk.circuit().state is state


def test_only_tries_in_a_row_count_and_a_park_begins_the_count_anew(desk):
    for error in (*[UNREACHED_ERROR] * (UNREACHED - 1), NotOnWhatsApp("no", request_written=True)):
        met(desk, error)
    met(desk, UNREACHED_ERROR)
    assert desk.circuit().state is State.CLOSED

    for _ in range(UNREACHED - 1):
        met(desk, UNREACHED_ERROR)
    assert desk.circuit().state is State.OPEN
    # Another process brought it back; one blip here is no row of three.
    desk.traffic.change(INSTANCE, lambda now: replace(now, state=State.CLOSED))
    met(desk, UNREACHED_ERROR)
    assert desk.circuit().state is State.CLOSED


def test_a_message_that_met_a_dead_session_waits_at_the_gate(desk):
    assert met(desk, replace_delay(DOWN)).delay_ms == 0


def replace_delay(error: InstanceUnavailable) -> InstanceUnavailable:
    return InstanceUnavailable(str(error), delay_ms=5_000, code=error.code)


def test_what_slips_through_to_a_parked_instance_costs_no_pace_and_no_quota(desk):
    desk.paces[Kind.BULK] = Pace(per_day=1, pair_interval_ms=HOUR_MS, concurrency=1)
    desk.open()

    for number in range(5):
        assert later(desk, trip(f"m{number}", Kind.BULK)).delay_ms == 0
    desk.traffic.change(INSTANCE, lambda now: replace(now, state=State.CLOSED))

    desk.go(trip("m9", Kind.BULK))


def test_what_has_no_gate_to_wait_at_comes_less_often_the_longer_its_instance_is_down(desk):
    desk.open()
    waits = []
    for passed_ms in (0, 20_000, 60_000, 10 * HOUR_MS):
        desk.clock.at_ms += passed_ms
        waits.append(later(desk, trip(group=None)).delay_ms)

    assert waits == [1_000, 5_000, 20_000, 60_000]


def test_a_look_of_a_campaign_s_message_waits_at_its_gate_too(desk):
    desk.open()

    assert later(desk, trip(kind=Kind.LOOK, group="i1/bulk")).delay_ms == 0


def test_gates_that_were_lost_are_set_again_by_whoever_slips_through(desk):
    desk.open()
    desk.client.flushdb()
    later(desk, trip())

    assert desk.gate().state == "parked"


# -- canaries --------------------------------------------------------------------------------------------------------------


def test_only_one_that_came_through_the_gate_is_a_canary(desk):
    desk.put(State.TRYING)

    assert later(desk, trip(group=None)).delay_ms > 0
    desk.go(trip())
    assert desk.circuit().state is State.RAMPING
    desk.go(trip(group=None))


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (NotOnWhatsApp("no", request_written=True), State.RAMPING),
        (Unsupported("never asked"), State.TRYING),
        (Transient("503"), State.TRYING),
        (Ambiguous("?"), State.TRYING),
        (Throttled("slow", delay_ms=5), State.TRYING),
        (KeyboardInterrupt(), State.TRYING),
        (DOWN, State.OPEN),
        (UNREACHED_ERROR, State.OPEN),
        (REFUSED, State.OPEN),
    ],
    ids=repr,
)
def test_what_a_canary_tells(desk, error, state):
    desk.put(State.TRYING)
    met(desk, error)

    assert desk.circuit().state is state


def test_a_trouble_is_watched_once_however_often_its_canaries_fail(desk):
    desk.open()
    since_ms = desk.circuit().since_ms
    for _ in range(3):
        desk.traffic.change(INSTANCE, lambda now: replace(now, state=State.TRYING))
        met(desk, DOWN)

    assert (desk.circuit().lies, desk.circuit().since_ms, len(desk.watched)) == (3, since_ms, 1)


# -- changes ---------------------------------------------------------------------------------------------------------------


def test_gates_that_cannot_be_set_do_not_cost_the_watch(desk, monkeypatch, caplog):
    from middleware.errors import QueueUnavailable

    def away(*_, **__):
        raise QueueUnavailable("away")

    monkeypatch.setattr(desk.traffic.gates, "set", away)
    desk.open()

    assert (desk.circuit().state, len(desk.watched)) == (State.OPEN, 1)
    assert "gates.not_set" in caplog.messages


def test_of_two_processes_that_see_it_fall_one_opens_it(desk, redis_server):
    with made_desk(redis_server) as other:
        met(desk, DOWN)
        met_there = replace_delay(DOWN)
        with pytest.raises(Paced):
            other.go(trip("m2"), met_there)

    assert (len(desk.watched), len(other.watched)) == (1, 0)


def test_a_change_of_another_process_meanwhile_is_seen(desk, redis_server):
    seen = []

    def decide(now):
        if not seen:
            desk.put(State.HELD, cause=Cause.OPERATOR)
        seen.append(now.state)
        return replace(now, looks=now.looks + 1)

    with made_desk(redis_server) as other:
        other.traffic.change(INSTANCE, decide)

    assert seen == [State.CLOSED, State.HELD]


def test_a_stale_reader_does_not_leave_its_gates_behind(desk, redis_server, monkeypatch):
    desk.open()
    real = desk.traffic.gates.set

    def slow(instance, paces, circuit, *, now_ms):
        monkeypatch.setattr(desk.traffic.gates, "set", real)
        with made_desk(redis_server) as other:
            other.traffic.change(instance, lambda now: replace(now, state=State.CLOSED))
        real(instance, paces, circuit, now_ms=now_ms)

    monkeypatch.setattr(desk.traffic.gates, "set", slow)
    desk.traffic.set_gates(INSTANCE)

    assert desk.gate() is None or desk.gate().state == "open"


def test_an_operator_s_hold_and_release(desk):
    held = desk.traffic.hold(INSTANCE)
    assert (held.state, desk.gate().state, desk.watched) == (State.HELD, "parked", [])
    met_meanwhile = desk.open()
    assert met_meanwhile == held

    released = desk.traffic.release(INSTANCE)

    assert (released.state, desk.watched) == (State.TRYING, [("i1", released, 0)])
    assert desk.traffic.release(Instance(name="nobody")).state is State.CLOSED
