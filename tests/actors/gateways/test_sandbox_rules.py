"""A rule strikes whom it should, is refused when it could strike nobody, and strikes the same again with the same seed."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sandbox_fixture import sandbox
from sandbox_texts import outcome, send, web

from actors.gateways.sandbox.admin_client import SandboxAdmin, SandboxRefused
from actors.gateways.sandbox.faults import Faults
from actors.gateways.sandbox.replies import AFTER_SEND, PRESETS
from actors.gateways.sandbox.rules import BadRule, Request
from actors.gateways.sandbox.server import SandboxServer

__all__ = ["sandbox", "web"]


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


def test_a_latency_is_not_spent_on_who_has_no_key(web, sandbox):
    sandbox.admin.add_fault({"type": "latency", "ms": 1}, trigger={"next": 1})

    assert send(web, apikey="wrong").status_code == 401
    assert sandbox.admin.faults()[0]["seen"] == 0
