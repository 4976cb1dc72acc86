"""A message leaves through the instance that was named when it was sent, also when its conversation moved meanwhile."""

from dataclasses import replace

import pytest
from flow_world import World, working
from waiting import until

import actors
from actors.chat import prepare_redrive
from actors.domain import MessageStatus
from actors.stores.rows import ConversationRow, InstanceRow
from middleware.letters import DeadLetters

pytestmark = pytest.mark.redis


@pytest.fixture
def two(world: World) -> World:
    """A second number of the same tenant."""
    world.sandbox.admin.put_instance("i2")
    world.store.add(
        InstanceRow(instance_name="i2", tenant_id="t", api_key=world.sandbox.apikey, api_url=world.sandbox.url)
    )
    return world


def move(world: World, instance_name: str) -> None:
    world.store.add(replace(world.store.conversation("c1"), instance_name=instance_name))


def left_through(world: World) -> list[str]:
    return [one["instance"] for one in world.sandbox.admin.deliveries()]


@pytest.mark.parametrize("bulk", [False, True])
def test_who_moves_a_conversation_moves_what_is_sent_from_then_on(two, bulk):
    """The person on the other side knows the number that the message was written for."""
    two.say("m1")
    actors.send_message.send("m1", bulk=bulk)
    move(two, "i2")
    two.say("m2")
    actors.send_message.send("m2", bulk=bulk)
    with working():
        until(lambda: two.status("m1") == two.status("m2") == MessageStatus.SENT, within_ms=5_000)

    assert left_through(two) == ["i1", "i2"]


def test_an_instance_that_is_gone_by_then_is_replaced_by_no_other(two):
    two.say("m1")
    actors.send_message.send("m1")
    move(two, "i2")
    two.store._instances[0] = replace(two.store._instances[0], is_active=False)
    with working():
        until(lambda: two.status("m1") == MessageStatus.FAILED, within_ms=5_000)
        [letter] = two.letters()
        assert (letter.reason, left_through(two)) == ("no_instance", [])

        # A person has looked: what its row says now is meant.
        prepare_redrive(letter)
        assert DeadLetters(actors.broker).redrive(letter) == "redriven"
        until(lambda: two.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert left_through(two) == ["i2"]


def test_where_none_was_named_the_row_says_it(two):
    two.store._instances[1] = replace(two.store._instances[1], is_active=False)
    two.store.add(ConversationRow(id="c9", contact_phone="+5511977776666", tenant_id="t"))
    two.say("m1", conversation="c9")
    actors.send_message.send("m1")
    with working():
        until(lambda: two.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert left_through(two) == ["i1"]
