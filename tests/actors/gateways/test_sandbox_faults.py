"""Each fault does what it says, strikes whom it should, and strikes the same again with the same seed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sandbox_fixture import Sandbox, sandbox
from waiting import until

from actors.gateways.sandbox.admin_client import SandboxAdmin, SandboxRefused
from actors.gateways.sandbox.faults import Faults
from actors.gateways.sandbox.replies import AFTER_SEND, PRESETS
from actors.gateways.sandbox.rules import ACTIONS, BadRule, Request
from actors.gateways.sandbox.server import SandboxServer

__all__ = ["sandbox"]

DIGITS = "5511988887777"


@pytest.fixture
def web(sandbox: Sandbox):
    with httpx.Client(base_url=sandbox.url, headers={"apikey": sandbox.apikey}, timeout=5, trust_env=False) as client:
        yield client


def send(web, text="oi", *, ref=None, instance="i1", number=DIGITS, **more):
    headers = {} if ref is None else {"X-Client-Ref": ref}
    return web.post(f"/message/sendText/{instance}", json={"number": number, "text": text}, headers={**headers, **more})


def outcome(web, **fields):
    try:
        return send(web, **fields).status_code
    except httpx.TransportError as error:
        return type(error).__name__


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


@pytest.mark.parametrize(
    ("trigger", "struck"),
    [
        ({"always": True}, [1, 2, 3, 4, 5, 6]),
        ({"next": 2}, [1, 2]),
        ({"every": 3}, [3, 6]),
        ({"nth": [2, 5]}, [2, 5]),
        ({"between_s": [1_000, 2_000]}, []),
        ({"probability": 0}, []),
        ({"probability": 1}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_trigger_chooses_the_requests(web, sandbox, trigger, struck):
    sandbox.admin.add_fault({"type": "status", "status": 418}, trigger=trigger)

    assert [n for n in range(1, 7) if outcome(web) == 418] == struck
    assert [(one["seen"], one["hits"]) for one in sandbox.admin.faults()] == [(6, len(struck))]


def test_a_time_window_is_counted_from_the_reset(web, sandbox):
    sandbox.admin.add_fault({"type": "status", "status": 418}, trigger={"between_s": [100, 200]})

    seen = [outcome(web)]
    for seconds in (150, 100):
        sandbox.admin.advance(seconds)
        seen.append(outcome(web))

    assert seen == [201, 418, 201]


@pytest.mark.parametrize(
    ("match", "fields", "hit"),
    [
        ({"op": ["sendText"]}, {}, True),
        ({"op": "sendMedia"}, {}, False),
        ({"instance": "i1"}, {}, True),
        ({"instance": "i2"}, {}, False),
        ({"number_re": "7777$"}, {}, True),
        ({"number_re": "0000$"}, {}, False),
        ({"text_re": "o"}, {}, True),
        ({"text_re": "ã"}, {}, False),
        ({"ref_re": "^m1:"}, {"ref": "m1:0"}, True),
        ({"ref_re": "^m1:"}, {"ref": "m2:0"}, False),
        ({"op": ["sendText"], "text_re": "ã"}, {}, False),
    ],
)
def test_a_match_names_who_is_struck(web, sandbox, match, fields, hit):
    sandbox.admin.add_fault({"type": "status", "status": 418}, match=match)

    assert (outcome(web, **fields) == 418) is hit


def struck(seed, *, threads):
    with SandboxServer(seed=seed) as server, SandboxAdmin(server.url, server.admin_token) as admin:
        admin.put_instance("i1")
        admin.add_fault({"type": "status", "status": 418}, trigger={"probability": 0.3})
        admin.add_fault({"type": "drop"}, trigger={"probability": 0.2})
        with (
            httpx.Client(base_url=server.url, headers={"apikey": server.apikey}, trust_env=False) as web,
            ThreadPoolExecutor(threads) as pool,
        ):
            return list(pool.map(lambda n: (n, outcome(web, ref=f"m{n}:0")), range(60)))


def test_the_same_seed_strikes_the_same_messages_whatever_the_threads_do():
    alone, together, other = struck(1, threads=1), struck(1, threads=8), struck(2, threads=1)

    assert {str(what) for _, what in alone} >= {"201", "418"}
    assert [what == 201 for _, what in alone] == [what == 201 for _, what in together]
    assert alone != other


def test_a_repeated_request_draws_anew(sandbox):
    faults = Faults(3)
    rule = faults.add({"action": {"type": "drop"}, "trigger": {"probability": 0.5}})
    request = Request(op="sendText", instance="i1", reference="m1:0")

    draws = [bool(faults.plan(request, wire=True, since_reset_s=0)) for _ in range(40)]

    assert {True, False} == set(draws)
    assert rule.hits == sum(draws)


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - AFTER_SEND))
def test_guards_come_before_faults_and_a_proxy_before_guards(web, sandbox, preset):
    sandbox.admin.add_fault({"type": "status", "preset": preset})
    is_of_a_proxy = "html" in send(web).headers["content-type"] or "envoy" in preset

    assert (send(web, apikey="wrong").status_code != 401 or preset == "bad_key") is (
        is_of_a_proxy or preset == "bad_key"
    )
    assert sandbox.admin.faults()[0]["seen"] == (2 if is_of_a_proxy else 1)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"action": {"type": "ack"}}, "needs status"),
        ({"action": {"type": "ack", "status": "SEEN"}}, "status is one of"),
        ({"action": {"type": "slow_body", "bytes_per_s": 9, "when": "before_accept"}}, "accepted first"),
        ({"action": {"type": "webhook"}}, "unknown action type 'webhook'"),
        ({"action": {}}, "unknown action type None"),
        ({}, "match, trigger and action"),
        ({"action": {"type": "drop", "how": 1}}, "unknown action drop field 'how'"),
        ({"action": {"type": "drop", "when": "later"}}, "before_accept or after_accept"),
        ({"action": {"type": "latency"}}, "needs ms"),
        ({"action": {"type": "status"}}, "a status (with a body) or a preset"),
        ({"action": {"type": "status", "preset": "x"}}, "unknown preset 'x'"),
        ({"action": {"type": "invalid_json", "body": "x"}}, "unknown body 'x'"),
        ({"action": {"type": "disconnect"}}, "names its instance"),
        ({"action": {"type": "drop"}, "match": {"jid": "x"}}, "unknown match field 'jid'"),
        ({"action": {"type": "drop"}, "match": {"text_re": "("}}, "not a regular expression"),
        ({"action": {"type": "drop"}, "trigger": {"sometimes": 1}}, "unknown trigger field"),
        ({"action": {"type": "drop"}, "trigger": {}}, "exactly one"),
        ({"action": {"type": "drop"}, "trigger": {"next": 0}}, "at least 1"),
        ({"action": {"type": "drop"}, "trigger": {"probability": 2}}, "from 0 to 1"),
        ({"action": {"type": "drop"}, "trigger": {"nth": []}}, "list of numbers"),
        ({"action": {"type": "drop"}, "colour": "red"}, "unknown rule field 'colour'"),
    ],
)
def test_a_rule_that_could_not_strike_is_refused(sandbox, body, named):
    with pytest.raises(SandboxRefused) as caught:
        sandbox.admin.call("POST", "faults", body)

    assert named in str(caught.value)
    assert sandbox.admin.faults() == []


def test_every_action_type_has_been_tried_here():
    tried = {
        "latency", "status", "drop", "hang", "slow_body", "truncate", "invalid_json", "wrong_jid", "refuse", "disconnect",
        "duplicate_id", "persist_lag", "ack",
    }  # fmt: skip

    assert tried == set(ACTIONS)


@pytest.mark.parametrize(
    "action",
    [
        {"type": "drop", "when": "after_accept"},
        {"type": "status", "preset": "prisma_after_send"},
        {"type": "wrong_jid", "jid": "1@s.whatsapp.net"},
        {"type": "ack", "status": "READ"},
    ],
)
def test_a_rule_waits_for_a_request_that_it_can_strike(web, sandbox, action):
    sandbox.admin.put_contact("5511900000000", exists=False)
    sandbox.admin.add_fault(action, match={"number_re": "."}, trigger={"next": 1})

    assert send(web, number="5511900000000").status_code == 400
    assert [(one["seen"], one["hits"]) for one in sandbox.admin.faults()] == [(0, 0)]
    outcome(web)
    assert [(one["seen"], one["hits"]) for one in sandbox.admin.faults()] == [(1, 1)]


def test_a_rule_about_messages_is_not_spent_on_a_question(web, sandbox):
    sandbox.admin.add_fault({"type": "persist_lag", "never": True}, trigger={"next": 1})
    web.post("/chat/findMessages/i1", json={})

    assert [one["hits"] for one in sandbox.admin.faults()] == [0]


def test_two_rules_cannot_have_one_id():
    faults = Faults(0)
    faults.add({"id": "a", "action": {"type": "drop"}})

    with pytest.raises(BadRule):
        faults.add({"id": "a", "action": {"type": "drop"}})


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


def test_a_latency_is_not_spent_on_who_has_no_key(web, sandbox):
    sandbox.admin.add_fault({"type": "latency", "ms": 1}, trigger={"next": 1})

    assert send(web, apikey="wrong").status_code == 401
    assert sandbox.admin.faults()[0]["seen"] == 0


def test_a_client_that_has_gone_is_still_delivered_to(web, sandbox):
    sandbox.admin.add_fault({"type": "latency", "ms": 200})

    with pytest.raises(httpx.ReadTimeout):
        web.post("/message/sendText/i1", json={"number": DIGITS, "text": "oi"}, timeout=0.05)

    assert sandbox.admin.wait(1, timeout_s=5)
    delivery = sandbox.admin.deliveries()[0]
    assert delivery["peer_disconnected"]


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
