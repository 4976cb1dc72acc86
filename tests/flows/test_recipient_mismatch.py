"""The gateway says that a message went to somebody else: its conversation stands still until a person has looked."""

import logging
from typing import Any

import pytest
from contracts.store_world import first
from flow_world import PHONE, World, working
from waiting import stays, until

import actors
from actors import services
from actors.chat import prepare_redrive
from actors.domain import AttemptState, MessageStatus, Receipt
from actors.stores.rows import AttachmentRow, ConversationRow
from middleware.letters import DeadLetters

pytestmark = pytest.mark.redis

SOMEBODY = "5511900000000@s.whatsapp.net"


@pytest.fixture
def astray(world: World) -> World:
    """The first message of conversation c1 goes astray; two wait behind it, one belongs to another conversation."""
    world.store.add(ConversationRow(id="c2", contact_phone="+5511977776666", tenant_id="t", instance_name="i1"))
    world.sandbox.admin.add_fault({"type": "wrong_jid", "jid": SOMEBODY}, match={"ref_re": "^m1:0$"})
    now_ms = world.clock.now_ms()
    for number, conversation in ((1, "c1"), (2, "c1"), (3, "c1"), (4, "c2")):
        world.say(f"m{number}", f"text {number}", conversation=conversation, created_at_ms=now_ms + number)
        actors.send_message.send(f"m{number}")
    return world


def stopped(world: World) -> Any:
    """The letter that holds the conversation, once there is one and the other conversation has gone on."""
    until(
        lambda: world.status("m4") == MessageStatus.SENT and world.status("m1") == MessageStatus.SENT, within_ms=5_000
    )
    [letter] = until(world.letters, within_ms=5_000)
    return letter


def test_what_went_astray_is_sent_with_its_id_and_nobody_follows(astray, caplog):
    with working():
        letter = stopped(astray)
        stays(lambda: astray.status("m2") == MessageStatus.PENDING, for_ms=300)

    assert (letter.reason, letter.lane) == ("recipient_mismatch", "c1")
    assert sorted(astray.delivered()) == ["text 1", "text 4"]
    [attempt] = astray.store.attempts("m1")
    assert (attempt.state, attempt.reason) == (AttemptState.ACCEPTED, "recipient_mismatch")
    assert astray.store.message("m1").message_id == attempt.provider_message_id
    assert ("message.recipient_mismatch", logging.ERROR) in [(one.message, one.levelno) for one in caplog.records]
    shown = f"{letter} {caplog.text}"
    assert not [number for number in (SOMEBODY, SOMEBODY[:13], PHONE[1:]) if number in shown]


def test_redriven_it_is_not_sent_again_and_the_conversation_goes_on_in_order(astray):
    with working():
        letter = stopped(astray)
        assert DeadLetters(actors.broker).redrive(letter, prepare=lambda: prepare_redrive(letter)) == "redriven"
        until(lambda: astray.status("m3") == MessageStatus.SENT, within_ms=5_000)

    assert sorted(astray.delivered()) == ["text 1", "text 2", "text 3", "text 4"]
    assert [text for text in astray.delivered() if text != "text 4"] == ["text 1", "text 2", "text 3"]
    assert astray.letters() == []


def test_discarded_it_lets_the_conversation_go_on(astray):
    with working():
        letter = stopped(astray)
        DeadLetters(actors.broker).discard([letter])
        until(lambda: astray.status("m3") == MessageStatus.SENT, within_ms=5_000)

    assert [text for text in astray.delivered() if text != "text 4"] == ["text 1", "text 2", "text 3"]
    assert astray.status("m1") == MessageStatus.SENT


def test_a_run_that_died_before_it_could_stop_the_conversation_is_followed_by_one_that_does(world):
    world.say("m1")
    store = services.get().store
    attempt = store.claim(first("m1", now_ms=world.clock.now_ms(), instance="i1"))
    receipt = Receipt(provider_message_id="3EB0AA", recipient_jid=SOMEBODY, mismatch=True)
    store.settle(attempt, AttemptState.ACCEPTED, receipt=receipt, reason="recipient_mismatch")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)
        [letter] = world.letters()

    assert letter.reason == "recipient_mismatch"
    assert world.store.message("m1").message_id == "3EB0AA"
    assert world.sandbox.requests() == []


def test_the_other_parts_of_a_message_that_went_astray_wait_for_a_person(world):
    world.say("m1", "caption")
    for number in range(2):
        name = f"{number}.png"
        url = f"https://cdn.example.com/{name}"
        world.store.add(
            AttachmentRow(
                message_id="m1", mime_type="image/png", original_filename=name, short_url=url, created_at_ms=number
            )
        )
    world.sandbox.admin.add_fault({"type": "wrong_jid", "jid": SOMEBODY}, match={"ref_re": "^m1:0$"})
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)
        [letter] = world.letters()
        assert len(world.sandbox.admin.deliveries()) == 1
        assert "recipient_mismatch" in world.store.message("m1").error_message
        DeadLetters(actors.broker).redrive(letter, prepare=lambda: prepare_redrive(letter))
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert [one["client_ref"] for one in world.sandbox.admin.deliveries()] == ["m1:0", "m1:1"]
