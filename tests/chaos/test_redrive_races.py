"""An operator redrives a letter while a worker is telling of it."""

import threading

import pytest
from waiting import stays, until

import actors
from actors.chat import prepare_redrive
from actors.domain import MessageStatus
from middleware.letters import DeadLetters

pytestmark = pytest.mark.redis


def test_a_redrive_during_the_announcement_is_delivered(world, monkeypatch):
    """The row would fail after it was made pending: the job would find it ended, and the letter would be gone."""
    telling, go_on = threading.Event(), threading.Event()
    mark_failed = world.store.mark_failed

    def slow_mark_failed(*args, **kwargs):
        telling.set()
        assert go_on.wait(10)
        return mark_failed(*args, **kwargs)

    monkeypatch.setattr(world.store, "mark_failed", slow_mark_failed)
    world.say("m1", created_at_ms=1)
    actors.send_message.send("m1")
    with world.working():
        assert telling.wait(5)
        letter = DeadLetters(actors.broker).newest()[0]
        states: list[str] = []
        operator = threading.Thread(
            target=lambda: states.append(
                DeadLetters(actors.broker).redrive(letter, prepare=lambda: prepare_redrive(letter))
            )
        )
        operator.start()
        stays(lambda: states == [] and world.status("m1") == MessageStatus.PENDING, for_ms=300)
        go_on.set()
        operator.join(10)
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert (states, world.delivered()) == (["redriven"], ["oi"])
