"""How the sandbox sends a webhook: again when refused, twice and late when asked, signed, never in the way."""

import pytest
from sandbox_fixture import sandbox
from waiting import until
from webhook_receiver import Receiver, receiver, send, texts

from actors.gateways.sandbox.server import SandboxServer
from actors.gateways.sandbox.webhook_sender import Event, Retry

__all__ = ["receiver", "sandbox"]


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
