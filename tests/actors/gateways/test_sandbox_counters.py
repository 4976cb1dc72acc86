"""What the sandbox counts and limits, how long one waits for a message, and what a reset forgets."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sandbox_fixture import sandbox
from sandbox_texts import DIGITS, outcome, send, web
from waiting import until

__all__ = ["sandbox", "web"]


def test_duplicates_order_and_concurrency_are_counted(web, sandbox):
    for ref, seq in (("a", "1"), ("b", "3"), ("b", "3"), ("c", "2"), ("d", "3")):
        send(web, ref, ref=ref, **{"X-Client-Seq": seq})
    sandbox.admin.put_instance("i2")
    send(web, "a", ref="a", instance="i2")

    counters = sandbox.admin.counters()

    assert counters["accepted"] == 6
    assert counters["duplicates_by_client_ref"] == 2
    assert counters["duplicates_by_fingerprint"] == 1
    assert counters["order_violations"] == 1
    assert counters["wrong_instance"] == 1
    assert counters["by_status"] == {"201": 6}
    assert counters["max_concurrency_per_instance"] == 1


def test_sends_at_once_are_counted_until_their_client_gives_up(sandbox):
    sandbox.admin.add_fault({"type": "latency", "ms": 60_000, "when": "after_accept"})

    def one(timeout_s):
        with httpx.Client(headers={"apikey": sandbox.apikey}, timeout=timeout_s, trust_env=False) as client:
            return outcome(client)

    def outcome(client):
        try:
            return client.post(f"{sandbox.url}/message/sendText/i1", json={"number": DIGITS, "text": "x"}).status_code
        except httpx.TransportError:
            return "gone"

    assert [one(0.2), one(0.2)] == ["gone", "gone"]
    until(lambda: len(sandbox.admin.requests()) == 2, within_ms=5_000)
    assert sandbox.admin.counters()["max_concurrency_per_chat"] <= 1
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(one, 30) for _ in range(3)]
        until(lambda: sandbox.admin.counters()["max_concurrency_per_chat"] == 3, within_ms=10_000)
        sandbox.server.close()

    assert {future.result() for future in asked} <= {"gone", 201}


@pytest.mark.parametrize(("mode", "statuses"), [("429", [201, 201, 429]), ("record", [201, 201, 201])])
def test_a_limit_answers_or_only_counts(web, sandbox, mode, statuses):
    sandbox.admin.put_limits(instance={"rate": 0.1, "burst": 2}, mode=mode)

    assert [outcome(web) for _ in range(3)] == statuses
    assert sandbox.admin.counters()["rate_violations"] == 1
    sandbox.admin.advance(10)
    assert outcome(web) == 201


def test_a_limit_per_pair_leaves_other_chats_alone(web, sandbox):
    sandbox.admin.put_limits(pair={"rate": 0.1, "burst": 1}, mode="429")

    assert [outcome(web), outcome(web), outcome(web, number="5511900000000")] == [201, 429, 201]


def test_waiting_ends_with_the_message_or_with_the_time(web, sandbox):
    assert not sandbox.admin.wait(1, timeout_s=0.05)
    sender = threading.Thread(target=lambda: send(web))
    sender.start()

    assert sandbox.admin.wait(1, timeout_s=5)
    sender.join()


def test_a_reset_forgets_everything_but_the_fixtures(web, sandbox):
    sandbox.admin.add_fault({"type": "latency", "ms": 1})
    first = send(web, ref="a").json()["key"]["id"]

    sandbox.admin.reset()

    assert (sandbox.admin.deliveries(), sandbox.admin.faults()) == ([], [])
    assert sandbox.admin.counters()["accepted"] == 0
    # Ids never repeat: a database that saw the first run has a unique index on them.
    assert send(web, ref="a").json()["key"]["id"] != first
    assert sandbox.admin.counters()["duplicates_by_client_ref"] == 0
