"""Cases of the table of conformance that no other flow plays whole; docs/gateways.md, "Conformance", maps every row.

Store, broker, worker threads, real client, sandbox: the gateway's own log says what the phone would have received.
"""

from typing import Any

import pytest
from flow_world import GROUP, TEXTS, Change, World, add_cloud_number, working
from waiting import stays, until

import actors
from actors import wiring
from actors.circuit import Cause, State
from actors.domain import MessageStatus
from actors.stores.rows import ConversationRow, InstanceRow

pytestmark = [pytest.mark.redis, pytest.mark.contract]

SENT, FAILED, PENDING = MessageStatus.SENT, MessageStatus.FAILED, MessageStatus.PENDING
LINKED = "123456789012345@lid"


def deliver(world: World, id_: str, text: str = "oi", *, conversation: str = "c1") -> None:
    world.say(id_, text, conversation=conversation)
    actors.send_message.send(id_)


def sends(world: World) -> list[dict[str, Any]]:
    return [one for one in world.sandbox.requests() if str(one["op"]).startswith("send") or one["op"] == "messages"]


def attempts_used(world: World) -> int:
    return int(actors.broker.transitions.stats(["send_message"])[0].counters.get("retried", 0))


def test_row_4_an_instance_that_the_server_does_not_have_is_for_an_operator(world):
    world.store.add(
        InstanceRow(instance_name="nope", tenant_id="t", api_key=world.sandbox.apikey, api_url=world.sandbox.url),
        ConversationRow(id="n1", contact_phone="+5511977776666", tenant_id="t", instance_name="nope"),
        ConversationRow(id="n2", contact_phone="+5511977776667", tenant_id="t", instance_name="nope"),
    )
    deliver(world, "m1", conversation="n1")
    with working():
        until(lambda: world.status("m1") == FAILED, within_ms=5_000)
        deliver(world, "m2", conversation="n2")
        stays(lambda: world.status("m2") == PENDING, for_ms=300)

    assert [letter.reason for letter in world.letters()] == ["instance_missing"]
    assert len(sends(world)) == 1
    assert wiring.traffic().circuit("nope").cause is Cause.REFUSED
    assert world.delivered() == []


@pytest.mark.parametrize("to", ["cached", "linked", "group"])
def test_row_10_a_session_that_closes_answers_each_address_in_its_own_way_and_costs_nothing(world, change: Change, to):
    """400 "Error: Connection Closed", or for a group 400 "[object Object]": none of them is the end of the message."""
    change(max_attempts=1, look_ms=50, ramp_ms=100)
    world.store.add(ConversationRow(id="l1", contact_phone=LINKED, tenant_id="t", instance_name="i1"))
    world.sandbox.admin.put_group(GROUP, subject="G")
    conversation = {"cached": "c1", "linked": "l1", "group": "g1"}[to]
    with working():
        deliver(world, "m0", "antes", conversation=conversation)
        until(lambda: world.status("m0") == SENT, within_ms=5_000)
        down = world.sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})
        deliver(world, "m1", conversation=conversation)
        until(lambda: wiring.traffic().circuit("i1").state is State.OPEN, within_ms=5_000)
        assert world.status("m1") == PENDING
        world.sandbox.admin.clear_faults(down)
        until(lambda: world.status("m1") == SENT, within_ms=20_000)

    assert {one["status"] for one in sends(world)} == {201, 400}
    assert (world.delivered(), world.letters(), attempts_used(world)) == (["antes", "oi"], [], 0)


@pytest.mark.parametrize(
    ("row", "action"),
    [
        (17, {"type": "drop", "when": "after_accept"}),
        (18, {"type": "drop", "when": "before_accept"}),
        (19, {"type": "hang", "when": "after_accept", "max_s": 30}),
        (23, {"type": "status", "preset": "nginx_504", "when": "after_accept"}),
    ],
)
def test_rows_17_to_23_an_end_that_nobody_knows_is_looked_for(world, change: Change, row, action):
    # The shortest that leaves a request its second.
    change(time_limit_ms=6_000)
    world.sandbox.admin.add_fault(action, match=TEXTS, trigger={"next": 1})
    deliver(world, "m1")
    with working():
        until(lambda: world.status("m1") == SENT, within_ms=15_000)

    [delivery] = world.sandbox.admin.deliveries()
    assert world.store.message("m1").message_id == delivery["key_id"]
    looks = [one for one in world.sandbox.requests() if one["op"] == "findMessages"]
    # What did not go out was looked for twice before it was sent again.
    assert (len(sends(world)), len(looks) >= (2 if row == 18 else 1)) == ((2 if row == 18 else 1), True)


def test_row_27_no_picture_from_a_closed_session_is_no_picture_at_all(world):
    picture = "https://pps.whatsapp.net/p.jpg"
    world.sandbox.admin.put_contact("5511988887777", picture_url=picture)
    with working():
        actors.fetch_profile_pic.send("c1", force=True)
        until(lambda: world.store.conversation("c1").profile_pic_url == picture, within_ms=5_000)
        down = world.sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})
        actors.fetch_profile_pic.send("c1", force=True)
        until(lambda: len(_pictures(world)) == 2, within_ms=5_000)
        until(lambda: actors.broker.do_qsize("fetch_profile_pic") == 0, within_ms=5_000)
        assert world.store.conversation("c1").profile_pic_url == picture
        world.sandbox.admin.clear_faults(down)

    assert {one["method"] for one in _pictures(world)} == {"POST"}
    assert world.letters() == []


def _pictures(world: World) -> list[dict[str, Any]]:
    return [one for one in world.sandbox.requests() if one["op"] == "fetchProfilePictureUrl"]


# -- row 29: codes of the Cloud API ----------------------------------------------------------------------------------------


@pytest.fixture
def cloud(world: World) -> World:
    add_cloud_number(world)
    return world


def _refuse(world: World, code: int) -> None:
    """Once, the first person's message."""
    world.sandbox.admin.add_fault(
        {"type": "status", "preset": f"graph_{code}"}, match={"number_re": "988887777"}, trigger={"next": 1}
    )


@pytest.mark.parametrize(("code", "used"), [(131056, 0), (130429, 0), (131016, 1)])
def test_row_29_a_limit_costs_no_attempt_and_a_bad_moment_one(cloud, code, used):
    _refuse(cloud, code)
    deliver(cloud, "m1", conversation="p1")
    with working():
        until(lambda: cloud.status("m1") == SENT, within_ms=20_000)

    assert (len(sends(cloud)), cloud.delivered(), attempts_used(cloud)) == (2, ["oi"], used)


def test_row_29_the_account_s_limit_holds_off_the_number(cloud):
    _refuse(cloud, 80007)
    deliver(cloud, "m1", conversation="p1")
    with working():
        until(lambda: len(sends(cloud)) == 1, within_ms=5_000)
        deliver(cloud, "m2", conversation="p2")
        stays(lambda: len(sends(cloud)) == 1, for_ms=500)

    assert (cloud.status("m1"), cloud.status("m2"), attempts_used(cloud)) == (PENDING, PENDING, 0)


def test_row_29_a_refused_token_kills_the_message_that_met_it_and_parks_the_number(cloud):
    _refuse(cloud, 190)
    deliver(cloud, "m1", conversation="p1")
    with working():
        until(lambda: cloud.status("m1") == FAILED, within_ms=5_000)
        deliver(cloud, "m2", conversation="p2")
        stays(lambda: cloud.status("m2") == PENDING, for_ms=300)

    assert [letter.reason for letter in cloud.letters()] == ["token_refused"]
    assert wiring.traffic().circuit("cloud-1").cause is Cause.REFUSED
    assert len(sends(cloud)) == 1


def test_row_29_who_cannot_be_reached_stops_nobody_else(cloud):
    _refuse(cloud, 131026)
    for id_, conversation in (("m1", "p1"), ("m2", "p2")):
        deliver(cloud, id_, conversation=conversation)
    with working():
        until(lambda: (cloud.status("m1"), cloud.status("m2")) == (FAILED, SENT), within_ms=5_000)

    assert [letter.reason for letter in cloud.letters()] == ["undeliverable"]
    assert len(sends(cloud)) == 2


def test_row_29_an_unknown_error_is_not_sent_again_without_being_told_to(cloud, change: Change):
    change(told_within_s=0.2)
    _refuse(cloud, 131000)
    deliver(cloud, "m1", conversation="p1")
    with working():
        until(lambda: cloud.status("m1") == FAILED, within_ms=10_000)

    assert [letter.reason for letter in cloud.letters()] == ["delivery_unknown"]
    assert (len(sends(cloud)), cloud.delivered()) == (1, [])
