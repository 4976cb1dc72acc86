"""Every number of docs/checks.md is given out by the code, has a hint, and is fired by a test; and the other way round."""

import os
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections
from docs_pages import Page, only, quoted

from actors import services
from actors.django_app import check_doctor, check_neighbours
from actors.django_app.check_doctor import MOMENTARY, NUMBERS, SAID_ELSEWHERE, UNNUMBERED
from actors.django_app.checks import check_chat_actors, check_servers
from actors.doctor import run as doctor_run
from actors.doctor.checks import fail, ok, unknown, warn
from middleware.errors import ExitCode, Refusal

PAGE = Page("docs/checks.md")
ROOT = Path(__file__).parents[3]
REDIS = {"REDIS_URL": "redis://:hunter2@10.0.0.5:6379/0"}


def _cache(location: str) -> dict[str, object]:
    return {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}}


def _layer(location: object) -> dict[str, object]:
    return {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [location]}}}


class KeepsOut:
    """A router of a host that sends every app but its own elsewhere."""

    def allow_migrate(self, db, app_label, **hints):
        return app_label != "chat_actors"


#: Number → the settings that fire it.
FIRED: dict[str, dict[str, object]] = {
    "E001": {"CHAT_ACTORS": {"QUEUE_DB": 1}},
    "E002": {"CHAT_ACTORS": {"MODELS": {"message": "chat.Letter"}}},
    "E003": {"CHAT_ACTORS": {"FIELD_MAP": {"message": {"content": "body"}}}},
    "E004": {"CHAT_ACTORS": REDIS, "CACHES": _cache("redis://10.0.0.5:6379/2")},
    "E005": {"CHAT_ACTORS": REDIS, "CHANNEL_LAYERS": _layer("redis://10.0.0.5:6379/2")},
    "E006": {"CHAT_ACTORS": {"BROADCAST": True}, "CHANNEL_LAYERS": {}},
    "E008": {"AUTOCOMMIT": False},
    "E009": {"DATABASE_ROUTERS": [f"{__name__}.KeepsOut"]},
    "E010": {"CHAT_ACTORS": {"FIELD_MAP": {"message": {"content": "created_at"}}}},
    "W001": {"CHAT_ACTORS": REDIS, "CACHES": _cache("redis://10.0.0.5:6379/3")},
    "W002": {"CHAT_ACTORS": {"SCHEDULER": "periodiq"}, "CHAT_SCHEDULER": "apscheduler"},
    "W003": {"ATOMIC_REQUESTS": True},
    "W004": {"CHAT_ACTORS": REDIS, "DEBUG": True},
    "W005": {"CHAT_ACTORS": {"FIELD_MAP": {"message": {"status": "sender_name", "created_at": "updated_at"}}}},
    "W006": {"vendor": "mysql"},
    "W008": {"vendor": "postgresql", "CONN_MAX_AGE": 600},
    "W009": {
        "CHAT_ACTORS": REDIS,
        "CHANNEL_LAYERS": _layer({"address": "redis://10.0.0.5:6379/1", "socket_timeout": 5}),
    },
}


@pytest.fixture
def found(settings, monkeypatch):
    """``found(CHAT_ACTORS={…}, …)`` → messages of the checks by number; names of a database, or of the environment, too."""

    # A redis-py that waits; test_checks.py has what another does.
    monkeypatch.setattr(check_neighbours, "_default_s", lambda: None)

    def check(**values: object):
        for name, value in values.items():
            if name in ("AUTOCOMMIT", "ATOMIC_REQUESTS", "CONN_MAX_AGE"):
                monkeypatch.setitem(connections["default"].settings_dict, name, value)
            elif name == "vendor":
                monkeypatch.setattr(connections["default"], name, value)
            elif name == "DATABASE_ROUTERS":
                monkeypatch.setattr("django.db.router.routers", [KeepsOut()])
            elif name.startswith("CHAT_") and name != "CHAT_ACTORS":
                monkeypatch.setenv(name, str(value))
            else:
                setattr(settings, name, value)
        return {message.id.removeprefix("chat_actors."): message for message in check_chat_actors(None)}

    return check


@pytest.mark.parametrize("number", FIRED)
def test_it_is_fired_with_a_hint_and_shows_no_secret(found, number):
    message = found(**FIRED[number])[number]

    assert message.hint
    assert message.is_serious() == number.startswith("E")
    assert "hunter2" not in f"{message.msg} {message.hint}"


def test_every_number_of_the_page_is_fired_and_every_number_of_the_code_is_on_the_page():
    texts = [path.read_text() for path in (ROOT / "actors" / "django_app").glob("check*.py")]
    of_doctor = {f"{letter}{number}" for letter in "EW" for number in [*NUMBERS.values(), UNNUMBERED]} - {"W007"}
    there = {number for text in texts for number in re.findall(r"\b([EW]\d{3})\b", text)} - of_doctor
    documented = {only(row["check"]).removeprefix("chat_actors.") for row in PAGE.rows("check", "says", "do")}

    assert documented == there
    assert documented - {"W007"} == set(FIRED)


def test_every_check_of_the_doctor_has_its_number_on_the_page():
    rows = PAGE.rows("number", "check of the doctor")
    documented = {
        (quoted(row["check of the doctor"]) or ["any other"])[0]: {number[1:] for number in quoted(row["number"])}
        for row in rows
    }
    letters = {(quoted(row["check of the doctor"]) or [""])[0]: row["number"] for row in rows}

    assert documented == {name: {number} for name, number in NUMBERS.items()} | {"any other": {UNNUMBERED}}
    assert {name.partition(".")[0] for name in doctor_run.NAMES} - SAID_ELSEWHERE == set(NUMBERS)
    worst = {spec.name: spec.worst for spec in (*doctor_run.SERVER, *doctor_run.QUEUES)}
    assert {name for name, numbers in letters.items() if "`E" not in numbers} == {
        *(name for name, severity in worst.items() if severity is doctor_run.WARNING and name != "persistence"),
        *MOMENTARY,
    }
    assert len(set(NUMBERS.values()) | {UNNUMBERED}) == len(NUMBERS) + 1


# -- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "name", "path", "said"),
    [
        ("message", "content", "created_at", "is a DateTimeField, and must be a"),
        ("message", "created_at", "content", "is a TextField, and must be a DateTimeField"),
        ("message", "is_internal", "content", "must be a BooleanField"),
        ("message", "message_id", "sender_phone", "has room for 20 characters, and must have it for 100"),
        ("message", "error_message", "sender_name", "must have it for 500"),
        ("message", "conversation", "content", "is no foreign key to chat.Conversation"),
        ("conversation", "profile_pic_url", "contact_name", "must have it for 500"),
        ("conversation", "group_metadata", "contact_name", "must be a JSONField"),
        ("instance", "is_active", "instance_name", "must be a BooleanField"),
        ("attachment", "message", "mime_type", "is no foreign key to chat.Message"),
    ],
)
def test_a_column_that_cannot_hold_what_is_written_is_named(found, role, name, path, said):
    message = found(CHAT_ACTORS={"FIELD_MAP": {role: {name: path}}})["E010"]

    assert f".{path} ({role}) " in message.msg
    assert said in message.msg
    assert f"CHAT_ACTORS['FIELD_MAP']['{role}']" in message.hint


def test_choices_must_have_every_status(found, monkeypatch):
    from chat.models import Message

    monkeypatch.setattr(Message._meta.get_field("status"), "choices", [("pending", "…"), ("sent", "…")])

    assert "has choices without delivered, failed, seen" in found()["E010"].msg


def test_the_tables_of_another_host_fit_too(found):
    from contracts.django_world import DESK

    assert found(CHAT_ACTORS={"MODELS": DESK["models"], "FIELD_MAP": DESK["field_map"]}).keys() == {"W005"}


# -- what must not be said, and must not break -----------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [[], "redis", 7])
def test_what_is_no_dict_is_an_error_and_no_crash(found, chosen):
    assert "CHAT_ACTORS must be a dict" in found(CHAT_ACTORS=chosen)["E001"].msg
    apps.get_app_config("chat_actors").ready()


@pytest.mark.parametrize("junk", [None, 7, [], "redis", {"BACKEND": "redis", "LOCATION": 7}, {"CONFIG": {"hosts": 7}}])
def test_settings_of_others_that_cannot_be_read_break_no_check(found, junk):
    assert found(CHAT_ACTORS=REDIS, CACHES={"default": junk}, CHANNEL_LAYERS={"default": junk}) == {}
    assert found(CHAT_ACTORS=REDIS, CHANNEL_LAYERS=junk) == {}


@pytest.mark.parametrize("location", ["redis://10.0.0.5:6379/two", "redis://10.0.0.5:x/2", "redis://[::1/2"])
def test_a_location_that_no_client_takes_breaks_no_check(found, location):
    assert found(CHAT_ACTORS=REDIS, CACHES=_cache(location), CHANNEL_LAYERS=_layer(location)) == {}


@pytest.mark.parametrize(
    ("chosen", "environ"),
    [
        ({"SCHEDULER": "none"}, {"CHAT_SCHEDULER": "none"}),
        ({"LEASE_MS": 20_000}, {"CHAT_LEASE_MS": " 20000"}),
        ({"PACE": {}}, {"CHAT_PACE": "{}"}),
        ({"SCHEDULER": ""}, {"CHAT_SCHEDULER": "none"}),
        ({}, {"CHAT_SCHEDULER": "none"}),
    ],
)
def test_what_agrees_is_said_once(found, chosen, environ):
    assert found(CHAT_ACTORS=chosen, **environ) == {}


def test_a_secret_that_the_error_page_hides_is_none_of_ours(found):
    hidden = {"EVOLUTION_URL": "https://e.example", "EVOLUTION_API_KEY": "k" * 20, "WEBHOOK_TOKEN": "t" * 40}

    assert found(CHAT_ACTORS={**hidden, "REDIS_URL": "redis://10.0.0.5"}, DEBUG=True) == {}
    assert found(CHAT_ACTORS={**hidden, **REDIS}, DEBUG=False) == {}


def test_atomic_requests_are_fine_where_every_send_waits(found):
    assert found(ATOMIC_REQUESTS=True, CHAT_ACTORS={"ON_COMMIT": "all"}) == {}


# -- --deploy --------------------------------------------------------------------------------------------------------


@pytest.fixture
def doctor(monkeypatch):
    """``doctor(check, …)`` → what is said when the doctor finds these."""

    def say(*checks):
        monkeypatch.setattr(doctor_run, "run", lambda *, deploy: list(checks) if deploy else [])
        return {message.id.removeprefix("chat_actors."): message for message in check_servers(None)}

    return say


@pytest.mark.parametrize("name", [*NUMBERS, "gateway.evolution", "yet_another"])
def test_what_the_doctor_finds_has_its_number(doctor, name):
    number = NUMBERS.get(name.partition(".")[0], UNNUMBERED)
    failed = doctor(fail(name, "found", why="why\nand why", fix="do"))
    worst = "W" if name in MOMENTARY else "E"

    assert [(id_, one.msg, one.hint) for id_, one in failed.items()] == [
        (f"{worst}{number}", f"{name}: found (why; and why)", "do")
    ]
    if name != "settings":
        assert list(doctor(warn(name, "found", why="why", fix="do"))) == [f"W{number}"]
        assert doctor(unknown(name, "found"))[f"W{number}"].hint == "See manage.py chat doctor."
    assert doctor(ok(name, "found")) == {}


@pytest.mark.parametrize("error", [ZeroDivisionError(), Refusal(ExitCode.UNSAFE, "no")])
def test_a_doctor_that_breaks_hides_no_other_check(monkeypatch, error):
    def broken():
        raise error

    monkeypatch.setattr(check_doctor, "_examine", broken)
    [message] = check_servers(None)

    assert message.id == "chat_actors.W007"
    assert type(error).__name__ in message.msg


def test_it_is_not_asked_without_deploy_nor_while_the_settings_are_wrong(doctor, settings, monkeypatch):
    monkeypatch.setattr(doctor_run, "run", lambda **_: pytest.fail("asked"))

    call_command("check")
    settings.CHAT_ACTORS = {"QUEUE_DB": 0}
    assert check_servers(None) == []


@pytest.mark.redis
@pytest.mark.django_db
def test_a_redis_that_may_lose_the_queue_is_found(settings, redis_server, queue_client, sandbox):
    queue_client.config_set("maxmemory-policy", "allkeys-lru")
    here = {"GATEWAY": "sandbox", "SANDBOX_URL": sandbox.url}
    settings.CHAT_ACTORS = {"REDIS_URL": redis_server.url(0), **here}
    services.install(None)
    try:
        found = {message.id.removeprefix("chat_actors.") for message in check_servers(None)}
    finally:
        services.install(None)

    assert {"E026", "E028", "W030"} <= found
    assert not found & {"E021", "E022", "E023", "E007"}


@pytest.mark.parametrize("answers", ["refuses", pytest.param("is silent", marks=pytest.mark.slow)])
def test_a_redis_that_is_down_neither_breaks_nor_hangs_a_check(tmp_path, answers):
    with closing(socket.socket()) as place:
        place.bind(("127.0.0.1", 0))
        if answers == "is silent":
            place.listen(16)
        url = f"redis://127.0.0.1:{place.getsockname()[1]}"
        path = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'project'}"
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "REDIS_URL": url}
        environ |= {"DJANGO_SETTINGS_MODULE": "chatsite.settings", "CHATSITE_DATABASE": str(tmp_path / "none.sqlite3")}

        command = [sys.executable, "-m", "django", "check", "--deploy"]
        asked = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)

    assert asked.returncode == 1
    assert "chat_actors.E021" in asked.stderr
    assert "Traceback" not in asked.stderr
