"""Bodies that another program wrote: each is buried, and stops nobody."""

import json

import pytest
from dramatiq import Message
from waiting import until

import actors
from actors.domain import MessageStatus

pytestmark = pytest.mark.redis


@pytest.mark.parametrize(
    "wrong",
    [{"kwargs": None}, {"kwargs": [1]}, {"options": None}, {"options": []}, {"args": "x"}, {"message_timestamp": None}],
    ids=str,
)
def test_a_body_of_a_wrong_shape_takes_no_place_and_silences_no_dead_letter(world, wrong):
    fields = Message(queue_name="send_message", actor_name="send_message", args=(), kwargs={}, options={}).asdict()
    for number in range(3):
        actors.broker.transitions.enqueue("send_message", f"poison{number}", json.dumps({**fields, **wrong}).encode())
    world.say("empty", " ")
    world.say("m1")
    actors.send_message.send("empty")
    actors.send_message.send("m1")
    with world.working(threads=2):
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)
        until(lambda: world.status("empty") == MessageStatus.FAILED, within_ms=5_000)
        until(lambda: len(world.letters()) == 4, within_ms=5_000)

    assert sorted(letter.reason for letter in world.letters()) == ["empty_message", *["undecodable"] * 3]
    assert world.delivered() == ["oi"]
