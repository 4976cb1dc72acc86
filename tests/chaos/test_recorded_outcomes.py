"""The phone has the message, and what should say so breaks: the row must not end as failed."""

import pytest
from waiting import until

import actors
from actors import chat
from actors.domain import AttemptState, MessageStatus
from actors.errors import Transient

pytestmark = pytest.mark.redis


class _Down:
    """A store whose ``mark_sent`` fails until it is up again."""

    def __init__(self, store):
        self.store, self.mark_sent = store, store.mark_sent
        store.mark_sent = self._refuse

    def _refuse(self, *_, **__):
        raise Transient("the store could not be used", code="store_unavailable")

    def up(self):
        self.store.mark_sent = self.mark_sent


def test_a_message_that_went_out_is_sent_though_its_instance_was_removed_before_the_row_said_so(world):
    world.say("m1")
    store = _Down(world.store)
    with pytest.raises(Transient):
        chat.send_message.fn("m1")
    store.up()
    world.store._instances.clear()

    chat.send_message.fn("m1")

    assert world.status("m1") == MessageStatus.SENT
    assert world.delivered() == ["oi"]


def test_a_message_given_up_after_it_went_out_ends_as_sent(world, change):
    """The store took no ``sent`` until the attempts were used up; "failed" would have a person send it again."""
    change(max_attempts=1)
    world.say("m1")
    store = _Down(world.store)
    actors.send_message.send("m1")
    with world.working():
        letter = until(world.letters, within_ms=5_000)[0]
    assert world.status("m1") == MessageStatus.PENDING
    store.up()

    chat.record_death(letter)

    assert world.status("m1") == MessageStatus.SENT
    assert world.store.attempts("m1")[0].state is AttemptState.ACCEPTED
    assert world.delivered() == ["oi"]
