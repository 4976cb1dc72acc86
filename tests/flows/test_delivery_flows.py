"""The way of one message, whole: store, broker, worker threads, real client, sandbox gateway.

The measure is the gateway's own log: what the phone would have received.
"""

import threading
from typing import Any

import pytest
from contracts.store_world import first
from flow_world import GROUP, PHONE, TEXTS, working
from waiting import stays, until

import actors
from actors import services
from actors.domain import AttemptState, MessageStatus
from actors.services import Services
from actors.stores.rows import AttachmentRow

pytestmark = pytest.mark.redis


def test_a_text_is_delivered_once_and_its_row_is_sent(world):
    world.say("m1", "olá")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert world.delivered() == ["olá"]
    assert world.store.message("m1").message_id == world.sandbox.admin.deliveries()[0]["key_id"]


def test_messages_of_a_conversation_arrive_in_order_through_failures(world):
    world.sandbox.admin.add_fault({"type": "status", "preset": "nginx_503"}, match=TEXTS, trigger={"every": 3})
    names = [world.say(f"m{number}", f"text {number}") for number in range(12)]
    for name in names:
        actors.send_message.send(name)
    with working(threads=8):
        until(lambda: all(world.status(name) == MessageStatus.SENT for name in names), within_ms=10_000)

    assert world.delivered() == [f"text {number}" for number in range(12)]


def test_a_message_whose_send_was_lost_goes_out_before_a_younger_one(world):
    """Redis was down after the first commit, or emptied: the rows say who comes first."""
    now_ms = world.clock.now_ms()
    for number in range(3):
        world.say(f"m{number}", f"text {number}", created_at_ms=now_ms + number)
    actors.send_message.send("m2")
    with working():
        until(lambda: world.status("m2") == MessageStatus.SENT, within_ms=10_000)

    assert world.delivered() == ["text 0", "text 1", "text 2"]


def pictures(world: Any, id_: str, *, count: int) -> None:
    world.say(id_, "caption")
    world.store.add(
        *(
            AttachmentRow(
                message_id=id_,
                mime_type="image/png",
                original_filename=f"{number}.png",
                short_url=f"https://cdn.example.com/{number}.png",
                created_at_ms=number,
            )
            for number in range(count)
        )
    )


def test_attachments_go_out_one_by_one_and_none_twice_when_one_fails(world):
    pictures(world, "m1", count=3)
    world.sandbox.admin.add_fault(
        {"type": "status", "preset": "nginx_503"}, match={"op": ["sendMedia"]}, trigger={"nth": [2]}
    )
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    urls = [delivery["media"]["url"] for delivery in world.sandbox.admin.deliveries()]
    assert urls == [f"https://cdn.example.com/{number}.png" for number in range(3)]


def test_every_part_has_attempts_of_its_own(world, change):
    """Ten attachments that each meet one bad moment are no message that failed ten times."""
    change(max_attempts=2)
    pictures(world, "m1", count=4)
    world.sandbox.admin.add_fault(
        {"type": "status", "preset": "nginx_503"}, match={"op": ["sendMedia"]}, trigger={"nth": [1, 3, 5, 7]}
    )
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") != MessageStatus.PENDING, within_ms=5_000)

    assert world.status("m1") == MessageStatus.SENT, world.store.message("m1").error_message
    assert len(world.sandbox.admin.deliveries()) == 4


def test_an_unknown_end_is_looked_for_even_after_the_last_attempt(world, change):
    """The last of the attempts is the one that went out: "look at the phone" is for what the gateway cannot tell."""
    change(max_attempts=2)
    world.say("m1")
    world.sandbox.admin.add_fault({"type": "status", "preset": "nginx_503"}, match=TEXTS, trigger={"nth": [1]})
    world.sandbox.admin.add_fault({"type": "drop", "when": "after_accept"}, match=TEXTS, trigger={"nth": [1]})
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") != MessageStatus.PENDING, within_ms=5_000)

    assert world.status("m1") == MessageStatus.SENT, world.store.message("m1").error_message
    assert world.delivered() == ["oi"]


def test_a_voice_note_keeps_its_text(world):
    """Evolution's voice endpoint has no caption: the text follows as a message of its own."""
    world.say("m1", "listen")
    world.store.add(
        AttachmentRow(
            message_id="m1",
            mime_type="audio/ogg",
            original_filename="a.ogg",
            short_url="https://cdn.example.com/a.ogg",
            created_at_ms=1,
        )
    )
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert [delivery["op"] for delivery in world.sandbox.admin.deliveries()] == ["sendWhatsAppAudio", "sendText"]


@pytest.mark.parametrize("when", ["before_accept", "after_accept"])
def test_a_cut_connection_never_doubles_or_loses_a_message(world, when):
    world.sandbox.admin.add_fault({"type": "drop", "when": when}, match=TEXTS, trigger={"nth": [1]})
    world.say("m1")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=10_000)

    assert world.delivered() == ["oi"]


def test_a_send_interrupted_by_a_crash_is_looked_for_and_not_repeated(world):
    """The worker died after the gateway accepted and before the row was written: the attempt is left in ``sending``."""
    world.say("m1")
    work = services.get()
    work.store.claim(first("m1", now_ms=world.clock.now_ms(), instance="i1"))
    instance = work.store.load_instance("i1", tenant_id="t")
    _send_as_the_dead_worker_did(work, instance)
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=10_000)

    assert world.delivered() == ["oi"]


def _send_as_the_dead_worker_did(work: Services, instance: Any) -> None:
    from actors.parts import outgoing_parts

    chat_message = work.store.load_message("m1")
    part = outgoing_parts(chat_message, chat_message.recipient())[0]
    work.gateway(instance).send(part, instance=instance, timeout_s=5)


def test_a_disconnected_instance_uses_no_attempt_and_sends_when_it_is_back(world, change):
    change(max_attempts=1)
    world.sandbox.admin.put_instance("i1", state="close", token=world.sandbox.apikey)
    world.say("m1")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.sandbox.admin.counters()["rejected"] >= 1, within_ms=5_000)
        assert world.status("m1") == MessageStatus.PENDING
        world.sandbox.admin.put_instance("i1", state="open", token=world.sandbox.apikey)
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=30_000)

    assert world.delivered() == ["oi"]


def test_a_second_send_of_a_waiting_message_returns_the_first(world):
    world.say("m1")
    first, second = actors.send_message.send("m1"), actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert first.message_id == second.message_id
    assert world.delivered() == ["oi"]


def test_no_number_and_no_text_lies_in_redis(world, queue_client):
    world.say("m1", "secret words")
    actors.send_message.send("m1")
    actors.fetch_profile_pic.send("c1", PHONE)
    actors.fetch_group_info.send("g1", GROUP, "i1")

    dump = b"".join(queue_client.dump(key) for key in queue_client.keys("*"))
    for planted in (b"secret", PHONE[1:].encode(), GROUP[:10].encode()):
        assert planted not in dump


def test_a_picture_is_stored_and_never_cleared(world):
    world.sandbox.admin.put_contact(
        f"{PHONE[1:]}@s.whatsapp.net", exists=True, picture_url="https://pps.whatsapp.net/p.jpg"
    )
    with working():
        actors.fetch_profile_pic.send("c1")
        until(lambda: world.store.conversation("c1").profile_pic_url, within_ms=5_000)
        world.sandbox.admin.put_contact(f"{PHONE[1:]}@s.whatsapp.net", exists=True, picture_url=None)
        actors.fetch_profile_pic.send("c1")
        until(lambda: actors.broker.do_qsize("fetch_profile_pic") == 0, within_ms=5_000)

    assert world.store.conversation("c1").profile_pic_url == "https://pps.whatsapp.net/p.jpg"
    assert {request["method"] for request in world.sandbox.requests()} == {"POST"}


def test_group_info_is_merged_and_participants_stay(world):
    world.sandbox.admin.put_group(GROUP, subject="Turma", participants=[{"id": "1@lid", "admin": None}])
    with working():
        actors.fetch_group_info.send("g1")
        until(lambda: world.store.conversation("g1").contact_name == "Turma", within_ms=5_000)

    metadata = world.store.conversation("g1").group_metadata
    assert (metadata["participants"], metadata["group_id"]) == (["kept"], GROUP)


def test_a_worker_that_was_robbed_of_its_lease_does_not_send(world, change):
    """Two runs of one message, the first frozen before its claim: one delivery."""
    world.say("m1")
    barrier = threading.Barrier(2)
    results: list[BaseException | None] = []

    def run() -> None:
        barrier.wait(5)
        try:
            actors.send_message.fn("m1")
            results.append(None)
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert world.delivered() == ["oi"]
    assert None in results
    stays(lambda: world.delivered() == ["oi"], for_ms=200)


def test_attempts_tell_what_happened(world):
    world.say("m1")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    [attempt] = world.store.attempts("m1")
    assert (attempt.state, attempt.number, attempt.instance_name) == (AttemptState.ACCEPTED, 1, "i1")


def test_a_fetch_is_asked_for_once_at_a_time_unless_somebody_insists(world):
    first, second = actors.fetch_profile_pic.send("c1"), actors.fetch_profile_pic.send("c1")
    third = actors.fetch_profile_pic.send("c1", force=True)

    assert first.message_id == second.message_id != third.message_id
