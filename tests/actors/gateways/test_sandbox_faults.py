"""Each fault does what it says, before or after the message is taken."""

import time

import httpx
import pytest
from sandbox_fixture import sandbox
from sandbox_texts import DIGITS, outcome, send, web
from waiting import until

from actors.gateways.sandbox.replies import PRESETS
from actors.gateways.sandbox.rules import ACTIONS

__all__ = ["sandbox", "web"]


@pytest.mark.parametrize(("when", "accepted"), [("before_accept", 0), ("after_accept", 1)])
@pytest.mark.parametrize("kind", ["drop", "hang"])
def test_a_connection_breaks_before_or_after_the_message_is_taken(web, sandbox, kind, when, accepted):
    more = {"max_s": 0.05} if kind == "hang" else {}
    sandbox.admin.add_fault({"type": kind, "when": when, **more})

    assert outcome(web) in ("ReadError", "RemoteProtocolError")
    assert len(sandbox.admin.deliveries()) == accepted
    assert [one["status"] for one in sandbox.admin.requests()] == [None]


@pytest.mark.parametrize(("when", "accepted"), [("before_accept", 0), ("after_accept", 1)])
def test_a_status_is_given_instead_of_or_after_taking_the_message(web, sandbox, when, accepted):
    sandbox.admin.add_fault({"type": "status", "status": 418, "body": {"a": 1}, "headers": {"X-A": "b"}, "when": when})

    reply = send(web)

    assert (reply.status_code, reply.json(), reply.headers["x-a"]) == (418, {"a": 1}, "b")
    assert len(sandbox.admin.deliveries()) == accepted


@pytest.mark.parametrize(
    ("preset", "status"),
    [
        ("conn_closed_500", 500),
        ("conn_closed_400", 400),
        ("object_object", 400),
        ("timed_out", 400),
        ("prisma_after_send", 400),
        ("no_sessions", 400),
        ("usync_find", 500),
        ("not_loaded", 500),
        ("bad_key", 401),
        ("no_instance", 404),
        ("nginx_502", 502),
        ("nginx_503", 503),
        ("nginx_504", 504),
        ("cf_520", 520),
        ("cf_524", 524),
        ("envoy_503_reset", 503),
        ("429", 429),
        ("graph_error_201", 201),
        ("business_no_answer", 400),
    ],
)
def test_every_preset_is_an_answer(web, sandbox, preset, status):
    sandbox.admin.add_fault({"type": "status", "preset": preset})

    reply = send(web)

    assert reply.status_code == status
    assert reply.content
    # Only the database can fail after the message went out.
    assert len(sandbox.admin.deliveries()) == (preset == "prisma_after_send")


def test_the_list_of_presets_above_is_whole():
    marks = test_every_preset_is_an_answer.pytestmark[0].args[1]

    assert {preset for preset, _ in marks} == set(PRESETS)


@pytest.mark.parametrize("value", [7, "Tue, 21 Oct 2025 12:33:20 GMT", None])
def test_too_many_requests_may_name_a_time(web, sandbox, value):
    more = {} if value is None else {"retry_after": value}
    sandbox.admin.add_fault({"type": "status", "preset": "429", **more})

    assert send(web).headers.get("retry-after") == (None if value is None else str(value))


def test_latency_holds_the_answer_back(web, sandbox):
    sandbox.admin.add_fault({"type": "latency", "ms": 120, "when": "after_accept"})
    begin_s = time.monotonic()

    assert send(web).status_code == 201
    assert time.monotonic() - begin_s >= 0.12


def test_an_answer_may_drip(web, sandbox):
    sandbox.admin.add_fault({"type": "slow_body", "bytes_per_s": 2_000})
    begin_s = time.monotonic()

    assert send(web).json()["status"] == "PENDING"
    assert time.monotonic() - begin_s >= 0.1


def test_an_answer_may_be_cut(web, sandbox):
    sandbox.admin.add_fault({"type": "truncate", "bytes": 12})

    assert outcome(web) == "RemoteProtocolError"
    assert len(sandbox.admin.deliveries()) == 1


@pytest.mark.parametrize(
    ("body", "text"), [("html", "<html><body>ok</body></html>"), ("cut", '{"key":'), ("empty", ""), ("null", "null")]
)
def test_an_answer_may_be_no_json(web, sandbox, body, text):
    sandbox.admin.add_fault({"type": "invalid_json", "status": 200, "body": body})

    reply = send(web)

    assert (reply.status_code, reply.text) == (200, text)


def test_an_answer_may_name_somebody_else_or_an_old_id(web, sandbox):
    first = send(web).json()["key"]
    sandbox.admin.add_fault({"type": "duplicate_id"})
    sandbox.admin.add_fault({"type": "wrong_jid", "jid": "1@s.whatsapp.net"})

    second = send(web, "dois").json()["key"]

    assert second == {"remoteJid": "1@s.whatsapp.net", "fromMe": True, "id": first["id"]}
    assert sandbox.admin.deliveries()[1]["jid"] == f"{DIGITS}@s.whatsapp.net"


@pytest.mark.parametrize(("lag", "later"), [({"ms": 5_000}, 1), ({"never": True}, 0)])
def test_a_message_may_be_saved_later_or_never(web, sandbox, lag, later):
    sandbox.admin.add_fault({"type": "persist_lag", **lag})
    send(web)

    def saved():
        return web.post("/chat/findMessages/i1", json={}).json()["messages"]["total"]

    assert saved() == 0
    sandbox.admin.advance(5)
    assert saved() == later


def test_connections_are_refused_for_a_while_at_the_same_port(web, sandbox):
    assert send(web).status_code == 201

    sandbox.admin.add_fault({"type": "refuse", "for_s": 0.2})

    assert outcome(web) == "ConnectError"
    until(lambda: outcome(web) == 201, within_ms=5_000)


def test_a_request_may_bring_the_server_down(web, sandbox):
    sandbox.admin.add_fault({"type": "refuse", "for_s": 0.2}, match={"text_re": "^bomba$"}, trigger={"next": 1})

    assert outcome(web, text="oi") == 201
    assert outcome(web, text="bomba") in ("ReadError", "RemoteProtocolError")
    until(lambda: outcome(web) == 201, within_ms=5_000)
    assert [one["text"] for one in sandbox.admin.deliveries()] == ["oi", "oi"]


def test_a_session_closes_for_a_while_and_for_one_instance(web, sandbox):
    sandbox.admin.put_instance("i2")
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1", "for_s": 60})

    assert [outcome(web), outcome(web, instance="i2")] == [500, 201]
    sandbox.admin.advance(60)
    assert outcome(web) == 201


def test_removing_a_disconnect_opens_the_session(web, sandbox):
    rule = sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})
    assert outcome(web) == 500

    sandbox.admin.clear_faults(rule)

    assert outcome(web) == 201


def test_a_request_may_close_the_session_that_it_uses(web, sandbox):
    sandbox.admin.add_fault({"type": "disconnect", "for_s": 60}, trigger={"nth": [2]})

    assert [outcome(web), outcome(web), outcome(web)] == [201, 400, 400]


def test_every_action_type_has_been_tried_here():
    tried = {
        "latency", "status", "drop", "hang", "slow_body", "truncate", "invalid_json", "wrong_jid", "refuse", "disconnect",
        "duplicate_id", "persist_lag", "ack",
    }  # fmt: skip

    assert tried == set(ACTIONS)


def test_a_client_that_has_gone_is_still_delivered_to(web, sandbox):
    sandbox.admin.add_fault({"type": "latency", "ms": 200})

    with pytest.raises(httpx.ReadTimeout):
        web.post("/message/sendText/i1", json={"number": DIGITS, "text": "oi"}, timeout=0.05)

    assert sandbox.admin.wait(1, timeout_s=5)
    delivery = sandbox.admin.deliveries()[0]
    assert delivery["peer_disconnected"]
