"""``doctor``: what is wrong is found, said with what to do, and decides the exit code; what is hidden is never green."""

import json
import time

import pytest
import redis
from deaf_servers import redis_without_select, silent_server

import actors
from actors.doctor.backends import named_alike
from actors.doctor.checks import Round, Status, fail, make_all, ok, unknown, warn
from actors.doctor.checks import exit_code as code_of_checks
from actors.domain import Instance
from actors.settings import Hidden, Settings
from actors.stores.rows import InstanceRow
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import ExitCode
from middleware.slots import MINUTE_MS
from middleware.ticks import Ticks

pytestmark = pytest.mark.redis


@pytest.fixture
def checks(run):
    """``checks()``: make them; name → check. ``checks.code`` is how the last command ended."""

    def checks(*options):
        ran = run("doctor", "--json", *options)
        checks.code = ran.code
        checks.found = json.loads(ran.out)
        return {check["name"]: check for check in checks.found["checks"]}

    return checks


@pytest.fixture
def server(redis_server, queue_client):
    """A server whose memory limits may be spoilt: they are as before afterwards."""
    with redis_server.client(0) as client:
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")


def test_a_site_that_is_as_it_must_be_fails_nowhere(checks, site, server):
    server.config_set("maxmemory", "1gb")
    site.sign_in()
    broker = site.broker
    for middleware in broker.middleware:
        if isinstance(middleware, Ticks):
            middleware.fire(broker, "sweep_pending", broker.clock.now_ms() // MINUTE_MS * MINUTE_MS)

    found = checks()

    assert {name for name, check in found.items() if check["status"] == "fail"} == set()
    assert {name for name, check in found.items() if check["status"] == "ok"} >= {
        *("settings", "packages", "redis", "database", "isolation", "role", "eviction", "memory", "keys", "workers"),
        *("round_trip", "periodic", "store", "instances", "sentry", "neighbours"),
    }
    assert checks.code == ExitCode.OK
    assert set(checks.found) == {"status", "checks"}
    assert set(found["redis"]) == {"name", "status", "severity", "found", "why", "fix"}


def test_the_doctor_leaves_nothing_behind(checks, site, queue_client):
    checks()

    assert queue_client.dbsize() == 0


def test_whatever_is_not_ok_says_why_and_what_to_do(checks, site):
    found = checks()

    spoken = [check for check in found.values() if check["status"] in ("warn", "fail")]
    assert spoken
    assert [check["name"] for check in spoken if not (check["why"] and check["fix"])] == []


def test_a_person_reads_what_to_do_below_the_finding(run, site, server):
    server.config_set("maxmemory-policy", "allkeys-lru")

    lines = run("doctor").out.splitlines()

    at = next(index for index, line in enumerate(lines) if line.startswith("fail"))
    assert lines[at].split() == ["fail", "eviction", "allkeys-lru"]
    assert lines[at + 1].startswith("         why: a full server deletes keys of the queue")
    assert lines[at + 2].startswith('         fix: `redis-cli -u "$REDIS_URL" CONFIG SET maxmemory-policy noeviction`')


def test_without_settings_every_fault_is_listed_and_nobody_is_asked(checks, unset):
    found = checks()

    assert found["settings"]["status"] == "fail"
    assert "REDIS_URL is not set" in found["settings"]["why"]
    assert "redis" not in found
    assert checks.code == ExitCode.SETTINGS


def test_a_server_that_is_not_there_is_unavailable_and_the_rest_is_unknown(checks, site):
    site.change(redis_url=Hidden("redis://127.0.0.1:1/0"))

    found = checks()

    assert (found["redis"]["status"], checks.code) == ("fail", ExitCode.UNAVAILABLE)
    assert found["database"]["status"] == found["workers"]["status"] == "unknown"
    assert found["store"]["status"] == "ok"


def test_a_wrong_password_is_told_apart(checks, site, redis_server):
    site.change(redis_url=Hidden(f"redis://:not-it@127.0.0.1:{redis_server.port}/0"))

    assert "refuses the password" in checks()["redis"]["found"]
    assert checks.code == ExitCode.UNAVAILABLE


def test_who_never_answers_has_failed_and_what_waits_for_it_is_unknown(checks, site, monkeypatch):
    monkeypatch.setattr("actors.doctor.run.WITHIN_S", 0.5)

    found, _ = _asked_in_silence(checks, site)

    assert found["redis"]["status"] == found["gateway.evolution"]["status"] == "fail"
    assert found["workers"]["status"] == "unknown"
    assert checks.code == ExitCode.UNAVAILABLE


@pytest.mark.slow
def test_where_nobody_ever_answers_it_takes_less_than_ten_seconds(checks, site):
    _, took_s = _asked_in_silence(checks, site)

    assert took_s < 10
    assert checks.code == ExitCode.UNAVAILABLE


def _asked_in_silence(checks, site):
    with silent_server() as port:
        gateway = {"evolution_url": f"http://127.0.0.1:{port}", "evolution_api_key": Hidden("k")}
        site.change(redis_url=Hidden(f"redis://127.0.0.1:{port}/0"), **gateway)
        began_s = time.monotonic()
        return checks(), time.monotonic() - began_s


def test_a_server_that_ignores_select_is_the_wrong_database(checks, site, redis_server):
    with redis_without_select(redis_server.port) as port:
        site.change(redis_url=Hidden(f"redis://:{redis_server.password}@127.0.0.1:{port}/0"))

        found = checks()

    assert "a live connection is on database 0, not 2" in found["database"]["found"]
    assert checks.code == ExitCode.WRONG_DATABASE


def test_databases_that_are_one_and_the_same_are_found_by_looking(site, redis_server):
    from actors.doctor.connection import Probe, isolated

    with redis_without_select(redis_server.port) as port:
        site.change(redis_url=Hidden(f"redis://:{redis_server.password}@127.0.0.1:{port}/0"))
        with Probe(site.settings) as probe:
            found = isolated(probe)

    assert found.status is Status.FAIL
    assert "shows in database 0" in found.found
    assert found.exit_code is ExitCode.WRONG_DATABASE


def test_a_server_with_one_database_is_the_wrong_one(checks, site):
    with EmbeddedRedis(options={"databases": "1"}) as small:
        site.change(redis_url=Hidden(small.url(0)))

        found = checks()

    assert found["database"]["found"] == "SELECT 2 is refused: DB index is out of range"
    assert checks.code == ExitCode.WRONG_DATABASE


@pytest.mark.parametrize(
    ("policy", "status", "code"),
    [
        ("allkeys-lru", "fail", ExitCode.UNSAFE),
        ("allkeys-random", "fail", ExitCode.UNSAFE),
        ("volatile-ttl", "warn", 0),
    ],
)
def test_a_policy_that_may_delete_the_queue_is_refused(checks, site, server, policy, status, code):
    server.config_set("maxmemory-policy", policy)

    assert checks()["eviction"]["status"] == status
    assert checks.code == code


def test_a_full_server_fails_and_a_crowded_one_warns(checks, site):
    # One of its own: what other tests left on theirs may be freed between two looks.
    with EmbeddedRedis() as own, own.client(0) as server:
        site.change(redis_url=Hidden(own.url(0)))
        # What a doctor's own connections and scripts take must not count beside it. Made by the server: a value that is sent
        # counts twice, until Redis lets go of the buffer that it came in.
        server.setrange("ballast", 16_000_000, b"x")
        used = server.info("memory")["used_memory"]
        server.config_set("maxmemory", int(used / 0.8))
        assert checks()["memory"]["status"] == "warn"

        server.config_set("maxmemory", int(used / 0.97))
        assert checks()["memory"]["status"] == "fail"
        assert checks.code != ExitCode.OK


def test_a_server_without_a_file_is_warned_of_and_one_with_is_not(checks, site, server):
    assert (checks()["persistence"]["status"], checks()["persistence"]["found"]) == ("warn", "nothing is written")

    with EmbeddedRedis(persist=True) as durable:
        site.change(redis_url=Hidden(durable.url(0)))
        assert checks()["persistence"]["status"] == "ok"


def test_a_replica_is_refused(checks, site, redis_server):
    options = {"replicaof": f"127.0.0.1 {redis_server.port}", "masterauth": redis_server.password}
    with EmbeddedRedis(options=options) as replica:
        site.change(redis_url=Hidden(replica.url(0)))

        found = checks()

    assert (found["role"]["status"], found["role"]["found"]) == ("fail", "a replica")
    assert found["isolation"]["found"] == "Redis refuses to write: READONLY"
    assert checks.code == ExitCode.UNSAFE


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda client, key: client.rpush(key, '{"message_id": "7"}'),
            "entries that are no ids: chat:queue:send_message",
        ),
        (lambda client, key: client.set(key, "x"), "wrong type: chat:queue:send_message is a string, not a list"),
        (lambda client, key: client.rpush(f"{key}.dead", "x"), "chat:queue:send_message.dead is a list, not a zset"),
    ],
)
def test_somebody_elses_data_under_our_names_is_found(checks, site, queue_client, spoil, said):
    spoil(queue_client, "chat:queue:send_message")

    found = checks()

    assert found["keys"]["status"] == "fail"
    assert said in found["keys"]["found"]
    assert checks.code == ExitCode.UNSAFE


def test_messages_that_nobody_serves_fail_and_an_empty_queue_only_warns(checks, site):
    assert checks()["workers"]["status"] == "warn"
    actors.send_message.send(site.say("m1"))
    site.sign_in("fetch_profile_pic")

    found = checks()["workers"]

    assert found["status"] == "fail"
    assert "send_message has 1 unfinished" in found["found"]
    assert checks.code == ExitCode.FAILED


def test_what_a_provider_hides_is_unknown_and_never_ok(checks, site, redis_server):
    with redis_server.client(0) as admin:
        admin.execute_command(
            *("ACL", "SETUSER", "shy", "reset", "on", ">shy", "~*", "+@all", "-info", "-config"),
            *("-client", "+client|setname"),
        )
        try:
            site.change(redis_url=Hidden(f"redis://shy:shy@127.0.0.1:{redis_server.port}/0"))
            found = checks()
        finally:
            admin.execute_command("ACL", "DELUSER", "shy")

    hidden = ("database", "version", "role", "eviction", "memory", "persistence", "disk", "evicted", "connections")
    assert {name: found[name]["status"] for name in hidden} == dict.fromkeys(hidden, "unknown")
    assert found["isolation"]["status"] == "ok"
    assert (checks.found["status"], checks.code) == ("warn", ExitCode.OK)


def test_a_provider_that_has_no_config_and_no_slowlog_hides_what_they_say(checks, site):
    options = {"rename-command CONFIG": '""', "rename-command SLOWLOG": '""', "maxmemory": "1gb"}
    with EmbeddedRedis(options=options, persist=True) as managed:
        site.change(redis_url=Hidden(managed.url(0)))
        found = checks()

    hidden = (
        "fsync",
        "client_buffers",
        "idle_timeout",
        "script_limit",
        "lazy_flush",
        "keyspace_events",
        "slow_commands",
    )
    assert {name: found[name]["status"] for name in hidden} == dict.fromkeys(hidden, "unknown")
    seen = ("database", "isolation", "role", "eviction", "memory", "persistence", "round_trip", "connections")
    assert {name: found[name]["status"] for name in seen} == dict.fromkeys(seen, "ok")
    assert found["slow_commands"]["found"] == "Redis refuses to say: no such command"


def test_strict_fails_on_what_is_only_warned_of(checks, site):
    checks("--strict")

    assert checks.found["status"] == "warn"
    assert checks.code == ExitCode.FAILED


def test_a_gateway_that_is_down_fails_with_its_own_words(checks, site):
    site.change(evolution_url="http://127.0.0.1:1", evolution_api_key=Hidden("k"))

    found = checks()["gateway.evolution"]

    assert found["status"] == "fail"
    assert "http://127.0.0.1" not in found["found"]
    assert checks.code == ExitCode.UNAVAILABLE


def test_the_cloud_api_is_asked_with_the_default_token(checks, site, sandbox):
    site.change(whatsapp_cloud_url=sandbox.url, whatsapp_cloud_token=Hidden(sandbox.apikey))

    found = checks()["gateway.whatsapp_cloud"]

    assert (found["status"], found["found"]) == ("ok", "the Cloud API at 127.0.0.1 takes the default token")


def test_an_expired_token_of_the_cloud_api_fails_and_is_not_shown(checks, site, sandbox):
    site.change(whatsapp_cloud_url=sandbox.url, whatsapp_cloud_token=Hidden("expired-token"))

    found = checks()["gateway.whatsapp_cloud"]

    assert found["status"] == "fail"
    assert "code 190" in found["found"]
    assert "expired-token" not in str(found)


def test_without_a_default_token_every_number_brings_its_own(checks, site):
    site.change(gateway="whatsapp_cloud")

    assert checks()["gateway.whatsapp_cloud"]["status"] == "unknown"


def test_the_sandbox_replaces_every_gateway(checks, site, sandbox):
    site.change(
        gateway="sandbox", sandbox_url=sandbox.url, evolution_url="http://127.0.0.1:1", evolution_api_key=Hidden("k")
    )

    found = checks()

    assert found["gateway.sandbox"]["status"] == "ok"
    assert [name for name in found if name.startswith("gateway.")] == ["gateway.sandbox"]


def test_a_store_that_fails_says_no_foreign_text(checks, site, monkeypatch):
    def break_(message_id):
        raise RuntimeError("a row with a secret in it")

    monkeypatch.setattr(site.store, "attempts", break_)

    found = checks()["store"]

    assert (found["status"], found["found"]) == ("fail", "it failed with RuntimeError")
    assert checks.code == ExitCode.UNAVAILABLE


OURS = {"tenant_id": "t1", "base_url": "http://evo-1", "api_key": "k"}


@pytest.mark.parametrize(
    ("others", "alike"),
    [
        ([], []),
        # One number that two tenants may use.
        ([Instance(name="sales", **{**OURS, "tenant_id": "t2"})], []),
        ([Instance(name="sales", **{**OURS, "base_url": "http://evo-1/"})], []),
        ([Instance(name="sales", **{**OURS, "base_url": "http://evo-2"})], ["sales"]),
        ([Instance(name="sales", tenant_id="t2")], ["sales"]),
        ([Instance(name="sales", backend="whatsapp_cloud", phone_number_id="1")], ["sales"]),
        ([Instance(name="support", **{**OURS, "base_url": "http://evo-2"})], []),
    ],
)
def test_numbers_that_share_a_name_share_their_trouble(others, alike):
    settings = Settings(evolution_url="http://evo-9")

    assert named_alike([Instance(name="sales", **OURS), *others], settings) == alike


def test_numbers_that_share_a_name_are_warned_of(checks, site):
    for number in (1, 2):
        row = InstanceRow(
            instance_name="5511988887777", tenant_id=f"t{number}", api_key="k", api_url=f"http://evo-{number}"
        )
        site.store.add(row)

    found = checks()["instances"]

    assert (found["status"], checks.code) == ("warn", ExitCode.OK)
    assert "5511988887777" not in str(found)


def test_a_misspelt_variable_is_warned_of_and_a_hosts_own_is_not(checks, site, monkeypatch):
    monkeypatch.setenv("CHAT_LEASE_MSS", "1")
    monkeypatch.setenv("CHAT_WIDGET_COLOUR", "red")

    found = checks()["names"]

    assert (found["status"], found["found"]) == ("warn", "CHAT_LEASE_MSS (is CHAT_LEASE_MS meant?)")


def test_another_package_called_middleware_is_a_failure(checks, site, monkeypatch, tmp_path):
    (tmp_path / "middleware").mkdir()
    (tmp_path / "middleware" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)

    assert checks()["packages"]["status"] == "fail"


def test_dramatiqs_own_sentry_integration_is_a_failure(checks, site, monkeypatch):
    from dramatiq import Middleware

    stock = type("SentryMiddleware", (Middleware,), {"__module__": "sentry_sdk.integrations.dramatiq"})
    monkeypatch.setattr(site.broker, "middleware", [*site.broker.middleware, stock()])

    assert checks()["sentry"]["status"] == "fail"


def test_a_cache_on_the_queues_database_is_refused_and_sockets_there_fail(checks, site, redis_server, monkeypatch):
    from django.conf import settings

    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://localhost:{redis_server.port}/2"}
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [redis_server.url(2)]}}
    monkeypatch.setattr(settings, "CHANNEL_LAYERS", {"default": layer}, raising=False)
    only_sockets = checks()["neighbours"]
    monkeypatch.setattr(settings, "CACHES", {"default": cache})

    both = checks()["neighbours"]

    assert (only_sockets["severity"], both["severity"]) == ("error", "critical")
    assert both["found"].startswith("CACHES['default'], CHANNEL_LAYERS['default'] is on database 2")
    assert redis_server.password not in str(both)
    assert checks.code == ExitCode.UNSAFE


@pytest.mark.parametrize(
    ("scheduler", "status"), [("apscheduler", "ok"), ("periodiq", "ok"), ("none", "warn"), ("not-registered", "fail")]
)
def test_the_scheduler_must_be_installed(checks, site, scheduler, status):
    site.change(scheduler=scheduler)

    assert checks()["scheduler"]["status"] == status


def test_the_first_check_that_failed_decides_the_exit_code():
    first = fail("a", "x", why="w", fix="f", exit_code=ExitCode.UNAVAILABLE)
    second = fail("b", "x", why="w", fix="f", exit_code=ExitCode.UNSAFE)

    assert code_of_checks([ok("o", "x"), first, second], strict=False) is ExitCode.UNAVAILABLE
    assert code_of_checks([warn("a", "x", why="w", fix="f")], strict=False) is ExitCode.OK
    assert code_of_checks([unknown("a", "x")], strict=True) is ExitCode.FAILED


def test_a_check_that_hangs_or_breaks_hides_no_other():
    from threading import Event

    def hang():
        yield ok("first", "x")
        Event().wait(30)
        yield ok("second", "x")

    def break_():
        raise RuntimeError("x")
        yield

    found = make_all(
        [
            Round(("first", "second"), hang),
            Round(("third",), break_),
            Round(("fourth",), lambda: iter([ok("fourth", "x")])),
        ],
        within_s=0.3,
    )

    assert [(check.name, check.status.value) for check in found] == [
        *(("first", "ok"), ("second", "fail"), ("third", "unknown"), ("fourth", "ok"))
    ]


def test_a_client_that_redis_stops_answering_is_asked_only_once_more(site):
    from actors.doctor.connection import Probe

    asked = []

    def silent(probe):
        asked.append(probe)
        raise redis.TimeoutError

    with Probe(site.settings) as probe:
        statuses = [probe.ask("version", silent).status, probe.ask("role", silent).status]

    assert statuses == [Status.UNKNOWN, Status.UNKNOWN]
    assert len(asked) == 1
