"""System checks find what would stop or lose messages, and say what to do."""

import pytest
import redis.asyncio
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError

from actors.django_app import check_neighbours
from actors.django_app.checks import check_chat_actors


@pytest.fixture
def found(settings, monkeypatch):
    """``found(CHAT_ACTORS={…}, CACHES={…})`` → ids and errors of the checks."""

    # A redis-py that waits: what another does is a check of its own.
    monkeypatch.setattr(check_neighbours, "_default_s", lambda: None)

    def check(**values: object):
        for name, value in values.items():
            setattr(settings, name, value)
        return {error.id.removeprefix("chat_actors."): error for error in check_chat_actors(None)}

    return check


REDIS = {"REDIS_URL": "redis://:hunter2@10.0.0.5:6379/0"}


def _cache(location, **options):
    backend = "django.core.cache.backends.redis.RedisCache"
    return {"default": {"BACKEND": backend, "LOCATION": location, "OPTIONS": options}}


def _layer(*hosts):
    return {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": list(hosts)}}}


def test_the_demo_project_has_nothing_to_mend(found):
    assert found() == {}
    call_command("check")


def test_every_fault_of_the_settings_is_an_error_of_its_own(settings):
    settings.CHAT_ACTORS = {"BROKR": "redis", "LEASE_MS": 1}

    errors = check_chat_actors(None)

    assert [error.id for error in errors] == ["chat_actors.E001"] * 2
    assert any("did you mean 'BROKER'" in error.msg for error in errors)


def test_a_model_that_does_not_exist_is_named(found):
    errors = found(CHAT_ACTORS={"MODELS": {"message": "chat.Letter"}})

    assert "'chat.Letter' (message) does not exist" in errors["E002"].msg
    assert "CHAT_ACTORS['MODELS']['message']" in errors["E002"].hint


def test_a_field_that_does_not_exist_is_named(found):
    errors = found(CHAT_ACTORS={"FIELD_MAP": {"message": {"content": "body"}}})

    assert "chat.Message (message) has no usable field 'body'" in errors["E003"].msg
    assert "CHAT_ACTORS['FIELD_MAP']['message']['content']" in errors["E003"].hint


def test_models_are_not_looked_at_where_the_store_is_another(found):
    assert (
        found(CHAT_ACTORS={"STORE": "sqlite", "SQLITE_PATH": "chats.sqlite3", "MODELS": {"message": "chat.Letter"}})
        == {}
    )


@pytest.mark.parametrize(
    "location",
    [
        "redis://10.0.0.5:6379/2",
        "redis://10.0.0.5/2",
        "redis://other:secret@10.0.0.5:6379/?db=2",
        ["redis://10.0.0.6:6379/0", "redis://10.0.0.5:6379/2"],
        "redis://10.0.0.6:6379/0,redis://10.0.0.5:6379/2",
    ],
)
def test_a_cache_on_the_queues_database_is_an_error(found, location):
    errors = found(CHAT_ACTORS=REDIS, CACHES=_cache(location))

    assert list(errors) == ["E004"]
    assert "cache.clear()" in errors["E004"].hint
    assert "hunter2" not in str(errors["E004"])
    assert "secret" not in str(errors["E004"])


def test_the_database_of_a_cache_may_stand_in_its_options(found):
    assert list(found(CHAT_ACTORS=REDIS, CACHES=_cache("redis://10.0.0.5:6379", db=2))) == ["E004"]
    assert found(CHAT_ACTORS=REDIS, CACHES=_cache("redis://10.0.0.5:6379/0", db=2)) == {}


@pytest.mark.parametrize(
    "location", ["redis://10.0.0.5:6379/0", "redis://10.0.0.6:6379/2", "redis://10.0.0.5:6380/2", "unusable", ""]
)
def test_a_cache_elsewhere_is_none_of_ours(found, location):
    assert found(CHAT_ACTORS=REDIS, CACHES=_cache(location)) == {}


def test_names_of_this_machine_are_one_machine(found):
    local = {"REDIS_URL": "redis://localhost:6379"}

    assert list(found(CHAT_ACTORS=local, CACHES=_cache("redis://127.0.0.1:6379/2"))) == ["E004"]
    assert list(found(CHAT_ACTORS=local, CACHES=_cache("redis://[::1]/2"))) == ["E004"]


def test_a_socket_is_a_place_too(found):
    local = {"REDIS_URL": "unix:///run/redis.sock"}

    assert list(found(CHAT_ACTORS=local, CACHES=_cache("unix:///run/redis.sock?db=2"))) == ["E004"]
    assert found(CHAT_ACTORS=local, CACHES=_cache("unix:///run/redis.sock?db=0")) == {}


def test_another_database_of_ours_is_compared_with(found):
    moved = {**REDIS, "QUEUE_DB": 7}

    assert found(CHAT_ACTORS=moved, CACHES=_cache("redis://10.0.0.5:6379/2")) == {}
    assert list(found(CHAT_ACTORS=moved, CACHES=_cache("redis://10.0.0.5:6379/7"))) == ["E004"]


@pytest.mark.parametrize(
    "host",
    [
        "redis://10.0.0.5:6379/2",
        {"address": "redis://10.0.0.5:6379/2"},
        {"address": "redis://10.0.0.5:6379", "db": 2},
        {"host": "10.0.0.5", "port": 6379, "db": 2},
    ],
)
def test_a_channel_layer_on_the_queues_database_is_an_error(found, host):
    assert list(found(CHAT_ACTORS=REDIS, CHANNEL_LAYERS=_layer(host))) == ["E005"]


@pytest.mark.parametrize("host", [("10.0.0.5", 6379), "redis://10.0.0.5:6379/1", {"sentinels": []}])
def test_a_channel_layer_elsewhere_is_none_of_ours(found, host):
    assert found(CHAT_ACTORS=REDIS, CHANNEL_LAYERS=_layer(host)) == {}


URL = "redis://10.0.0.5:6379/1"


@pytest.mark.parametrize(
    ("default_s", "hosts", "ids"),
    [
        (5, [URL], ["W009"]),
        (5, [("10.0.0.5", 6379)], ["W009"]),
        (5, [{"host": "10.0.0.5"}], ["W009"]),
        (5, [], ["W009"]),
        (5, [{"address": URL, "socket_timeout": 15}, URL], ["W009"]),
        (5, [{"address": URL, "socket_timeout": 15}], []),
        (5, [{"address": URL, "socket_timeout": None}], []),
        (5, [f"{URL}?socket_timeout=15"], []),
        (5, [{"address": f"{URL}?socket_timeout=2", "socket_timeout": 15}], ["W009"]),
        (None, [URL], []),
        (None, [{"address": URL, "socket_timeout": 2}], ["W009"]),
    ],
)
def test_sockets_that_are_cut_while_nothing_happens_are_warned_of(found, monkeypatch, default_s, hosts, ids):
    monkeypatch.setattr(check_neighbours, "_default_s", lambda: default_s)

    assert list(found(CHAT_ACTORS=REDIS, CHANNEL_LAYERS=_layer(*hosts))) == ids


def test_a_layer_that_waits_otherwise_is_not_warned_of(found, monkeypatch):
    monkeypatch.setattr(check_neighbours, "_default_s", lambda: 5)
    layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [URL]}}

    assert found(CHANNEL_LAYERS={"default": layer}) == {}


def test_what_redis_py_does_by_itself_is_known():
    pool = redis.asyncio.ConnectionPool.from_url(URL)

    assert check_neighbours._default_s() == pool.make_connection().socket_timeout


def test_a_project_without_redis_is_not_checked_for_neighbours(found):
    assert found(CHAT_ACTORS={}, CACHES=_cache("redis://10.0.0.5:6379/2")) == {}


def test_the_checks_run_with_djangos_own(settings):
    settings.CHAT_ACTORS = {"MODELS": {"message": "chat.Letter"}}

    with pytest.raises((SystemCheckError, CommandError), match=r"chat_actors\.E002"):
        call_command("check")


LAYER = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.mark.parametrize(
    ("chat_actors", "layers", "ids"),
    [
        ({"BROADCAST": True}, LAYER, []),
        ({"BROADCAST": False}, {}, []),
        ({}, {}, []),
        ({"BROADCAST": True}, {}, ["E006"]),
        ({"BROADCAST": True, "BROADCAST_SERIALIZER": "chat.models.Message"}, LAYER, []),
        ({"BROADCAST": True, "BROADCAST_SERIALIZER": "chat.models.Letter"}, LAYER, ["E006"]),
    ],
)
def test_a_broadcast_that_reaches_nobody_is_an_error(found, chat_actors, layers, ids):
    assert list(found(CHAT_ACTORS=chat_actors, CHANNEL_LAYERS=layers)) == ids


def test_a_broadcast_without_channels_names_what_to_install(found, monkeypatch):
    monkeypatch.setattr("actors.django_app.checks.find_spec", lambda name: None)

    errors = found(CHAT_ACTORS={"BROADCAST": True}, CHANNEL_LAYERS=LAYER)

    assert "chat-actors[channels]" in errors["E006"].hint
