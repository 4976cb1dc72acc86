"""What ``doctor`` finds at Redis: away, silent, the wrong database, unsafe; and what a provider hides is never green."""

import time

import pytest
import redis
from deaf_servers import redis_without_select, silent_server
from doctor_runs import checks, server

from actors.doctor.checks import Status
from actors.settings import Hidden
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import ExitCode

__all__ = ["checks", "server"]

pytestmark = pytest.mark.redis


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
