"""Whoever announces a dead letter dies between its steps."""

from dataclasses import replace

import pytest
from waiting import until

import actors
from actors import chat
from actors.domain import MessageStatus
from actors.endings import record_death
from middleware.letters import DeadLetters, read_letter
from middleware.outcomes import Dead

pytestmark = pytest.mark.redis

QUEUE = "send_message"


def _dead_and_unannounced(world):
    """A letter that a worker left when it died: nobody was told."""
    world.say("m1", " ")
    actors.send_message.send("m1")
    (fetched,) = actors.broker.do_fetch(QUEUE, 1).messages
    assert actors.broker.transitions.finish(fetched.lease, Dead("empty_message", {}), body=fetched.body)


@pytest.mark.parametrize("told", [False, True], ids=["before_it_was_told", "after_it_was_told"])
def test_a_letter_whose_announcer_died_is_announced_by_another(world, told):
    _dead_and_unannounced(world)
    (raw,) = actors.broker.transitions.announce(QUEUE, limit=1, hold_ms=300)
    if told:
        record_death(read_letter(actors.broker, raw))
    with world.working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=10_000)
        until(
            lambda: not actors.broker.client.exists(actors.broker.machinery.keys.of(QUEUE, "unannounced")),
            within_ms=10_000,
        )

    assert [letter.reason for letter in world.letters()] == ["empty_message"]


def test_a_message_whose_death_nobody_told_yet_is_not_begun_anew_by_a_second_send(world):
    _dead_and_unannounced(world)
    actors.broker.transitions.announce(QUEUE, limit=1, hold_ms=60_000)

    actors.send_message.send("m1")

    assert actors.broker.do_qsize(QUEUE) == 0


def test_a_letter_redriven_after_its_announcer_died_is_not_announced_any_more(world):
    _dead_and_unannounced(world)
    (raw,) = actors.broker.transitions.announce(QUEUE, limit=1, hold_ms=300)
    letter = read_letter(actors.broker, raw)
    record_death(letter)
    world.store.add(replace(world.store.message("m1"), content="mended"))
    chat.prepare_redrive(letter)
    assert DeadLetters(actors.broker).redrive(letter) == "redriven"
    # The dead announcer was only slow.
    actors.broker.transitions.announced(QUEUE, [letter.id])

    actors.send_message.send("m1")
    with world.working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert (world.delivered(), world.letters()) == (["mended"], [])
