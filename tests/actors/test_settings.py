"""Settings: read once, from the environment or Django, usable with nothing set, and silent about secrets."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.errors import SettingsError
from actors.settings import Hidden, OnUnknown, Settings, unknown_names
from middleware import backoff

ROOT = Path(__file__).parents[2]


def test_nothing_set_is_a_usable_laptop():
    settings = Settings.load({}, None)

    assert settings == Settings()
    assert (settings.queue_db, settings.rate_db, settings.namespace) == (2, 3, "chat:queue")
    assert (settings.broker, settings.gateway, settings.scheduler) == ("redis", "evolution", "apscheduler")
    assert (settings.backoff_base_ms, settings.backoff_cap_ms) == (backoff.BASE_MS, backoff.CAP_MS)


def test_the_environment_is_read_in_its_own_names():
    settings = Settings.load(
        {
            "REDIS_URL": "redis://:pw@host/0",
            "CHAT_LEASE_MS": " 9000 ",
            "CHAT_ON_UNKNOWN": "park_for_human",
            "CHAT_RECONCILE_GRACE_S": "1.5",
            "CHAT_PACE": '{"evolution": {"send": {"interval_ms": 500}}}',
            "SENTRY_DSN": "https://key@sentry.invalid/1",
            "CHAT_DEFAULT_REGION": "BR",
        }
    )

    assert settings.redis_url == Hidden("redis://:pw@host/0")
    assert settings.lease_ms == 9000
    assert settings.on_unknown is OnUnknown.PARK_FOR_HUMAN
    assert settings.reconcile_grace_s == 1.5
    assert settings.pace == {"evolution": {"send": {"interval_ms": 500}}}
    assert settings.sentry_dsn == "https://key@sentry.invalid/1"
    assert settings.default_region == "BR"


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("CHAT_MAX_ATTEMPTS", "3")

    assert Settings.load().max_attempts == 3


def test_django_wins_over_the_environment():
    environ = {"CHAT_LEASE_MS": "9000", "CHAT_PACE": '{"line-1": {"send": {"burst": 1}}}', "CHAT_MAX_ATTEMPTS": "3"}

    settings = Settings.load(environ, {"LEASE_MS": 8000, "PACE": {"line-2": {"bulk": {"burst": 9}}}})

    assert (settings.lease_ms, settings.max_attempts) == (8000, 3)
    assert settings.pace == {"line-2": {"bulk": {"burst": 9}}}


@pytest.mark.parametrize("absent", [None, ""])
def test_an_empty_value_is_an_absent_one(absent):
    settings = Settings.load({"CHAT_LEASE_MS": absent or "", "SENTRY_DSN": " "}, {"MAX_ATTEMPTS": absent})

    assert settings == Settings(store="django")


def test_django_may_give_paths_and_secret_values_as_objects():
    django = {
        "STORE": "sqlite",
        "SQLITE_PATH": Path("/data/chat.db"),
        "EVOLUTION_URL": "https://evolution.invalid",
        "EVOLUTION_API_KEY": SecretStr("k3y"),
    }

    settings = Settings.load({}, django)

    assert settings.sqlite_path == "/data/chat.db"
    assert settings.evolution_api_key.get_secret_value() == "k3y"


def test_the_queues_may_have_a_redis_of_their_own():
    settings = Settings.load({"REDIS_URL": "redis://shared", "CHAT_REDIS_URL": "redis://own"})

    assert settings.queue_connection()["host"] == "own"


def test_connections_are_pinned_whatever_the_url_says():
    settings = Settings.load({"REDIS_URL": "rediss://:pw@0.0.0.0:6380/1?db=0", "CHAT_QUEUE_DB": "5"})

    assert (settings.queue_connection()["db"], settings.rate_connection()["db"]) == (5, 3)
    assert settings.queue_connection()["host"] == "0.0.0.0"  # noqa: S104
    assert settings.queue_url() == "rediss://:pw@0.0.0.0:6380/5"


def test_without_a_redis_nothing_is_wrong_until_a_connection_is_wanted():
    settings = Settings.load({})

    for wanted in (settings.queue_connection, settings.rate_connection, settings.queue_url):
        with pytest.raises(SettingsError, match="REDIS_URL is not set: set it"):
            wanted()


@pytest.mark.parametrize(
    ("environ", "django", "store"),
    [
        ({}, None, None),
        ({"DJANGO_SETTINGS_MODULE": "host.settings"}, None, "django"),
        ({}, {}, "django"),
        ({"DJANGO_SETTINGS_MODULE": "host.settings", "CHAT_STORE": "memory"}, {}, "memory"),
        ({"CHAT_STORE": "memory"}, {"STORE": "django"}, "django"),
    ],
)
def test_the_store_is_djangos_where_django_is(environ, django, store):
    assert Settings.load(environ, django).store == store


def test_a_missing_store_says_what_to_set():
    with pytest.raises(SettingsError, match="CHAT_STORE is not set: set it to django"):
        Settings.load({}).require_store()

    assert Settings.load({"CHAT_STORE": "memory"}).require_store() == "memory"


def test_strange_variables_are_listed_with_the_nearest_known_and_are_no_fault():
    environ = {
        "CHAT_LEASE": "1",
        "CHAT_STREAM_PREFIX": "x",
        "CHAT_LEASE_MS": "9000",
        "CHAT_REDIS_URL": "redis://h",
        "PATH": "",
    }

    assert unknown_names(environ) == {"CHAT_LEASE": "CHAT_LEASE_MS", "CHAT_STREAM_PREFIX": None}
    assert Settings.load(environ).lease_ms == 9000


def test_models_are_named_in_django_only():
    assert Settings.load({"CHAT_MODELS": '{"message": "x.Y"}'}).models == {}
    assert Settings.load({}, {"MODELS": {"message": "chat.Message"}}).models == {"message": "chat.Message"}
    assert Settings.load({}, {"MODELS": {"attachment": None}}).models == {"attachment": None}


SECRET_NAMES = ["REDIS_URL", "CHAT_RABBITMQ_URL", "CHAT_EVOLUTION_API_KEY", "CHAT_WHATSAPP_CLOUD_TOKEN", "SENTRY_DSN"]


def test_no_secret_shows_in_what_a_log_prints():
    environ = {
        "REDIS_URL": "redis://user:s3cr3t@host/0",
        "CHAT_RABBITMQ_URL": "amqp://user:s3cr3t@host/vhost",
        "CHAT_EVOLUTION_URL": "https://evolution.invalid",
        "CHAT_EVOLUTION_API_KEY": "s3cr3t",
        "CHAT_WHATSAPP_CLOUD_TOKEN": "s3cr3t",
        "SENTRY_DSN": "https://s3cr3t@sentry.invalid/1",
    }

    settings = Settings.load(environ)

    assert "s3cr3t" not in f"{settings!r} {settings} {settings.redis_url} {[settings.evolution_api_key]}"
    assert settings.rabbitmq_url.get_secret_value() == environ["CHAT_RABBITMQ_URL"]


def test_a_hidden_text_is_written_nowhere_by_accident():
    hidden = Hidden("s3cr3t")

    with pytest.raises(TypeError):
        pickle.dumps(hidden)
    with pytest.raises(TypeError):
        json.dumps(hidden)
    assert hidden == Hidden("s3cr3t")
    assert hidden != Hidden("other")
    assert {hidden: 1}[Hidden("s3cr3t")] == 1


@given(
    st.dictionaries(
        st.sampled_from([*SECRET_NAMES, "CHAT_EVOLUTION_URL"]),
        st.text(st.characters(codec="utf-8"), max_size=12).map(lambda text: f"QZX{text}XZQ"),
        min_size=1,
    )
)
def test_whatever_a_secret_is_no_fault_quotes_it(environ):
    try:
        said = repr(Settings.load(environ | {"CHAT_LEASE_MS": "soon"}))
    except SettingsError as error:
        said = str(error) + repr(error) + repr(error.__cause__) + repr(error.__context__)

    assert "QZX" not in said
    assert "XZQ" not in said


def test_reading_the_module_costs_neither_pydantic_nor_django():
    code = "import sys, actors.settings; print([m for m in ('pydantic', 'django', 'httpx') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
