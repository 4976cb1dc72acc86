"""Settings that are wrong: each is refused with its name and the way out, all of them at once."""

import re

import pytest

from actors.errors import SettingsError
from actors.settings import Settings


def faults_of(environ=None, django=None):
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ or {}, django)
    return caught.value.faults


def only_fault(environ=None, django=None):
    (fault,) = faults_of(environ, django)
    return fault


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
