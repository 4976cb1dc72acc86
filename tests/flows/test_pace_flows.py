"""Instances at their pace, and who has a place in it: what the gateway saw of it."""

from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from flow_world import TEXTS, World, working
from line_world import I1, all_sent, gate, requests, say_many, second
from waiting import stays, until

import actors
from actors import services
from actors.domain import AttemptState, MessageStatus
from actors.pace import Kind
from actors.turns import MessageTurn
from middleware.outcomes import Dead

__all__ = ["second"]

pytestmark = pytest.mark.redis

#: First messages of the quiet line.
TRIALS = 20
SENDS = {"op": ["sendText"], "instance": "i1"}


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
