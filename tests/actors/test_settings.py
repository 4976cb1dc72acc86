"""Settings: read once, wrong as a whole or right as a whole, and silent about secrets."""

import json
import pickle
import re
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


def faults_of(environ=None, django=None):
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ or {}, django)
    return caught.value.faults


def only_fault(environ=None, django=None):
    (fault,) = faults_of(environ, django)
    return fault


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


def test_all_faults_are_told_at_once():
    faults = faults_of(
        {
            "REDIS_URL": "redis://:s3c/r3t@host",
            "CHAT_LEASE_MS": "soon",
            "CHAT_QUEUE_DB": "1",
            "CHAT_GATEWAY": "evolutoin",
            "CHAT_EVOLUTION_URL": "https://evolution.invalid",
        },
        {"LEASE": 1, "MAX_ATTEMPTS": 0, "MODELS": {"mesage": "chat.Message"}},
    )

    told = "\n".join(faults)
    assert len(faults) == 8
    for expected in (
        r"CHAT_ACTORS has an unknown key 'LEASE'; did you mean 'LEASE_MS'\?",
        r"CHAT_LEASE_MS is 'soon'; it must be a valid integer",
        r"CHAT_QUEUE_DB is '1'; it must be greater than or equal to 2: 0 and 1 belong to the cache and to Channels",
        r"CHAT_ACTORS\['MAX_ATTEMPTS'\] is 0; it must be greater than or equal to 1",
        r"CHAT_GATEWAY is 'evolutoin', known are .*evolution.*sandbox.*; did you mean 'evolution'\?",
        r"REDIS_URL .* cannot be used: .*percent-encode",
        r"CHAT_EVOLUTION_URL and CHAT_EVOLUTION_API_KEY are a pair",
        r"CHAT_ACTORS\['MODELS'\] has an unknown key 'mesage', .*did you mean 'message'\?",
    ):
        assert re.search(expected, told)


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"CHAT_QUEUE_DB": "0"}, "CHAT_QUEUE_DB is '0'"),
        ({"CHAT_RATE_DB": "1"}, "CHAT_RATE_DB is '1'"),
        ({"CHAT_RATE_DB": "2"}, "CHAT_QUEUE_DB and CHAT_RATE_DB are both 2"),
        ({"CHAT_QUEUE_DB": "-1"}, "greater than or equal to 2"),
        ({"CHAT_NAMESPACE": "chat queue*"}, "CHAT_NAMESPACE"),
        ({"CHAT_BROKER": "reddis"}, "known are redis, stub; did you mean 'redis'?"),
        # A name of the design that this version does not have is refused like any other: nothing falls back to Redis.
        ({"CHAT_BROKER": "rabbitmq"}, "CHAT_BROKER is 'rabbitmq', known are redis, stub"),
        ({"CHAT_RABBITMQ_URL": "http://host"}, "CHAT_RABBITMQ_URL cannot be used"),
        ({"CHAT_WEBHOOK_TOKEN": "short"}, "CHAT_WEBHOOK_TOKEN cannot be used: it must be 20 or more"),
        ({"CHAT_WEBHOOK_TOKEN": "no/slash/is/part/of/a/segment"}, "CHAT_WEBHOOK_TOKEN cannot be used"),
        ({"CHAT_STORE": "djnago"}, "did you mean 'django'?"),
        ({"CHAT_STORE": "sqlite"}, "CHAT_SQLITE_PATH is not set"),
        ({"CHAT_SCHEDULER": "celery"}, "known are apscheduler, none, periodiq"),
        ({"CHAT_EVOLUTION_API_KEY": "k3y"}, "are a pair: set both or neither"),
        ({"CHAT_WHATSAPP_CLOUD_URL": "graph.facebook.com"}, "CHAT_WHATSAPP_CLOUD_URL cannot be used"),
        ({"CHAT_WHATSAPP_CLOUD_URL": "https://u:p@graph.invalid"}, "must hold neither credentials"),
        ({"CHAT_ON_UNKNOWN": "retry"}, "CHAT_ON_UNKNOWN is 'retry'; it must be 'reconcile_then_resend'"),
        ({"CHAT_BACKOFF_CAP_MS": "10"}, "CHAT_BACKOFF_CAP_MS is below"),
        ({"CHAT_SWEEP_AFTER_S": "86400"}, "CHAT_SWEEP_AFTER_S is not below"),
        ({"CHAT_DEFAULT_REGION": "XX"}, "CHAT_DEFAULT_REGION is 'XX', known are"),
        (
            {"CHAT_BACKUP_RECIPIENTS": "age1abc, nobody"},
            "CHAT_BACKUP_RECIPIENTS has nobo…, which is no public key of age",
        ),
        ({"CHAT_METRICS_PORT": "70000"}, "CHAT_METRICS_PORT is '70000'"),
        ({"CHAT_RECONCILE_GRACE_S": "nan"}, "CHAT_RECONCILE_GRACE_S is 'nan'"),
        ({"CHAT_PACE": "{"}, "CHAT_PACE is '{'; it must be a JSON object"),
        ({"CHAT_PACE": '{"send": 1}'}, "CHAT_PACE['send'] is 1"),
        ({"CHAT_PACE": '{"line-1": {"sned": {}}}'}, "CHAT_PACE: line-1 has 'sned', known are send"),
        ({"CHAT_PACE": '{"line-1": {"send": {"rate": 1}}}'}, "CHAT_PACE: line-1.send.rate is not known"),
        ({"CHAT_PACE": '{"line-1": {"send": {"burst": 0}}}'}, "CHAT_PACE: line-1.send.burst must be a whole number"),
        ({"REDIS_URL": "localhost:6379"}, "it must begin with one of redis://"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_way_out(environ, fault):
    assert fault in only_fault(environ)


@pytest.mark.parametrize(
    ("django", "fault"),
    [
        ({"CHAT_LEASE_MS": 1}, "unknown key 'CHAT_LEASE_MS'; did you mean 'LEASE_MS'?"),
        ({"lease_ms": 1}, "unknown key 'lease_ms'; did you mean 'LEASE_MS'?"),
        ({"COLOUR": 1}, "unknown key 'COLOUR'"),
        ({"MODELS": {"message": "Message"}}, "is 'Message'; it must be 'app.Model'"),
        ({"MODELS": "chat.Message"}, "must be a JSON object"),
        (["LEASE_MS"], "CHAT_ACTORS must be a dict, it is a list"),
    ],
)
def test_a_wrong_entry_of_django_is_refused_with_its_name(django, fault):
    assert fault in only_fault(django=django)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://127.3.4.5", "http://localhost:1", "http://[::1]:9/x"])
def test_a_sandbox_on_this_machine_is_taken(url):
    settings = Settings.load({"CHAT_GATEWAY": "sandbox", "CHAT_SANDBOX_URL": url})

    assert (settings.gateway, settings.sandbox_url) == ("sandbox", url)


@pytest.mark.parametrize("gateway", ["sandbox", "evolution"])
@pytest.mark.parametrize(
    "url",
    [
        "http://evolution.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://10.0.0.1",
        "http://0.0.0.0:8080",
        "http://[::ffff:10.0.0.1]",
        "http://",
        "127.0.0.1:8080",
        "file:///etc/passwd",
    ],
)
def test_a_sandbox_anywhere_else_is_refused(gateway, url):
    faults = faults_of({"CHAT_GATEWAY": gateway, "CHAT_SANDBOX_URL": url})

    assert all("CHAT_SANDBOX_URL" in fault for fault in faults)


def test_a_sandbox_without_an_address_is_refused():
    assert "CHAT_SANDBOX_URL is not set" in only_fault({"CHAT_GATEWAY": "sandbox"})


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
