"""A run died with its place among those of its instance, whatever it had recorded by then: others need not wait for minutes."""

import pytest
from contracts.store_world import first
from waiting import until

import actors
from actors import wiring
from actors.domain import AttemptState, MessageStatus, Receipt
from middleware.limits.limits import Place

pytestmark = pytest.mark.redis

RECEIPT = Receipt(provider_message_id="3EB0")


def _sent(store, attempt):
    store.record_sent(attempt, RECEIPT)


def _all_out(store, attempt):
    store.settle(attempt, AttemptState.ACCEPTED, receipt=RECEIPT)


def _unknown(store, attempt):
    store.settle(attempt, AttemptState.UNKNOWN, reason="connection_lost")


def _dead(store, attempt):
    store.settle(attempt, AttemptState.DEAD, reason="not_on_whatsapp")


def _failed(store, attempt):
    _dead(store, attempt)
    store.mark_failed(attempt.message_id, code="not_on_whatsapp", text="nobody has this number")


def _nothing(*_):
    """It died in its request."""


def _with_place(world):
    """A run of m1 has the only place of its instance and has claimed its part."""
    world.say("m1")
    actors.send_message.send("m1")
    place = Place(name="i1", limit=1, holder="m1", for_ms=185_000)
    assert wiring.traffic().limits.take(record="i1", place=place).wait_ms == 0
    return world.store.claim(first("m1", instance="i1"))


def _another_goes_out(world):
    world.say("m2")
    actors.send_message.send("m2")
    with world.working():
        until(lambda: world.status("m2") == MessageStatus.SENT, within_ms=10_000)


@pytest.mark.parametrize("recorded", [_sent, _all_out, _unknown, _dead, _failed, _nothing])
def test_the_place_of_a_run_that_died_is_given_back_by_the_next_one(world, recorded):
    recorded(world.store, _with_place(world))

    _another_goes_out(world)
