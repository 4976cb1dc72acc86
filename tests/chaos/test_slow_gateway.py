"""The gateway is slow and somebody looks too early: what is still on its way is not sent a second time."""

from typing import Any

import pytest
from contracts.store_world import first
from waiting import until

import actors
from actors import chat, services
from actors.domain import AttemptState, MessageStatus
from middleware.errors import Snooze

pytestmark = pytest.mark.redis

TEXTS: dict[str, Any] = {"op": ["sendText"]}


def test_redis_forgets_a_send_that_the_gateway_has_not_taken_yet(world, change, queue_client):
    """Its own worker still waits for the answer while a second job of the same message looks for it in vain, twice.

    Times in graces (20 s): looked for after one and two, taken after 2.75, sent again not before three, when a request for
    a text has ended.
    """
    change(lease_ms=15_000, reconcile_grace_s=1.0)
    world.sandbox.admin.add_fault(
        {"type": "latency", "ms": 2_750, "when": "before_accept"}, match=TEXTS, trigger={"nth": [1]}
    )
    world.say("a", "one", created_at_ms=services.get().clock.now_ms() - 1)
    world.say("b", "two")
    actors.send_message.send("a")
    with world.working():
        until(lambda: world.store.attempts("a"), within_ms=5_000)
        queue_client.flushall()
        actors.send_message.send("b")
        until(lambda: world.status("b") == MessageStatus.SENT, within_ms=15_000)

    assert world.delivered() == ["one", "two"]
    assert world.store.attempts("a")[0].looks == 2


def test_the_second_look_is_taken_one_grace_after_the_first_however_late_that_was(world):
    """Both at once were one: what reached the phone between a late first look and the next grace was sent again."""
    work = services.get()
    now_ms = work.clock.now_ms()
    world.say("a", "one")
    attempt = world.store.claim(first("a", now_ms=now_ms - 60_000, instance="i1"))
    world.store.settle(attempt, AttemptState.UNKNOWN, reason="timeout")

    with pytest.raises(Snooze) as put_back:
        chat.send_message.fn("a")

    assert put_back.value.delay_ms == work.settings.reconcile_grace_s * 1000
    assert (world.store.attempts("a")[0].looks, world.delivered()) == (1, [])
    chat.send_message.fn("a")
    assert world.delivered() == ["one"]
