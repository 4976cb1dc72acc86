"""Redis did what it was told and the answer was lost: nothing is lost, doubled or counted for it."""

from dataclasses import replace

import pytest
from lossy_redis import LossyRedis
from waiting import until

import actors
from actors import services
from actors.domain import MessageStatus
from actors.services import Services
from actors.settings import Hidden
from middleware.letters import DeadLetters

pytestmark = pytest.mark.redis


@pytest.fixture
def lossy(world, redis_server, queue_client):
    """The broker of ``world`` reaches its Redis through a proxy that loses replies."""
    with LossyRedis(redis_server.port, queue_client) as proxy:
        url = redis_server.url(0).replace(f":{redis_server.port}/", f":{proxy.port}/")
        settings = replace(services.settings(), redis_url=Hidden(url))
        actors.broker.close()
        services.install(Services(settings=settings, store=world.store))
        yield proxy


@pytest.mark.parametrize("script", ["enqueue", "fetch", "disown", "finish", "renew", "tend"])
def test_a_lost_reply_costs_nothing(world, lossy, script):
    lossy.lose(script)
    if script == "disown":
        lossy.lose("fetch")
    if script == "renew":
        # Longer than a third of the lease.
        world.sandbox.admin.add_fault(
            {"type": "latency", "ms": 1_500}, match={"op": ["sendText"]}, trigger={"nth": [1]}
        )
    names = [world.say(f"m{number}", f"text {number}", created_at_ms=number + 10**12) for number in range(3)]
    services.install(Services(settings=replace(services.settings(), send_deadline_s=10**9), store=world.store))
    for name in names:
        actors.send_message.send(name)
    with world.working():
        until(lambda: all(world.status(name) == MessageStatus.SENT for name in names), within_ms=10_000)
        until(lambda: lossy.lost == (2 if script == "disown" else 1), within_ms=5_000)

    assert world.delivered() == ["text 0", "text 1", "text 2"]
    assert world.letters() == []


def test_a_message_that_was_never_started_is_no_crash_loop(world, lossy):
    """The replies of eight fetches were lost: each lease was counted as a crash, and the sixth buried it unsent."""
    world.say("m1")
    actors.send_message.send("m1")
    # Of both kinds: what comes with a wait may be the one that gets through.
    for script in ("fetch", "fetch_first"):
        lossy.lose(script, times=8)
    with world.working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=30_000)

    assert lossy.lost >= 8
    assert (world.delivered(), world.letters()) == (["oi"], [])
    assert actors.broker.transitions.stats(["send_message"])[0].counters.get("reclaimed", 0) == 0


def test_a_dead_letter_whose_announcement_was_lost_is_announced_again(world, lossy):
    lossy.lose("announced")
    world.say("m1", " ")
    actors.send_message.send("m1")
    with world.working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)
        until(lambda: lossy.lost == 1, within_ms=5_000)

    assert [letter.reason for letter in world.letters()] == ["empty_message"]
    assert DeadLetters(actors.broker).redrive(world.letters()[0]) == "redriven"
