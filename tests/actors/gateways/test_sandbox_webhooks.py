"""The sandbox's webhooks: which events are told, in which envelope, when a session or a message changes."""

import httpx
from sandbox_fixture import sandbox
from waiting import until
from webhook_receiver import NUMBER, receiver, send

__all__ = ["receiver", "sandbox"]


def test_a_sent_message_is_told_in_the_envelope_of_evolution(sandbox, receiver):
    sandbox.admin.put_instance("i1", token="token-1", owner_jid="5511900000000@s.whatsapp.net")
    sandbox.admin.put_webhook(receiver.url, headers={"X-Mine": "yes"})

    answer = send(sandbox).json()

    assert [one["outcome"] for one in sandbox.admin.webhooks(timeout_s=5)] == ["delivered"]
    (told,) = receiver.got
    assert told.pop("date_time").endswith("Z")
    assert told == {
        "event": "send.message",
        "instance": "i1",
        "data": answer,
        "destination": receiver.url,
        "sender": "5511900000000@s.whatsapp.net",
        "server_url": sandbox.url,
        "apikey": "token-1",
    }
    assert receiver.headers[0]["x-mine"] == "yes"
    assert receiver.headers[0]["content-type"] == "application/json"


def test_only_the_events_that_were_asked_for_are_sent(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url, events=["CONNECTION_UPDATE"])

    send(sandbox)
    sandbox.admin.put_instance("i1", state="close")

    sandbox.admin.webhooks(timeout_s=5)
    assert receiver.names() == ["connection.update"]
    assert receiver.got[0]["data"] == {"instance": "i1", "state": "close", "statusReason": 428}


def test_the_name_of_the_event_may_be_in_the_url(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url, by_events=True)

    send(sandbox)

    sandbox.admin.webhooks(timeout_s=5)
    assert receiver.paths == ["/hook/send-message"]


def test_a_message_whose_database_failed_is_not_told(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url)
    sandbox.admin.add_fault({"type": "status", "preset": "prisma_after_send"})

    assert send(sandbox).status_code == 400

    assert sandbox.admin.webhooks(timeout_s=5) == []
    assert len(sandbox.admin.deliveries()) == 1


def test_acks_are_told_and_saved_when_their_time_has_come(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url, events=["messages.update"])
    sandbox.admin.add_fault({"type": "ack", "status": "SERVER_ACK"})
    sandbox.admin.add_fault({"type": "ack", "status": "READ", "after_ms": 60_000})
    key = send(sandbox).json()["key"]
    question = {"where": {"id": key["id"]}}

    def statuses() -> list[str]:
        url = f"{sandbox.url}/chat/findStatusMessage/i1"
        found = httpx.post(url, headers={"apikey": sandbox.apikey}, json=question, trust_env=False).json()
        return [one["status"] for one in found]

    until(lambda: len(receiver.got) == 1, within_ms=5_000)
    assert statuses() == ["SERVER_ACK"]
    sandbox.admin.advance(60)

    until(lambda: len(receiver.got) == 2, within_ms=5_000)
    assert statuses() == ["SERVER_ACK", "READ"]
    told = receiver.got[1]["data"]
    assert (told["keyId"], told["status"], told["fromMe"]) == (key["id"], "READ", True)
    # The database's id, which is not the phone's.
    assert told["messageId"] != key["id"]


def test_an_ack_of_a_message_that_is_not_saved_is_skipped(sandbox, receiver):
    sandbox.admin.put_instance("i1", save_messages=False)
    sandbox.admin.put_webhook(receiver.url)
    sandbox.admin.add_fault({"type": "ack", "status": "SERVER_ACK"})

    send(sandbox)

    sandbox.admin.webhooks(timeout_s=5)
    assert receiver.names() == ["send.message"]


def test_a_session_that_closes_for_a_while_is_told_twice(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url)
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "for_s": 30})

    until(lambda: len(receiver.got) == 1, within_ms=5_000)
    sandbox.admin.advance(30)

    until(lambda: len(receiver.got) == 2, within_ms=5_000)
    assert [one["data"]["state"] for one in receiver.got] == ["close", "open"]


def test_a_session_that_is_opened_early_is_told_once(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url)
    rule = sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "for_s": 30})
    sandbox.admin.clear_faults(rule)
    sandbox.admin.advance(60)

    sandbox.admin.webhooks(timeout_s=5)
    assert [one["data"]["state"] for one in receiver.got] == ["close", "open"]


def test_a_session_that_lies_tells_nothing(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url)
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "for_s": 1, "lie": True})
    sandbox.admin.advance(2)

    assert sandbox.admin.webhooks(timeout_s=5) == []


def test_a_session_that_is_logged_out_is_told_for_good(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url)
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "reason": 401})

    sandbox.admin.webhooks(timeout_s=5)
    assert receiver.names() == ["status.instance", "connection.update"]
    assert receiver.got[0]["data"] == {"instance": "i1", "status": "closed", "disconnectionReasonCode": 401}
    assert receiver.got[1]["data"]["statusReason"] == 401


def test_an_edit_is_told(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url, events=["send.message.update"])
    key = send(sandbox).json()["key"]
    body = {"number": NUMBER, "text": "olá", "key": key}

    httpx.post(f"{sandbox.url}/chat/updateMessage/i1", headers={"apikey": sandbox.apikey}, json=body, trust_env=False)

    sandbox.admin.webhooks(timeout_s=5)
    assert receiver.got[0]["data"]["editedMessage"] == {"conversation": "olá"}


def test_a_reset_forgets_the_webhook_and_what_waits(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url)
    sandbox.admin.add_fault({"type": "ack", "status": "READ", "after_ms": 60_000})
    send(sandbox)
    sandbox.admin.webhooks(timeout_s=5)

    sandbox.admin.reset()
    sandbox.admin.advance(120)
    send(sandbox)

    assert sandbox.admin.webhooks(timeout_s=5) == []
    assert len(receiver.got) == 1
