"""The broker and its Redis: what an idle worker asks, and what becomes of work when it is away, full, restarted or wrong."""

import socket
from contextlib import closing
from dataclasses import replace
from typing import Any

import dramatiq
import pytest
from broker_world import OPTIONS, declare, working
from dramatiq import Worker
from dramatiq.middleware import CurrentMessage
from waiting import until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.errors import ExitCode, QueueFull, QueueUnavailable, Refusal

pytestmark = pytest.mark.redis


def test_an_idle_process_asks_redis_for_less_than_one_thing_a_second(make_broker, queue_client):
    broker = make_broker(options=replace(OPTIONS, lease_ms=15_000))
    for number in range(6):
        dramatiq.actor(broker=broker, queue_name=f"q{number}", actor_name=f"a{number}")(lambda: None)

    def asked() -> tuple[int, int]:
        """Waits, and all that was asked. A script's own commands are counted too; a process asks by EVALSHA and BLPOP."""
        calls = queue_client.info("commandstats")
        waits, scripts = (calls.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("blpop", "evalsha"))
        return waits, waits + scripts

    with working(broker):
        counts = [(0, -1)]
        # Booted: nothing was asked between two looks.
        until(lambda: counts.append(asked()) or counts[-1] == counts[-2], within_ms=5_000, poll_ms=300)
        # From the end of a wait to the end of a later one: so both ends cut the same thing.
        waits, _ = counts[-1]
        first = until(lambda: (now := asked())[0] > waits and now, within_ms=10_000)
        first_ms = broker.clock.boot_ms()
        last = until(lambda: (now := asked())[0] > first[0] and now, within_ms=10_000)
        idle_s = (broker.clock.boot_ms() - first_ms) / 1000

    # A wait and the fetch behind it each five seconds, a round of care each two: of these three fit in when one is at the edge.
    assert idle_s > 4.5
    assert 3 <= last[1] - first[1] <= idle_s + 1


def test_sending_to_a_silent_redis_fails_in_time_and_says_so(make_broker):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        broker = make_broker(url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        actor = declare(broker, lambda: None, actor_name="note")
        began_ms = broker.clock.boot_ms()
        with pytest.raises(QueueUnavailable, match="chat-actors doctor"):
            actor.send()

    # Within 5 s on a quiet machine: tests/flows/test_figures.py.
    assert broker.clock.boot_ms() - began_ms <= 15_000


def test_sending_to_a_closed_port_fails_at_once(make_broker):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    broker = make_broker(url=f"redis://127.0.0.1:{port}/0")

    with pytest.raises(QueueUnavailable, match="Redis did not answer while enqueueing"):
        declare(broker, lambda: None, actor_name="note").send()


def test_a_full_redis_refuses_new_messages_and_still_drains(make_broker, queue_client):
    if int(queue_client.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("draining a full Redis is promised from version 7 on")
    broker, ran = make_broker(), []
    actor = declare(broker, lambda: ran.append(1), actor_name="note")
    for _ in range(20):
        actor.send()
    queue_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueFull, match="maxmemory"):
            actor.send()
        with working(broker):
            until(lambda: len(ran) == 20 and broker.do_qsize("work") == 0, within_ms=5_000)
    finally:
        queue_client.config_set("maxmemory", 0)


def test_a_worker_goes_on_when_redis_was_restarted(tmp_path):
    ran = []
    with EmbeddedRedis(directory=tmp_path, persist=True) as server:
        broker = CarrierBroker(
            connect=lambda: kwargs_for_db(server.url(0), 2), options=lambda: OPTIONS, middleware=[CurrentMessage()]
        )
        actor = declare(broker, lambda: ran.append(1), actor_name="note")
        with closing(broker), working(broker):
            actor.send()
            until(lambda: len(ran) == 1, within_ms=5_000)
            server.stop()
            server.start()
            until(lambda: _sent(actor), within_ms=10_000)
            until(lambda: len(ran) == 2, within_ms=10_000)


def _sent(actor: dramatiq.Actor[..., Any]) -> bool:
    try:
        actor.send()
    except QueueUnavailable:
        return False
    return True


def test_a_worker_on_another_database_refuses_to_start(make_broker, redis_server):
    broker = CarrierBroker(url=redis_server.url(1), options=lambda: OPTIONS, middleware=[])
    with closing(broker), pytest.raises(Refusal, match="database 1, it must be 2") as refusal:
        Worker(broker).start()

    assert refusal.value.code == ExitCode.WRONG_DATABASE


def test_a_broker_needs_neither_redis_nor_settings_until_it_is_used():
    asked = []

    def connect() -> dict[str, Any]:
        asked.append("connect")
        raise RuntimeError("no settings")

    broker = CarrierBroker(connect=connect, options=lambda: asked.append("options") or OPTIONS, middleware=[])
    actor = declare(broker, lambda: None, actor_name="note")
    assert asked == []
    with pytest.raises(RuntimeError, match="no settings"):
        actor.send()
