"""What the tables of the documentation say is what the code does: each is compared with the source, both ways."""

import dataclasses
import re
from pathlib import Path

import pytest
from docs_codes import codes, kind_of
from docs_events import events, sources
from docs_pages import Page, only, quoted

from actors import backends
from actors.domain import AttemptState
from actors.gateways.evolution_answers import Facts, Operation
from actors.gateways.evolution_errors import RULES
from actors.gateways.exchange import Answer
from actors.gateways.graph_errors import RULES as GRAPH_RULES
from actors.gateways.graph_errors import classify_code
from actors.gateways.jids import create_jid
from actors.gateways.sandbox.admin import Admin
from actors.gateways.sandbox.contract import Contract
from actors.gateways.sandbox.faults import ACTIONS, Faults
from actors.gateways.sandbox.limits import Limits
from actors.gateways.sandbox.replies import PRESETS, Subject
from actors.gateways.sandbox.state import State
from actors.recipients import CALLING_CODES
from actors.settings import OnUnknown, Settings
from actors.settings_source import variables
from actors.stores import base as stores
from actors.stores.django_host import DEFAULT_MODELS, FIELDS, REACHED
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.keys import QUEUE_KEYS, Keys
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.clock import SystemClock
from middleware.memory import Sample, record
from middleware.outcomes import Dead
from middleware.retries import code_of
from middleware.ticks import RedisMarks

ROOT = Path(__file__).parents[1]
FIELDS_OF_SETTINGS = dataclasses.fields(Settings)


# -- settings --------------------------------------------------------------------------------------------------------


def _shown(default: object) -> str:
    if default is dataclasses.MISSING:
        return "`{}`"
    return "none" if default is None else f"`{default}`"


def _unit(name: str) -> str:
    return next((unit for unit in ("ms", "s") if name.endswith(f"_{unit}")), "")


def test_every_setting_is_documented_with_its_default_and_unit():
    rows = Page("docs/configuration.md").rows("variable", "default", "unit")
    documented = {tuple(quoted(row["variable"])): (row["default"], row["unit"]) for row in rows}
    there = {
        variables(field) or (f'CHAT_ACTORS["{field.name.upper()}"]',): (_shown(field.default), _unit(field.name))
        for field in FIELDS_OF_SETTINGS
    }

    assert len(documented) == len(rows)
    assert documented == there


def test_what_is_called_unused_is_unused_and_nothing_else_is():
    rows = Page("docs/configuration.md").rows("variable", "default", "unit")
    unused = {quoted(row["variable"])[0] for row in rows if "Not used yet" in row["meaning"]}
    text = "\n".join(
        (ROOT / path).read_text(encoding="utf-8")
        for path, _ in sources()
        # The doctor looks at what nobody works with yet.
        if not path.name.startswith(("settings", "doctor"))
    )
    # ``settings.pace`` and ``self.settings.pace``; the two connections stand for what they are made of.
    readers = {"redis_url": "queue_connection", "queue_db": "queue_connection", "rate_db": "rate_connection"}
    there = {
        (variables(field) or ("",))[0]
        for field in FIELDS_OF_SETTINGS
        if not re.search(rf"\b(settings|read)(\(\))?\.({field.name}|{readers.get(field.name, field.name)})\b", text)
    } - {"CHAT_STORE"}  # read by ``require_store``

    assert unused == there


def test_the_choices_of_a_setting_are_its_choices():
    page = Page("docs/configuration.md")
    regions = next(row for row in page.rows("variable") if "`CHAT_DEFAULT_REGION`" in row["variable"])

    assert [only(row["value"]) for row in page.rows("value", "what happens")] == [*OnUnknown]
    assert {name for name in quoted(regions["meaning"]) if name.isupper()} == set(CALLING_CODES)


# -- Redis -----------------------------------------------------------------------------------------------------------


def test_every_key_is_documented_with_its_type():
    documented = {only(row["key"]): row["type"] for row in Page("docs/redis-keys.md").rows("key", "type", "holds")}
    keys = Keys("chat:queue")
    of_queues = {f"chat:queue:<q>{suffix.format(dead=keys.dead)}": kind for _, suffix, kind, _ in QUEUE_KEYS}
    shared = {getattr(keys, name) for name, value in vars(Keys).items() if isinstance(value, property)}

    text = "".join((ROOT / path).read_text(encoding="utf-8") for path, _ in sources())
    made_elsewhere = {f"chat:queue:{name}:<random>" for name in re.findall(r'"\{[\w.]*namespace\}:(\w+):\{', text)}

    assert of_queues.items() <= documented.items()
    assert documented.keys() - of_queues.keys() == {*shared, *made_elsewhere, keys.doorbell("<process>")}


@pytest.mark.redis
def test_every_key_that_is_really_there_is_documented(redis_server, queue_client):
    broker = CarrierBroker(
        url=redis_server.url(2), options=lambda: CarrierOptions(namespace="chat:queue", dead_suffix=".dead")
    )
    steps, queue = broker.transitions, "<q>"
    for number in range(4):
        steps.enqueue(queue, f"m{number}", b"{}", options={"lane": "l", "group": "g", "unique_key": f"u{number}"})
    steps.enqueue(queue, "later", b"{}", delay_ms=60_000)
    (given_up,) = steps.fetch(queue, limit=1, lease_ms=60_000, owner="w").messages
    steps.finish(given_up.lease, Dead("not_found"), body=b"{}")
    steps.fetch(queue, limit=1, lease_ms=60_000, owner="w")
    RedisMarks(broker.client, broker.machinery.keys.ticks).add("sweep_pending", 60_000)
    record(broker.client, broker.machinery.keys.memory, Sample(at_ms=60_000))

    documented = {only(row["key"]): row["type"] for row in Page("docs/redis-keys.md").rows("key", "type", "holds")}
    found = {key.decode(): queue_client.type(key).decode() for key in queue_client.scan_iter("*")}
    broker.close()

    assert len(found) > 15
    assert found.items() <= documented.items()


# -- errors, events --------------------------------------------------------------------------------------------------


def test_every_reason_is_documented_with_what_comes_next():
    rows = Page("docs/errors.md").rows("code", "class", "next")
    documented = {(only(row["code"]), only(row["class"]), row["next"]) for row in rows}
    there = {(code.code, code.kind, kind_of(code)) for code in codes()}

    assert len(documented) == len(rows)
    assert documented == there


def test_the_words_for_what_comes_next_are_explained():
    page = Page("docs/errors.md")

    assert {row["next"] for row in page.rows("code", "class", "next")} == {row["next"] for row in page.rows("next")}


def test_a_foreign_error_is_called_by_its_class():
    class BadThing(Exception):
        """Somebody else's."""

    assert code_of(BadThing("a row")) == "bad_thing"
    assert "its class in snake case is the code" in Page("docs/errors.md").text


def test_the_reasons_of_attempts_are_those_of_the_code():
    rows = Page("docs/errors.md").rows("reason", "state")
    text = "".join((ROOT / "actors" / name).read_text() for name in ("delivery.py", "stores/writes.py"))
    literal = set(re.findall(r'reason="(\w+)"|^DUPLICATE_ID = "(\w+)"', text, re.MULTILINE))

    assert {only(row["reason"]) for row in rows} == {first or second for first, second in literal}
    assert {only(row["state"]) for row in rows} <= {*AttemptState}


def test_every_event_is_documented_with_level_and_fields():
    rows = Page("docs/events.md").rows("event", "level", "fields")
    documented = {(only(row["event"]), row["level"], frozenset(quoted(row["fields"]))) for row in rows}
    there = {(event.name, event.level, event.fields) for event in events()}

    assert len(documented) == len(rows)
    assert documented == there


# -- gateways --------------------------------------------------------------------------------------------------------


def test_every_rule_of_the_gateway_is_documented_in_its_place():
    rows = Page("docs/gateways.md").rows("#", "when", "means")
    numbers = list(dict.fromkeys(["1", *(rule.number for rule in RULES)]))
    named = {code for row in rows for code in quoted(row["means"])}
    there = {code.code for code in codes("actors/gateways/evolution_")}
    not_of_a_rule = {"empty", "caption_on_sound", "no_credentials", "bad_key", "bad_instance_name"}

    assert [row["#"] for row in rows] == numbers
    assert there - named - not_of_a_rule == set()
    assert named <= {code.code for code in codes()}


def test_every_code_of_meta_is_documented_with_its_meaning():
    documented: dict[int, str] = {}
    for row in Page("docs/gateways.md").rows("codes", "means"):
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


def test_the_table_of_addresses_is_what_the_code_makes():
    for row in Page("docs/gateways.md").rows("number", "becomes"):
        assert create_jid(only(row["number"])) == only(row["becomes"])


def test_every_fault_of_the_sandbox_is_documented():
    page = Page("docs/gateways.md")

    assert {only(row["action"]): frozenset(quoted(row["parameters"])) for row in page.rows("action")} == ACTIONS
    assert {only(row["preset"]) for row in page.rows("preset")} == set(PRESETS)


def test_every_preset_of_the_sandbox_names_the_rule_that_it_meets():
    for row in Page("docs/gateways.md").rows("preset", "rule"):
        reply = PRESETS[only(row["preset"])](Subject("sendText", "line-1", text="oi"))
        answer = Answer(status=reply.status, headers=reply.headers, body=reply.body)
        facts = Facts(operation=Operation.SEND_TEXT, answer=answer, to_group="object" in row["preset"])

        assert next(rule.number for rule in RULES if rule.holds(facts)) == row["rule"], row["preset"]


def test_every_request_that_steers_the_sandbox_is_documented():
    admin = Admin(Contract(State(SystemClock()), Faults(0), Limits(), api_key="k"), token="t")
    documented = {
        tuple(only(row["request"]).partition("/")[0].split()) for row in Page("docs/gateways.md").rows("request")
    }

    assert documented == set(admin._routes)


def test_every_backend_is_named():
    (sentence,) = re.findall(r"^There are two: .*$", Page("docs/gateways.md").prose, re.MULTILINE)

    assert set(quoted(sentence)) == set(backends.BUILT_IN["gateway"])
    assert {only(row["store"]) for row in Page("docs/stores.md").rows("store", "for")} == set(
        backends.BUILT_IN["store"]
    )


# -- stores ----------------------------------------------------------------------------------------------------------


def test_every_model_and_field_of_the_host_is_documented():
    page = Page("docs/stores.md")
    documented = {(row["role"], only(row["field"])): row["needed"] == "yes" for row in page.rows("role", "field")}
    paths = re.search(r"^(.*) may be paths over relations", page.text, re.MULTILINE)

    assert {only(row["role"]): only(row["default"]) for row in page.rows("role", "default")} == DEFAULT_MODELS
    assert documented == {(role, name): needed for role, names in FIELDS.items() for name, needed in names.items()}
    assert paths is not None
    assert set(quoted(paths[1])) == REACHED


def test_every_method_of_a_store_is_documented():
    methods = [name for name in vars(stores.Store) if not name.startswith("_")]

    assert [only(row["method"]) for row in Page("docs/stores.md").rows("method")] == methods
