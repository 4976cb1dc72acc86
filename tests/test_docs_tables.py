"""What the tables of the documentation say is what the code does: each is compared with the source, both ways."""

import dataclasses
import re
from pathlib import Path

import pytest
import redis
from docs_codes import codes, kind_of
from docs_events import events, sources
from docs_pages import Page, only, quoted
from traffic_world import INSTANCE, NAMESPACE, made_desk, trip

from actors import backends
from actors.circuit import State as CircuitState
from actors.domain import AttemptState
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
from actors.pace import Kind, Pace
from actors.recipients import CALLING_CODES
from actors.settings import MediaBy, OnQueueDown, OnUnknown, Settings
from actors.settings_source import variables
from actors.stores import base as stores
from actors.stores.django_host import DEFAULT_MODELS, FIELDS, REACHED
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.keys import QUEUE_KEYS, Keys
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.values import NewMessage
from middleware.limits.limits import Limits as LimitsOfWork
from middleware.memory import Sample, record
from middleware.outcomes import Dead
from middleware.retries import code_of

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
    assert [only(row["value of `CHAT_MEDIA_BY`"]) for row in page.rows("value of `CHAT_MEDIA_BY`")] == [*MediaBy]
    assert [only(row["value of `CHAT_ON_QUEUE_DOWN`"]) for row in page.rows("value of `CHAT_ON_QUEUE_DOWN`")] == [
        *OnQueueDown
    ]
    assert {name for name in quoted(regions["meaning"]) if name.isupper()} == set(CALLING_CODES)


# -- Redis -----------------------------------------------------------------------------------------------------------


def test_every_key_is_documented_with_its_type():
    documented = {only(row["key"]): row["type"] for row in Page("docs/redis-keys.md").rows("key", "type", "holds")}
    keys = Keys("chat:queue")
    of_queues = {f"chat:queue:<q>{suffix.format(dead=keys.dead)}": kind for _, suffix, kind, _ in QUEUE_KEYS}
    shared = {getattr(keys, name) for name, value in vars(Keys).items() if isinstance(value, property)}

    made_elsewhere = {LimitsOfWork(redis.Redis(), namespace="chat:queue").records}
    for path, _ in sources():
        text = (ROOT / path).read_text(encoding="utf-8")
        what = "<name>" if path.parts[:2] == ("middleware", "limits") else "<random>"
        made_elsewhere |= {f"chat:queue:{name}:{what}" for name in re.findall(r'"\{[\w.]*namespace\}:(\w+):\{', text)}

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
    steps.enqueue_many(queue, [NewMessage("tick", b"{}", tick="sweep_pending@60000")])
    for minute in (16, 31):
        record(broker.client, broker.machinery.keys.memory, Sample(at_ms=minute * 60_000))

    documented = {only(row["key"]): row["type"] for row in Page("docs/redis-keys.md").rows("key", "type", "holds")}
    found = {key.decode(): queue_client.type(key).decode() for key in queue_client.scan_iter("*")}
    broker.close()

    assert len(found) > 15
    assert found.items() <= documented.items()


@pytest.mark.redis
def test_every_key_of_the_limits_is_documented_and_each_documented_one_is_really_there(redis_server, queue_client):
    documented = {only(row["key"]): row["type"] for row in Page("docs/redis-keys.md").rows("key", "type", "holds")}
    with made_desk(redis_server) as desk, redis_server.client(3) as client:
        desk.paces |= {Kind.BULK: Pace(interval_ms=9_000, concurrency=1, per_day=5, pair_interval_ms=9_000)}
        desk.put(CircuitState.RAMPING)
        with pytest.raises(Throttled):
            desk.go(trip("p1", Kind.PICTURE), Throttled("slow", delay_ms=60_000))
        with desk.traffic.turn(INSTANCE, trip("m1", Kind.BULK)):
            types = {key.decode(): client.type(key).decode() for key in client.scan_iter("*")}
            lasting = {key for key in types if client.ttl(key) == -1}
    found = {
        re.sub(r"^(chat:queue:\w+):.*", r"\1:<name>", key.replace(NAMESPACE, "chat:queue")): kind
        for key, kind in types.items()
    }

    kinds = {"records", "place:<name>", "quota:<name>", "bucket:<name>", "strikes:<name>"}
    assert found == {f"chat:queue:{kind}": documented[f"chat:queue:{kind}"] for kind in kinds}
    assert lasting == {f"{NAMESPACE}:records"}


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
