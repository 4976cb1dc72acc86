"""What does not go out: its row and its letter say why, nothing is asked in vain, and a redrive sends it."""

from dataclasses import replace

import pytest
from flow_world import PHONE, TEXTS, working
from waiting import until

import actors
from actors.chat import prepare_redrive
from actors.domain import MessageStatus
from actors.settings import Hidden, OnUnknown
from actors.stores.rows import ConversationRow, InstanceRow
from actors.turns import after_redrive
from middleware.errors import PipelineError
from middleware.letters import DeadLetters

pytestmark = pytest.mark.redis


def test_a_message_that_dies_is_not_sent_again_by_the_next_of_its_conversation(world):
    """Its lane goes on before its row is failed: the next one finds it pending and must not start its life anew."""
    now_ms = world.clock.now_ms()
    world.say("m0", " ", created_at_ms=now_ms)
    names = [world.say(f"m{number}", "oi", created_at_ms=now_ms + number) for number in range(1, 6)]
    for name in ("m0", *names):
        actors.send_message.send(name)
    with working():
        until(lambda: all(world.status(name) == MessageStatus.SENT for name in names), within_ms=10_000)

    assert [letter.kwargs["message_id"] for letter in world.letters()] == ["m0"]
    assert world.status("m0") == MessageStatus.FAILED


def test_what_never_gets_an_end_is_left_to_a_person_after_its_attempts(world, change):
    change(max_attempts=2)
    world.say("m1")
    world.sandbox.admin.add_fault({"type": "drop", "when": "before_accept"}, match=TEXTS, trigger={"always": True})
    actors.send_message.send("m1")
    with working():
        letter = until(world.letters, within_ms=10_000)[0]

    assert letter.reason == "delivery_unknown"
    assert (world.store.attempts("m1")[0].number, world.delivered()) == (2, [])


def test_an_unknown_delivery_is_parked_for_a_person_when_the_host_says_so(world, change):
    change(on_unknown=OnUnknown.PARK_FOR_HUMAN)
    world.sandbox.admin.add_fault({"type": "drop", "when": "before_accept"}, match=TEXTS)
    world.say("m1")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=10_000)

    assert "delivery_unknown" in [letter.reason for letter in world.letters()]
    assert len(world.sandbox.admin.requests()) >= 1
    assert world.delivered() == []


def test_a_message_that_does_not_exist_is_a_dead_letter_and_not_retried(world):
    actors.send_message.send("ghost")
    with working():
        letter = until(lambda: world.letters(), within_ms=5_000)[0]

    assert (letter.reason, letter.attempts, letter.kwargs) == ("not_found", 1, {"message_id": "ghost"})
    assert world.sandbox.admin.requests() == []


@pytest.mark.parametrize("status", ["sent", "delivered", "seen"])
def test_a_message_already_sent_is_acknowledged_without_http(world, status):
    world.say("m1", status=status)
    actors.send_message.send("m1")
    with working():
        until(lambda: actors.broker.do_qsize("send_message") == 0, within_ms=5_000)

    assert (world.sandbox.admin.requests(), world.status("m1"), world.letters()) == ([], status, [])


@pytest.mark.parametrize(
    ("seed", "reason"),
    [
        ({"text": " "}, "empty_message"),
        ({"conversation": "bad"}, "bad_recipient"),
        ({"conversation": "lost"}, "no_instance"),
        ({"metadata": {"attachment_urls": ["https://cdn.example.com/a.png"]}}, "attachment_missing"),
        ({"created_at_ms": 1}, "expired"),
    ],
)
def test_what_can_never_be_sent_fails_its_row_with_the_reason_and_no_http(world, seed, reason):
    world.store.add(
        ConversationRow(id="bad", contact_phone="988887777", tenant_id="t", instance_name="i1"),
        ConversationRow(id="lost", contact_phone=PHONE, tenant_id="t2", instance_name="i1"),
    )
    world.say("m1", **seed)
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)

    assert [letter.reason for letter in world.letters()] == [reason]
    assert world.store.message("m1").error_message
    assert world.sandbox.admin.requests() == []


def test_a_number_without_an_account_fails_after_one_request_and_its_lane_goes_on(world):
    world.sandbox.admin.put_contact(f"{PHONE[1:]}@s.whatsapp.net", exists=False)
    world.say("m1")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)
        world.sandbox.admin.put_contact(f"{PHONE[1:]}@s.whatsapp.net", exists=True)
        world.say("m2", "next")
        actors.send_message.send("m2")
        until(lambda: world.status("m2") == MessageStatus.SENT, within_ms=5_000)

    assert world.letters()[0].reason == "not_on_whatsapp"
    assert world.delivered() == ["next"]


def test_a_redriven_letter_is_delivered_once_its_cause_is_mended(world):
    world.store.add(
        ConversationRow(id="c2", contact_phone="+5511977776666", tenant_id="t", instance_name="i2"),
        InstanceRow(instance_name="i2", tenant_id="t", api_key="revoked", api_url=world.sandbox.url),
    )
    world.sandbox.admin.put_instance("i2", state="open")
    world.say("m1", conversation="c2")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)
        letter = world.letters()[0]
        world.store._instances[-1] = replace(world.store._instances[-1], api_key=world.sandbox.apikey)
        prepare_redrive(letter)
        assert DeadLetters(actors.broker).redrive(letter) == "redriven"
        after_redrive(letter)
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert (world.delivered(), world.letters()) == (["oi"], [])


def test_a_redriven_message_has_a_deadline_of_its_own(world):
    world.say("m1", created_at_ms=1)
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)
        letter = world.letters()[0]
        assert letter.reason == "expired"
        world.store.mark_pending("m1")
        DeadLetters(actors.broker).redrive(letter)
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert world.delivered() == ["oi"]


def test_a_send_without_redis_fails_in_words_and_leaves_the_row_pending(world, change):
    change(redis_url=Hidden("redis://127.0.0.1:1/0"))
    actors.broker.close()
    world.say("m1")
    with pytest.raises(PipelineError, match="chat-actors doctor"):
        actors.send_message.send("m1")

    assert world.status("m1") == MessageStatus.PENDING
