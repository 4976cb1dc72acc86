"""The phone has the message, and what should say so breaks: the row must not end as failed."""

import pytest
from contracts.store_world import first
from waiting import until

import actors
from actors import chat
from actors.domain import AttemptState, MessageStatus
from actors.endings import record_death
from actors.errors import Transient

pytestmark = pytest.mark.redis


def test_a_message_that_went_out_is_sent_though_its_instance_was_removed_before_the_row_said_so(world):
    """A webhook named it while nobody ran it."""
    world.say("m1")
    world.store.claim(first("m1", instance="i1"))
    world.store.bind("m1", 0, provider_message_id="3EB0")
    world.store._instances.clear()

    chat.send_message.fn("m1")

    assert (world.status("m1"), world.store.message("m1").message_id) == (MessageStatus.SENT, "3EB0")
    assert world.delivered() == []


def test_a_message_given_up_after_it_went_out_ends_as_sent(world, change):
    """The store took no outcome until the attempts were used up; "failed" would have a person send it again."""
    change(max_attempts=1)
    world.say("m1")

    def refuse(*_, **__):
        raise Transient("the store could not be used", code="store_unavailable")

    world.store.record_sent = refuse
    actors.send_message.send("m1")
    with world.working():
        letter = until(world.letters, within_ms=5_000)[0]
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)
    assert world.store.message("m1").error_message.startswith("delivery_unknown")
    key_id = world.sandbox.admin.deliveries()[0]["key_id"]
    world.store.bind("m1", 0, provider_message_id=key_id)

    record_death(letter)

    assert world.status("m1") == MessageStatus.SENT
    assert world.store.attempts("m1")[0].state is AttemptState.ACCEPTED
    assert world.delivered() == ["oi"]
