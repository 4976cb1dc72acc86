"""The sandbox's webhooks: which events, in which envelope, again when refused, twice and late when asked, never in the way."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from sandbox_fixture import Sandbox, sandbox
from waiting import until

from actors.gateways.sandbox.server import SandboxServer
from actors.gateways.sandbox.webhook_sender import Event, Retry

__all__ = ["sandbox"]

NUMBER = "5511988887777"


class Receiver:
    """An endpoint that keeps what it gets and answers what it is told; it may hold answers back."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.gate.wait(10)
                receiver.got.append(json.loads(body))
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                receiver.paths.append(self.path)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def names(self) -> list[str]:
        return [one["event"] for one in self.got]

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def send(sandbox: Sandbox, text: str = "oi") -> httpx.Response:
    return httpx.post(
        f"{sandbox.url}/message/sendText/i1",
        headers={"apikey": sandbox.apikey},
        json={"number": NUMBER, "text": text},
        timeout=5,
        trust_env=False,
    )


def texts(receiver: Receiver) -> list[str]:
    return [one["data"]["message"]["conversation"] for one in receiver.got]


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


def test_an_event_that_is_refused_is_sent_again_until_it_is_taken(sandbox, receiver):
    receiver.statuses = [500, 503, 200]
    sandbox.admin.put_webhook(receiver.url, retry={"first_s": 0.01, "cap_s": 0.01})

    send(sandbox)

    until(lambda: len(receiver.got) == 3, within_ms=5_000)
    until(lambda: [one["outcome"] for one in sandbox.admin.webhooks()] == ["delivered"], within_ms=5_000)
    assert sandbox.admin.webhooks()[0]["attempts"] == [500, 503, 200]
    assert receiver.got[0] == receiver.got[2]


def test_retries_are_bounded(sandbox, receiver):
    receiver.statuses = [500] * 9
    sandbox.admin.put_webhook(receiver.url, retry={"max_attempts": 3, "first_s": 0.01, "cap_s": 0.01})

    send(sandbox)

    until(lambda: [one["outcome"] for one in sandbox.admin.webhooks()] == ["given_up"], within_ms=5_000)
    assert len(receiver.got) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_some_refusals_are_final(sandbox, receiver, status):
    receiver.statuses = [status]
    sandbox.admin.put_webhook(receiver.url, retry={"first_s": 0.01, "cap_s": 0.01})

    send(sandbox)

    until(lambda: [one["outcome"] for one in sandbox.admin.webhooks(timeout_s=5)] == ["given_up"], within_ms=5_000)
    assert len(receiver.got) == 1


def test_an_endpoint_that_is_not_there_is_tried_again(sandbox, receiver):
    receiver.close()
    sandbox.admin.put_webhook(receiver.url, retry={"max_attempts": 2, "first_s": 0.01, "cap_s": 0.01})

    assert send(sandbox).status_code == 201

    until(lambda: [one["outcome"] for one in sandbox.admin.webhooks()] == ["given_up"], within_ms=5_000)
    assert sandbox.admin.webhooks()[0]["attempts"] == ["ConnectError", "ConnectError"]


def test_an_endpoint_that_hangs_holds_up_no_answer(sandbox, receiver):
    receiver.gate.clear()
    sandbox.admin.put_webhook(receiver.url)

    assert [send(sandbox, str(n)).status_code for n in range(5)] == [201] * 5
    assert receiver.got == []

    receiver.gate.set()
    sandbox.admin.webhooks(timeout_s=5)
    assert texts(receiver) == ["0", "1", "2", "3", "4"]


def test_every_event_may_come_twice(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url, duplicate=1)

    send(sandbox)

    sandbox.admin.webhooks(timeout_s=5)
    assert len(receiver.got) == 2
    assert receiver.got[0]["data"] == receiver.got[1]["data"]


def test_an_event_may_come_after_the_next_one(sandbox, receiver, monkeypatch):
    monkeypatch.setattr("actors.gateways.sandbox.webhooks.OVERTAKE_MS", 60_000)
    sandbox.admin.put_webhook(receiver.url, reorder=1)
    send(sandbox, "a")
    sandbox.admin.put_webhook(receiver.url)
    send(sandbox, "b")

    until(lambda: len(receiver.got) == 2, within_ms=5_000)
    assert texts(receiver) == ["b", "a"]


def test_an_event_without_a_next_one_comes_at_last(sandbox, receiver):
    sandbox.admin.put_webhook(receiver.url, reorder=1)

    send(sandbox)

    until(lambda: len(receiver.got) == 1, within_ms=5_000)


def drawn(receiver: Receiver, seed: int) -> list[str]:
    with SandboxServer(seed=seed) as server:
        server.load({"instances": {"i1": {}}, "webhook": {"url": receiver.url, "duplicate": 0.5}})
        receiver.got.clear()
        for n in range(12):
            server.state.announce("send.message", "i1", {"message": {"conversation": str(n)}})
        assert server.sender.wait_idle(5)
        return texts(receiver)


def test_the_same_seed_sends_the_same_events_twice(receiver):
    first, again, other = (drawn(receiver, seed) for seed in (3, 3, 4))

    assert first == again != other
    assert len(set(first)) == 12 < len(first) < 24


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


def test_events_may_be_signed(receiver):
    with SandboxServer() as server:
        event = Event(receiver.url, "mine", lambda: b'{"event": "mine"}', sign=lambda body: {"X-Sum": str(len(body))})
        server.sender.add(event)
        assert server.sender.wait_idle(5)

    assert receiver.headers[0]["x-sum"] == "17"


@pytest.mark.parametrize(
    ("attempt", "draw", "seconds"),
    [(1, 0.5, 5), (2, 0.5, 10), (4, 0.5, 40), (9, 0.5, 300), (3, 0.0, 16), (3, 0.999, 24)],
)
def test_the_wait_doubles_up_to_five_minutes_as_in_evolution(attempt, draw, seconds):
    assert Retry().delay_s(attempt, draw=draw) == pytest.approx(seconds, rel=0.01)
