"""``doctor``: what is wrong is found, said with what to do, and decides the exit code."""

import pytest
from doctor_runs import checks, server

import actors
from actors.doctor.backends import named_alike
from actors.doctor.checks import Round, fail, make_all, ok, unknown, warn
from actors.doctor.checks import exit_code as code_of_checks
from actors.domain import Instance
from actors.settings import Hidden, Settings
from actors.stores.rows import InstanceRow
from middleware.errors import ExitCode
from middleware.slots import MINUTE_MS
from middleware.ticks import Ticks

__all__ = ["checks", "server"]

pytestmark = pytest.mark.redis


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


def test_messages_that_nobody_serves_fail_and_an_empty_queue_only_warns(checks, site):
    assert checks()["workers"]["status"] == "warn"
    actors.send_message.send(site.say("m1"))
    site.sign_in("fetch_profile_pic")

    found = checks()["workers"]

    assert found["status"] == "fail"
    assert "send_message has 1 unfinished" in found["found"]
    assert checks.code == ExitCode.FAILED


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
