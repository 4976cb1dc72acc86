"""Whole stack to a real Sentry sink: one event per dead letter, one trace from the request to the gateway, no more than that."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from flow_world import PHONE, TEXTS, Change, World, working
from sandbox_fixture import Sandbox
from sentry_sink import Sink
from waiting import until

import actors
from actors import services, wiring
from actors.reporting import start_sentry
from actors.schedule import PERIODIC_ACTORS
from actors.schedulers.base import watch_in_sentry
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock
from middleware.sentry_crons import SentryCrons
from middleware.ticks import Ticks

pytestmark = pytest.mark.redis

TESTS = Path(__file__).parents[1]
TEXT, KEY = "texto secreto", "-".join(("sk", "very", "secret"))
UNAVAILABLE = {"type": "status", "preset": "nginx_503"}


@pytest.fixture
def own_client(world: World, change: Change, sink: Sink) -> None:
    """A worker whose host has no Sentry: ours, started from the settings."""
    change(
        max_attempts=3,
        backoff_base_ms=10,
        backoff_cap_ms=20,
        sentry_dsn=sink.dsn,
        sentry_environment="staging",
        sentry_release="chat@7",
    )
    start_sentry(services.get())


@pytest.fixture
def host_client(world: World, change: Change, sink: Sink, generous_host: Any) -> None:
    """A worker whose host has initialised Sentry; our DSN must then be of no use."""
    change(max_attempts=3, backoff_base_ms=10, backoff_cap_ms=20, sentry_dsn="http://public@127.0.0.1:9/2")
    generous_host()
    client = sentry_sdk.get_client()
    start_sentry(services.get())
    assert sentry_sdk.get_client() is client


def fail_for_good(world: World, id_: str = "m1") -> str:
    """Job id of a chat message that was given up after its attempts."""
    world.sandbox.admin.add_fault(UNAVAILABLE, match=TEXTS)
    sent = actors.send_message.send(world.say(id_, TEXT))
    with working():
        until(lambda: world.status(id_) == "failed", within_ms=10_000)
        until(lambda: not _unannounced(), within_ms=5_000)
    return sent.message_id


def _unannounced() -> int:
    return int(actors.broker.client.zcard("chat:queue:send_message.dead.unannounced"))


def test_three_failed_attempts_are_one_event_with_release_and_environment(world, own_client, sink):
    job_id = fail_for_good(world)
    sink.wait(sink.events)

    [event] = sink.events()
    tags = event["tags"]
    assert (tags["actor"], tags["queue"], tags["instance"]) == ("send_message", "send_message", "i1")
    assert (tags["attempt"], tags["reason"], tags["job_id"]) == ("3", "attempts_exhausted", job_id)
    assert event["fingerprint"] == ["send_message", event["exception"]["values"][0]["type"]]
    assert (event["environment"], event["release"]) == ("staging", "chat@7")
    assert [word for word in (PHONE[1:], TEXT, world.sandbox.apikey) if word in sink.bytes()] == []


def test_a_host_that_sends_everything_gets_no_more_than_that(world, host_client, sink):
    fail_for_good(world)
    sink.wait(sink.events)

    [event] = sink.events()
    assert (event["environment"], event["release"]) == ("test", "host@1")
    assert [word for word in (PHONE[1:], TEXT, world.sandbox.apikey) if word in sink.bytes()] == []
    # One trace of three runs: the send was outside of any, so it is the client's own.
    runs = [one for one in sink.transactions() if one["transaction"] == "send_message"]
    assert [run["contexts"]["trace"]["status"] for run in runs] == ["internal_error"] * 3
    assert {run["contexts"]["trace"]["trace_id"] for run in runs} == {event["contexts"]["trace"]["trace_id"]}


def test_letters_of_one_actor_and_error_class_are_one_issue(world, own_client, sink):
    for number in (1, 2):
        fail_for_good(world, f"m{number}")
    sink.wait(lambda: len(sink.events()) == 2)

    assert len({tuple(event["fingerprint"]) for event in sink.events()}) == 1
    assert len({event["event_id"] for event in sink.events()}) == 2


def test_a_message_that_went_to_somebody_else_is_its_letter_and_nothing_from_the_log(world, host_client, sink):
    world.sandbox.admin.add_fault(
        {"type": "wrong_jid", "jid": "5511900000000@s.whatsapp.net"}, match={"op": ["sendText"]}
    )
    actors.send_message.send(world.say("m1", TEXT))
    with working():
        until(world.letters, within_ms=10_000)
        until(lambda: not _unannounced(), within_ms=5_000)
        actors.check_alerts.send()
        until(lambda: _done("housekeeping"), within_ms=5_000)
        actors.check_alerts.send()
        until(lambda: _done("housekeeping") == 2, within_ms=5_000)
    sink.wait(lambda: len(sink.events()) >= 2)

    letter, alert = sorted(sink.events(), key=lambda event: event["logger"], reverse=True)
    assert (letter["logger"], letter["tags"]["reason"]) == ("dead_letter", "recipient_mismatch")
    assert (alert["logger"], alert["tags"]["alert"], alert["level"]) == ("alert", "recipient_mismatch", "error")
    assert "5511900000000" not in sink.bytes()


def _done(queue: str) -> int:
    return actors.broker.transitions.stats([queue])[0].counters.get("done", 0)


def test_every_periodic_actor_checks_in_with_its_schedule(world, change, host_client, sink, tmp_path):
    change(scheduler="none", backup_dir=str(tmp_path))
    watch_in_sentry(actors.broker, services.get().settings)
    ticks = next(one for one in wiring.broker.middleware if isinstance(one, Ticks))
    slot_ms = SystemClock().now_ms() // 60_000 * 60_000
    for name in PERIODIC_ACTORS:
        ticks.fire(actors.broker, name, slot_ms)
    with working():
        until(lambda: _done("housekeeping") == len(PERIODIC_ACTORS), within_ms=10_000)
    sink.wait(lambda: len(sink.check_ins()) == 2 * len(PERIODIC_ACTORS))

    by_slug: dict[str, list[str]] = {}
    for one in sink.check_ins():
        by_slug.setdefault(one["monitor_slug"], []).append(one["status"])
        assert one["monitor_config"]["schedule"]["type"] == "crontab"
    slugs = [f"chat-actors-{name.replace('_', '-')}" for name in PERIODIC_ACTORS]
    assert {slug: sorted(said) for slug, said in by_slug.items()} == {slug: ["in_progress", "ok"] for slug in slugs}


def test_nobody_is_told_that_backups_went_well_where_none_are_made(world, change, host_client, sink):
    change(backup_dir=None)
    watch_in_sentry(actors.broker, services.get().settings)
    crons = next(one for one in wiring.broker.middleware if isinstance(one, SentryCrons))

    crons._check_in("backup_queues", "j", "ok")
    crons._check_in("sweep_pending", "j", "ok")
    sink.wait(lambda: len(sink.check_ins()) >= 1)

    assert [one["monitor_slug"] for one in sink.check_ins()] == ["chat-actors-sweep-pending"]


def test_check_ins_can_be_switched_off(world, change, host_client, sink):
    change(sentry_crons=False)
    watch_in_sentry(actors.broker, services.get().settings)
    crons = next(one for one in wiring.broker.middleware if isinstance(one, SentryCrons))

    crons._check_in("sweep_pending", "j", "ok")
    sentry_sdk.get_client().flush(timeout=1)

    assert sink.check_ins() == []


# -- from the browser to the gateway -------------------------------------------------------------------------------


@pytest.fixture
def host_run(
    redis_server: EmbeddedRedis, queue_client: Any, sandbox: Sandbox, sink: Sink, tmp_path: Path
) -> dict[str, Any]:
    """What a whole host did in a process of its own: two requests, a failed attempt and two deliveries."""
    sandbox.admin.add_fault(UNAVAILABLE, match=TEXTS, trigger={"next": 1})
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS, TESTS / "project"))),
        "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        "CHATSITE_DATABASE": str(tmp_path / "host.sqlite3"),
        "REDIS_URL": redis_server.url(0),
        "CHAT_GATEWAY": "sandbox",
        "CHAT_SANDBOX_URL": sandbox.url,
        "CHAT_SCHEDULER": "none",
        "CHAT_METRICS_PORT": "0",
        "CHAT_BACKOFF_BASE_MS": "10",
        "CHAT_BACKOFF_CAP_MS": "20",
        "SINK_DSN": sink.dsn,
        "SANDBOX": sandbox.url,
        "KEY": sandbox.apikey,
        "PHONE": PHONE,
        "TEXT": TEXT,
    }
    command = [sys.executable, str(TESTS / "sentry_host.py")]
    done = subprocess.run(
        command, cwd=TESTS.parent, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def spans(transaction: dict[str, Any], op: str) -> list[dict[str, Any]]:
    return [span for span in transaction["spans"] if span["op"] == op]


def test_one_trace_leads_from_the_request_through_a_retry_to_the_gateway_and_says_nothing_private(
    host_run, sink, sandbox
):
    until(lambda: len(sink.transactions()) == 5, within_ms=5_000)

    assert host_run["statuses"] == ["sent", "sent"]
    requests = [one for one in sink.transactions() if one["contexts"]["trace"]["op"] == "http.server"]
    runs = [one for one in sink.transactions() if one["contexts"]["trace"]["op"] == "queue.task"]
    assert (len(requests), len(runs)) == (2, 3)
    for request in requests:
        [publish] = spans(request, "queue.publish")
        followed = [run for run in runs if run["contexts"]["trace"]["trace_id"] == publish["trace_id"]]
        assert {run["contexts"]["trace"]["parent_span_id"] for run in followed} == {publish["span_id"]}
        processed = [span for run in followed for span in spans(run, "queue.process")]
        assert {span["data"]["messaging.message.id"] for span in processed} == {publish["data"]["messaging.message.id"]}
        assert {span["data"]["messaging.destination.name"] for span in processed} == {"send_message"}
        assert all(0 <= span["data"]["messaging.message.receive.latency"] < 60_000 for span in processed)
        assert sorted(span["data"]["messaging.message.retry.count"] for span in processed) == [*range(len(followed))]
        calls = [span for run in followed for span in spans(run, "http.client")]
        assert calls[-1]["data"]["http.request.method"] == "POST"
        assert {call["trace_id"] for call in calls} == {publish["trace_id"]}
    statuses = [span["data"]["http.response.status_code"] for run in runs for span in spans(run, "http.client")]
    assert statuses.count(503) == 1
    assert [one for one in sink.events() if one["level"] == "error"] == []
    # The requests are the host's own, and it has said that their bodies stay.
    assert [word for word in (PHONE[1:], TEXT, sandbox.apikey) if word in sink.bytes()] == []
    queries = {span["description"] for run in runs for span in spans(run, "db")}
    assert {"SELECT", "UPDATE"} <= queries
    assert all(query == "" or query.isupper() for query in queries)
