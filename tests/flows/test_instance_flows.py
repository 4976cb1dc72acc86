"""Instances at their pace, in trouble, and on their way back: what the gateway saw of it."""

from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from flow_world import TEXTS, Change, World, working
from waiting import stays, until

import actors
from actors import services, wiring
from actors.chat import prepare_redrive
from actors.circuit import Cause, State
from actors.domain import AttemptState, Instance, MessageStatus
from actors.instances import step
from actors.pace import Kind
from actors.stores.rows import ConversationRow, InstanceRow
from actors.turns import MessageTurn, after_redrive
from middleware.letters import DeadLetters
from middleware.outcomes import Dead

pytestmark = pytest.mark.redis

I1, I2 = Instance(name="i1", tenant_id="t"), Instance(name="i2", tenant_id="t")
#: First messages of the quiet line.
TRIALS = 20
SENDS = {"op": ["sendText"], "instance": "i1"}


@pytest.fixture
def quick(change: Change) -> None:
    """Looks and ramps that a test can wait for."""
    change(look_ms=50, ramp_ms=200)


@pytest.fixture
def second(world: World) -> None:
    """A second line of the same tenant, with a conversation of its own."""
    world.sandbox.admin.put_instance("i2")
    world.store.add(
        InstanceRow(instance_name="i2", tenant_id="t", api_key=world.sandbox.apikey, api_url=world.sandbox.url),
        ConversationRow(id="c2", contact_phone="+5511977776666", tenant_id="t", instance_name="i2"),
    )


def say_many(world: World, count: int, *, lanes: int = 1, first: int = 0, **options: Any) -> list[str]:
    """Messages of line i1 over several conversations, sent in order."""
    ids = []
    for lane in range(lanes):
        if lane:
            row = ConversationRow(
                id=f"x{lane}", contact_phone=f"+55119888866{lane:02}", tenant_id="t", instance_name="i1"
            )
            world.store.add(row)
    for number in range(first, first + count):
        lane = number % lanes
        ids.append(world.say(f"n{number}", f"text {number}", conversation=f"x{lane}" if lane else "c1"))
        actors.send_message.send(ids[-1], **options)
    return ids


def all_sent(world: World, ids: list[str]) -> bool:
    return all(world.status(id_) == MessageStatus.SENT for id_ in ids)


def state(name: str = "i1") -> State:
    return wiring.traffic().circuit(name).state


def requests(world: World, *ops: str) -> list[dict[str, Any]]:
    return [one for one in world.sandbox.admin.requests() if one["op"] in (ops or ("sendText",))]


def gate(group: str, queue: str = "send_message") -> Any:
    return {one.group: one for one in actors.broker.transitions.gates(queue)}.get(group)


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


# -- pace ------------------------------------------------------------------------------------------------------------------


def test_a_line_sends_one_message_at_a_time_in_whatever_class(world):
    world.sandbox.admin.add_fault({"type": "latency", "ms": 30, "when": "before_accept"}, match=TEXTS)
    ids = say_many(world, 12, lanes=6) + say_many(world, 6, lanes=6, first=12, bulk=True)
    with working(threads=16):
        until(lambda: all_sent(world, ids), within_ms=20_000)

    assert world.sandbox.admin.counters()["max_concurrency_per_instance"] == 1


def killed_in_its_turn(world: World, id_: str) -> Any:
    """A run of this message took its place and its worker was killed; the turn lasts while somebody holds what is returned."""
    turn = MessageTurn(services.get(), I1, world.store.load_message(id_), Kind.SEND)()
    turn.__enter__()
    return turn


def test_a_place_that_a_killed_run_kept_is_its_message_s_though_redis_lost_the_job(world, queue_client):
    (first,) = say_many(world, 1)
    killed = killed_in_its_turn(world, first)
    queue_client.flushdb()
    second = world.say("second", conversation="c1")
    actors.send_message.send(first)
    actors.send_message.send(second)
    with working():
        until(lambda: all_sent(world, [first, second]), within_ms=5_000)
    del killed


def test_a_younger_message_that_was_killed_in_its_turn_lets_the_older_one_have_its_place(world):
    world.say("older", created_at_ms=world.clock.now_ms() - 1_000)
    world.say("younger")
    actors.send_message.send("younger")
    killed = killed_in_its_turn(world, "younger")
    with working():
        until(lambda: all_sent(world, ["older", "younger"]), within_ms=5_000)

    assert world.delivered() == ["oi", "oi"]
    del killed


def test_a_message_that_kills_its_workers_leaves_its_place_with_its_death(world):
    crash, other = say_many(world, 2, lanes=2)
    killed = killed_in_its_turn(world, crash)
    moves = actors.broker.transitions
    [taken] = moves.fetch("send_message", limit=1, lease_ms=60_000, owner="dies").messages
    moves.finish(taken.lease, Dead("crash_loop"), body=taken.body)
    with working():
        until(lambda: all_sent(world, [other]), within_ms=5_000)
        until(lambda: world.status(crash) == MessageStatus.FAILED, within_ms=5_000)
    del killed


def test_a_campaign_has_a_pace_of_its_own_and_holds_up_no_conversation(world, change):
    change(pace={"sandbox": {"bulk": {"interval_ms": 3_600_000}}})
    with working():
        bulk = say_many(world, 5, lanes=6, first=1, bulk=True)
        until(lambda: sum(world.status(id_) == MessageStatus.SENT for id_ in bulk) == 1, within_ms=5_000)
        ids = say_many(world, 5, first=6)
        until(lambda: all_sent(world, ids), within_ms=10_000)

    assert sum(world.status(id_) == MessageStatus.SENT for id_ in bulk) == 1
    assert gate("i1/bulk").waiting == 4


def test_a_person_gets_no_two_messages_within_the_interval(world, change):
    change(pace={"sandbox": {"send": {"pair_interval_ms": 400}}})
    ids = say_many(world, 3) + say_many(world, 2, lanes=3, first=7)
    with working():
        until(lambda: all_sent(world, ids), within_ms=20_000)

    taken = [one for one in world.sandbox.admin.deliveries() if one["requested_number"] == "5511988887777"]
    gaps_ms = [b["accepted_at"]["boot_ms"] - a["accepted_at"]["boot_ms"] for a, b in pairwise(taken)]
    assert min(gaps_ms) >= 350
    assert actors.broker.transitions.stats(["send_message"])[0].counters.get("retried", 0) == 0


def test_a_days_quota_of_a_campaign_is_kept_without_a_gate(world, change):
    change(pace={"i1": {"bulk": {"per_day": 2}}})
    ids = say_many(world, 4, lanes=4, bulk=True)
    with working():
        until(lambda: sum(world.status(id_) == MessageStatus.SENT for id_ in ids) == 2, within_ms=5_000)
        # They wait at their gate: one asks from time to time, not each of them.
        until(lambda: gate("i1/bulk") is not None and gate("i1/bulk").waiting == 2, within_ms=5_000)
        stays(lambda: gate("i1/bulk").next_in_ms > 0 and gate("i1/bulk").waiting == 2, for_ms=200)

    assert len(world.delivered()) == 2


def test_a_throttle_holds_off_its_line_alone_and_uses_no_attempt(world, second):
    world.sandbox.admin.add_fault(
        {"type": "status", "preset": "429", "retry_after": 1}, match=SENDS, trigger={"next": 1}
    )
    ids = say_many(world, 3, lanes=3)
    world.say("other", conversation="c2")
    with working():
        until(lambda: gate("i1") is not None and gate("i1").next_in_ms > 0, within_ms=5_000)
        actors.send_message.send("other")
        until(lambda: world.status("other") == MessageStatus.SENT, within_ms=5_000)
        until(lambda: all_sent(world, ids), within_ms=10_000)

    refused, *later = [one for one in requests(world) if one["instance"] == "i1"]
    assert min(one["started_at"]["boot_ms"] for one in later) - refused["started_at"]["boot_ms"] >= 1_000
    assert actors.broker.transitions.stats(["send_message"])[0].counters.get("retried", 0) == 0
    assert {attempt.state for id_ in ids for attempt in world.store.attempts(id_)} == {AttemptState.ACCEPTED}


def test_a_fallback_goes_out_though_the_line_it_would_rather_use_is_parked(world, quick, second):
    world.store._instances[0] = replace(world.store._instances[0], is_active=False)
    with working():
        wiring.traffic().hold(I1)
        world.say("m1")
        actors.send_message.send("m1", use_fallback=True)
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert [one["instance"] for one in world.sandbox.admin.deliveries()] == ["i2"]


def test_a_throttled_campaign_holds_off_the_conversations_of_its_line_too(world):
    world.sandbox.admin.add_fault(
        {"type": "status", "preset": "429", "retry_after": 1}, match=SENDS, trigger={"next": 1}
    )
    bulk = say_many(world, 1, bulk=True)
    with working():
        until(lambda: len(requests(world)) == 1, within_ms=5_000)
        until(lambda: gate("i1") is not None and gate("i1").next_in_ms > 0, within_ms=5_000)
        ids = say_many(world, 3, lanes=3, first=1)
        until(lambda: all_sent(world, bulk + ids), within_ms=10_000)

    refused, *later = requests(world)
    assert min(one["started_at"]["boot_ms"] for one in later) - refused["started_at"]["boot_ms"] >= 1_000


def test_pictures_that_hang_hold_a_quarter_of_the_threads_and_no_message(world, second):
    hang = world.sandbox.admin.add_fault(
        {"type": "hang", "when": "before_accept", "max_s": 2}, match={"op": ["fetchProfilePictureUrl"]}
    )
    ids = say_many(world, 20, lanes=20)
    for lane in range(1, 20):
        actors.fetch_profile_pic.send(f"x{lane}")
    with working(threads=8):
        until(lambda: len(requests(world, "fetchProfilePictureUrl")) == 2, within_ms=5_000)
        until(lambda: all_sent(world, ids), within_ms=10_000)
        more = say_many(world, 20, lanes=20, first=20)
        until(lambda: all_sent(world, more), within_ms=10_000)
        hung = requests(world, "fetchProfilePictureUrl")
        world.sandbox.admin.clear_faults(hang)

    assert most_at_once(hung) == 2


def most_at_once(entries: list[dict[str, Any]]) -> int:
    begins = [(one["started_at"]["boot_ms"], 1) for one in entries]
    ends = [(one["ended_at"]["boot_ms"], -1) for one in entries if one.get("ended_at")]
    running = most = 0
    for _, change in sorted(begins + ends):
        running += change
        most = max(most, running)
    return most


@pytest.mark.slow
def test_ten_thousand_messages_of_a_line_do_not_slow_the_first_of_another_by_more_than_50_ms(
    world, change, second, record_property
):
    change(pace={"i1": {"send": {"interval_ms": 200}}})

    def first_ms(id_: str) -> int:
        began_ms = world.clock.boot_ms()
        world.say(id_, id_, conversation="c2")
        actors.send_message.send(id_)
        until(lambda: world.status(id_) == MessageStatus.SENT, within_ms=10_000)
        (delivery,) = [one for one in world.sandbox.admin.deliveries() if one["text"] == id_]
        return delivery["accepted_at"]["boot_ms"] - began_ms

    with working(threads=8):
        alone_ms = [first_ms(f"alone{number}") for number in range(TRIALS)]
        say_many(world, 10_000, lanes=100)
        until(lambda: len(world.delivered()) > TRIALS, within_ms=10_000)
        behind_ms = [first_ms(f"behind{number}") for number in range(TRIALS)]
        waiting = actors.broker.transitions.stats(["send_message"])[0]

    record_property("first_alone_ms_median", median(alone_ms))
    record_property("first_behind_10000_ms_median", median(behind_ms))
    record_property("first_behind_10000_ms_max", max(behind_ms))
    assert waiting.waiting_in_group + waiting.waiting_in_lane > 9_000
    assert median(behind_ms) - median(alone_ms) <= 50
    assert sorted(behind_ms)[-2] - median(alone_ms) <= 50


# -- an operator -----------------------------------------------------------------------------------------------------------


def test_an_operator_holds_a_line_and_lets_it_go(world, quick):
    with working():
        wiring.traffic().hold(I1)
        ids = say_many(world, 4, lanes=2)
        until(lambda: gate("i1").waiting == 2, within_ms=5_000)
        stays(lambda: world.delivered() == [], for_ms=200)
        wiring.traffic().release(I1)
        until(lambda: all_sent(world, ids), within_ms=20_000)
        until(lambda: state() is State.CLOSED, within_ms=10_000)
