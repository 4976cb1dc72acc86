"""Redis comes back with what it knew some time ago (an old snapshot, a replica that lagged)."""

import pytest
import redis
from waiting import until

import actors
from actors.domain import MessageStatus

pytestmark = pytest.mark.redis


def _snapshot(client: redis.Redis) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in client.keys("*")}


def _restore(client: redis.Redis, snapshot: dict[bytes, bytes]) -> None:
    # At once, as a server that starts: half a snapshot is another attack.
    with client.pipeline(transaction=True) as together:
        together.flushall()
        for key, value in snapshot.items():
            together.restore(key, 0, value)
        together.execute()


@pytest.mark.parametrize("moment", ["queued", "leased"])
def test_what_was_delivered_since_the_snapshot_is_not_delivered_again(world, queue_client, moment):
    names = [world.say(f"m{number}", f"text {number}") for number in range(4)]
    for name in names:
        actors.send_message.send(name)
    if moment == "leased":
        # Somebody who never comes back.
        actors.broker.transitions.fetch("send_message", limit=1, lease_ms=1_000, owner="gone")
    snapshot = _snapshot(queue_client)
    with world.working():
        until(lambda: all(world.status(name) == MessageStatus.SENT for name in names), within_ms=10_000)
        _restore(queue_client, snapshot)
        world.say("new", "new")
        actors.send_message.send("new")
        until(lambda: world.status("new") == MessageStatus.SENT, within_ms=10_000)
        until(lambda: actors.broker.do_qsize("send_message") == 0, within_ms=10_000)

    assert world.delivered() == [*(f"text {number}" for number in range(4)), "new"]
    assert world.letters() == []


def test_a_message_that_is_with_the_gateway_when_redis_rolls_back_is_sent_once(world, queue_client):
    world.sandbox.admin.add_fault(
        {"type": "latency", "ms": 500, "when": "after_accept"}, match={"op": ["sendText"]}, trigger={"nth": [1]}
    )
    world.say("m1")
    actors.send_message.send("m1")
    snapshot = _snapshot(queue_client)
    with world.working():
        until(lambda: world.delivered(), within_ms=5_000)
        _restore(queue_client, snapshot)
        actors.broker.machinery.ring("send_message")
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=10_000)
        until(lambda: actors.broker.do_qsize("send_message") == 0, within_ms=10_000)

    assert (world.delivered(), world.letters()) == (["oi"], [])
