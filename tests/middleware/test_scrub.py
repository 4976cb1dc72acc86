"""What is taken out of Sentry events, and what is left alone."""

import copy
import json

import pytest

from middleware.scrub import hide, is_ours, scrub_event

TAGS = {"actor": "send", "queue": "work", "job_id": "3f0e4a52-7f4e-4a57-9d58-446655440000", "attempt": "2"}
PLANTED = ("Maria", "5511988887777", "sk-very-secret", "120363000000000000@g.us", "SELECT text")


def crowded(**tags: str) -> dict:
    """An event as full as integrations make them, with something planted everywhere."""
    return {
        "event_id": "0" * 32,
        "level": "error",
        "tags": tags,
        "user": {"username": "Maria"},
        "extra": {"dramatiq_message_id": "x", "text": "Olá Maria"},
        "request": {"url": "/x", "data": {"text": "Olá Maria"}, "headers": {"apikey": "sk-very-secret", "Host": "h"}},
        "breadcrumbs": {
            "values": [
                {"category": "query", "message": "SELECT text FROM m WHERE phone = '+5511988887777'"},
                {"category": "http", "data": {"url": "u", "headers": {"Authorization": "sk-very-secret"}}},
            ]
        },
        "logentry": {"message": "failed %s", "params": ["Olá Maria"], "formatted": "failed Olá Maria"},
        "contexts": {
            "dramatiq": {"data": {"actor_name": "send", "args": ["Olá Maria"], "kwargs": {"k": "sk-very-secret"}}}
        },
        "spans": [{"description": "POST /x?number=5511988887777", "data": {"body": "Olá Maria"}, "op": "http"}],
        "exception": {
            "values": [
                {
                    "type": "IntegrityError",
                    "module": "psycopg.errors",
                    "value": "Failing row contains (Olá Maria, +5511988887777)",
                    "stacktrace": {"frames": [{"module": "psycopg", "vars": {"query": "SELECT text"}}]},
                },
                {
                    "type": "BadRecipient",
                    "module": "actors.errors",
                    "value": "row m-1 has 120363000000000000@g.us and +55 (11) 98888-7777",
                    "stacktrace": {"frames": [{"module": "actors.chat", "function": "f", "vars": {"t": "Olá Maria"}}]},
                },
            ]
        },
    }


def test_an_event_about_our_messages_keeps_ids_classes_and_places_only():
    event = scrub_event(crowded(**TAGS))

    left = json.dumps(event, ensure_ascii=False)
    assert [word for word in PLANTED if word in left] == []
    assert event["tags"] == TAGS
    first, second = event["exception"]["values"]
    assert (first["type"], first["value"]) == ("IntegrityError", "")
    assert second["value"] == "row m-1 has [hidden] and [hidden]"
    assert second["stacktrace"]["frames"] == [{"module": "actors.chat", "function": "f"}]
    assert event["contexts"]["dramatiq"]["data"] == {"actor_name": "send"}
    assert event["logentry"] == {"message": "failed %s", "params": ["[hidden]"]}


def test_an_event_of_the_host_loses_only_keys_and_the_variables_of_our_frames():
    before = crowded(view="host")
    event = scrub_event(copy.deepcopy(before))

    assert event["request"]["headers"] == {"apikey": "[hidden]", "Host": "h"}
    assert event["breadcrumbs"]["values"][1]["data"]["headers"] == {"Authorization": "[hidden]"}
    frames = [value["stacktrace"]["frames"][0] for value in event["exception"]["values"]]
    assert frames[0]["vars"] == {"query": "SELECT text"}
    assert "vars" not in frames[1]
    for part in ("user", "extra", "logentry", "contexts", "spans"):
        assert event[part] == before[part]


def test_scrubbing_twice_is_scrubbing_once():
    once = scrub_event(crowded(**TAGS))

    assert scrub_event(copy.deepcopy(once)) == once


@pytest.mark.parametrize(
    "broken",
    [{"exception": {"values": 7}}, {"exception": [{"stacktrace": "Maria"}]}, {"contexts": {"dramatiq": "Maria"}}],
)
def test_an_event_that_cannot_be_scrubbed_is_withheld_and_says_so(broken):
    event = scrub_event({**crowded(**TAGS), **broken})

    assert event["message"].startswith("an event was withheld")
    assert [word for word in PLANTED if word in json.dumps(event)] == []
    assert event["event_id"] == "0" * 32


@pytest.mark.parametrize(
    "event", [{}, {"tags": None}, {"tags": [["actor", "x"]]}, {"exception": None, "request": None}]
)
def test_an_event_may_lack_anything(event):
    assert not is_ours(event)
    assert scrub_event(copy.deepcopy(event)) == event


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("call +5511988887777 now", "call [hidden] now"),
        ("call +55 (11) 98888-7777.", "call [hidden]."),
        ("number 5511988887777", "number [hidden]"),
        ("chat 5511988887777@s.example.net", "chat [hidden]"),
        ("mail joe@example.com", "mail [hidden]"),
        ("group 120363000000000000@g.us", "group [hidden]"),
        ("message 3f0e4a52-7f4e-4a57-9d58-446655440000 part 2", "message 3f0e4a52-7f4e-4a57-9d58-446655440000 part 2"),
        ("status 503 after 180000 ms", "status 503 after 180000 ms"),
    ],
)
def test_addresses_and_numbers_are_hidden_and_ids_are_not(text, hidden):
    assert hide(text) == hidden


def test_a_long_word_is_looked_through_once():
    """It cost its length squared: of this length minutes, in which no other thread ran and leases ran out."""
    assert hide("x" * 200_000 + " a@b.c") == "x" * 200_000 + " [hidden]"
