"""What the tables of the documentation say is what the code does: settings, keys, errors, events and stores, both ways."""

import dataclasses
import re
from pathlib import Path

import pytest
import redis
from docs_codes import codes, kind_of
from docs_events import events, sources
from docs_pages import Page, only, quoted
from traffic_world import INSTANCE, NAMESPACE, made_desk, trip

from actors.circuit import State as CircuitState
from actors.domain import AttemptState
from actors.errors import Throttled
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
