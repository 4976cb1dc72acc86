"""What the tables of the documentation say of gateways and the sandbox is what the code does."""

import re

from docs_codes import codes
from docs_pages import Page, only, quoted

from actors import backends
from actors.errors import Throttled
from actors.gateways.evolution_answers import Facts, Operation
from actors.gateways.evolution_errors import RULES
from actors.gateways.exchange import Answer
from actors.gateways.graph_errors import RULES as GRAPH_RULES
from actors.gateways.graph_errors import classify_code
from actors.gateways.jids import create_jid
from actors.gateways.sandbox.cloud_hooks import StatusHooks
from actors.gateways.sandbox.cloud_replies import CODES
from actors.gateways.sandbox.replies import PRESETS, Subject
from actors.gateways.sandbox.rules import ACTIONS
from actors.gateways.sandbox.server import SandboxServer


def test_every_rule_of_the_gateway_is_documented_in_its_place():
    rows = Page("docs/gateways.md").rows("#", "when", "means")
    numbers = list(dict.fromkeys(["1", *(rule.number for rule in RULES)]))
    named = {code for row in rows for code in quoted(row["means"])}
    there = {code.code for code in codes("actors/gateways/evolution_")}
    not_of_a_rule = {
        "wrong_version",
        "text_too_long",
        "empty",
        "caption_on_sound",
        "contact_number",
        "no_credentials",
        "bad_key",
        "bad_instance_name",
        "too_many_sent",
        "unreadable_answer",
    }

    assert [row["#"] for row in rows] == numbers
    assert there - named - not_of_a_rule == set()
    assert named <= {code.code for code in codes()}


def test_every_code_of_meta_is_documented_with_its_meaning():
    documented: dict[int, str] = {}
    for row in Page("docs/whatsapp-cloud.md").rows("codes", "means"):
        cell = row["codes"].replace("100 with subcode 33", "")
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", cell):
            documented |= dict.fromkeys(range(int(first), int(last or first) + 1), only(row["means"]))
    covered = {
        code
        for rule in GRAPH_RULES
        for codes_ in rule.codes
        for code in (codes_ if isinstance(codes_, range) else [codes_])
    }
    meant = {code: error.code for code in covered if (error := classify_code(code, text="")) is not None}

    assert documented == meant


def test_every_limit_of_the_cloud_is_documented_with_its_waits():
    units = {"s": 1_000, "h": 3_600_000}

    def ms(cell: str) -> int:
        number, unit = cell.split()
        return int(number) * units[unit]

    scopes = {"pair": "this sender and this person", "instance": "the number", "account": "the account"}
    documented = set()
    for row in Page("docs/whatsapp-cloud.md").rows("code", "scope", "first wait"):
        error = classify_code(int(row["code"]), text="")
        assert isinstance(error, Throttled)
        documented.add(int(row["code"]))
        assert row["scope"] == scopes[error.scope] + (", and an alert" if error.alert else "")
        assert ms(row["first wait"]) == error.delay_ms
        assert row["grows"] == (f"{error.grows_by} times" if error.grows_by > 1 else "")
        assert (ms(row["longest wait"]) if row["longest wait"] else None) in (None, error.cap_ms)
        assert bool(row["longest wait"]) is (error.grows_by > 1)

    limits = {code for code in CODES if isinstance(classify_code(code, text=""), Throttled)}
    assert documented == limits


def test_every_code_of_the_cloud_client_is_documented():
    page = Page("docs/whatsapp-cloud.md")
    named = {
        code for row in [*page.rows("codes", "means"), *page.rows("status", "means")] for code in quoted(row["means"])
    }
    there = {code.code for code in codes("actors/gateways/whatsapp_cloud")}
    before_any_request = {"empty", "caption_on_sound", "media_url", "media_type", "media_too_large", "text_too_long"}
    in_prose = {"caption_too_long", "reference_too_long", "bad_key", "unreadable_answer", "group_missing"}

    assert there - named - before_any_request - in_prose == set()


def test_every_request_that_steers_the_cloud_mode_is_documented():
    documented = {
        tuple(only(row["request under `/__sandbox__/`"]).split())
        for row in Page("docs/whatsapp-cloud.md").rows("request under `/__sandbox__/`")
    }
    server = SandboxServer()

    assert documented == set(StatusHooks(server.state, server.sender).routes)


def test_the_table_of_addresses_is_what_the_code_makes():
    for row in Page("docs/gateways.md").rows("number", "becomes"):
        assert create_jid(only(row["number"])) == only(row["becomes"])


def test_every_fault_of_the_sandbox_is_documented():
    page = Page("docs/sandbox.md")

    assert {only(row["action"]): frozenset(quoted(row["parameters"])) for row in page.rows("action")} == ACTIONS
    assert {only(row["preset"]) for row in page.rows("preset")} == set(PRESETS)


def test_every_preset_of_the_sandbox_names_the_rule_that_it_meets():
    for row in Page("docs/sandbox.md").rows("preset", "rule"):
        reply = PRESETS[only(row["preset"])](Subject("line-1", text="oi"))
        answer = Answer(status=reply.status, headers=reply.headers, body=reply.body)
        facts = Facts(operation=Operation.SEND_TEXT, answer=answer, to_group="object" in row["preset"])

        assert next(rule.number for rule in RULES if rule.holds(facts)) == row["rule"], row["preset"]


def test_every_request_that_steers_the_sandbox_is_documented():
    server = SandboxServer()
    of_the_cloud = set(StatusHooks(server.state, server.sender).routes)
    documented = {
        tuple(only(row["request"]).partition("/")[0].split()) for row in Page("docs/sandbox.md").rows("request")
    }

    assert documented == set(server.admin._routes) - of_the_cloud


def test_every_backend_is_named():
    (sentence,) = re.findall(r"^There are three: .*$", Page("docs/gateways.md").prose, re.MULTILINE)

    assert set(quoted(sentence)) == set(backends.BUILT_IN["gateway"])
    assert {only(row["store"]) for row in Page("docs/stores.md").rows("store", "for")} == set(
        backends.BUILT_IN["store"]
    )
