"""What Redis' memory raises: how full it is, what its samples show, and that there are none."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from alert_world import MINUTE_MS, grow_old, sampled, told, values, watched

import actors
from actors import alerts
from actors.alert_rules import IN_TROUBLE, TELL, Alert, finding_facts, level_of, rules_of
from actors.alerts import look
from actors.reporting import book_of
from actors.services import Services
from middleware.alerts import Fact, Standing
from middleware.alerts import State as AlertState
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.memory_findings import Finding, Level

pytestmark = pytest.mark.redis


@pytest.fixture
def work(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Services]:
    with watched(redis_server) as work:
        yield work


@pytest.fixture(autouse=True)
def _everything_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_memory_is_a_share_of_its_limit(work, queue_client):
    assert values(work, Alert.MEMORY) == {"": 0.0}
    used = int(queue_client.info("memory")["used_memory"])
    queue_client.config_set("maxmemory", used * 2)
    try:
        assert 0.3 < values(work, Alert.MEMORY)[""] < 0.7
    finally:
        queue_client.config_set("maxmemory", 0)


def test_who_may_not_ask_for_the_memory_changes_nothing_that_stands(work, queue_client, redis_server, caplog):
    standing = Standing(rule=Alert.MEMORY, subject="", state=AlertState.RAISED, value=0.9, raised_at_ms=1)
    book = book_of(work, actors.broker)
    book.advance([Fact(rule=Alert.MEMORY, subject="", value=0.9)], rules_of(work.settings))
    queue_client.execute_command("ACL", "SETUSER", "default", "-info")
    try:
        assert values(work, Alert.MEMORY) == {"": None}
        caplog.clear()
        look(work, actors.broker)
    finally:
        queue_client.execute_command("ACL", "SETUSER", "default", "+@all")

    assert [one.key for one in book.standing()] == [standing.key]
    assert told(caplog) == []


def test_samples_that_do_not_come_are_an_alert(work):
    assert values(work, Alert.SAMPLES) == {"": alerts.NEVER_S}
    sampled(at_ms=(actors.broker.client.time()[0] - 3600) * 1000)

    assert 3500 < values(work, Alert.SAMPLES)[""] < 3700
    assert Alert.SAMPLES not in rules_of(replace(work.settings, scheduler="none"))


def test_a_sample_from_later_than_now_is_none(work):
    sampled(at_ms=(actors.broker.client.time()[0] + 3600) * 1000)

    assert 3500 < values(work, Alert.SAMPLES)[""] < 3700


def test_samples_that_come_are_no_alert(work):
    sampled()

    assert values(work, Alert.SAMPLES) == {"": 0}


def test_what_is_critical_in_the_newest_sample_is_an_alert_of_its_own(work):
    sampled(persistence={"rdb_last_save": "err"}, used_memory_bytes=99, maxmemory_bytes=100)

    assert values(work, Alert.HEALTH) == {"memory_not_saved": 1.0}
    # It neither begins nor ends what may have warned of it, and how full Redis is has another alert.
    assert values(work, Alert.WARNING) == {"memory_not_saved": IN_TROUBLE}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("memory_clients", {"clients": {"connected": 9, "limit": 10}}),
        ("memory_fork_slow", {"stats": {"latest_fork_us": 200_000}}),
        ("memory_fragmented", {"fragmentation": 0.5, "used_memory_bytes": 10**9}),
        ("memory_replica_lag", {"replication": {"lag_s": 10}}),
    ],
)
def test_a_warning_of_the_samples_is_an_alert_when_it_lasts(work, caplog, code, said):
    sampled(**said)

    assert values(work, Alert.WARNING) == {code: TELL}
    assert values(work, Alert.HEALTH) == {}
    look(work, actors.broker)
    assert ("alert.raised", Alert.WARNING, code) not in told(caplog)
    grow_old(Alert.WARNING, by_ms=5 * MINUTE_MS)
    look(work, actors.broker)
    look(work, actors.broker)
    assert told(caplog).count(("alert.raised", Alert.WARNING, code)) == 1


def test_what_grew_between_two_samples_is_an_alert(work):
    now_ms = actors.broker.client.time()[0] * 1000
    sampled(at_ms=now_ms - MINUTE_MS, policy="volatile-lru", stats={"evicted_keys": 5, "rejected_connections": 0})
    sampled(at_ms=now_ms, policy="volatile-lru", stats={"evicted_keys": 9, "rejected_connections": 3})

    assert values(work, Alert.WARNING) == {"memory_evicting": TELL, "memory_clients_refused": IN_TROUBLE}
    assert values(work, Alert.HEALTH) == {"memory_clients_refused": 1.0}


def test_memory_that_will_be_full_within_a_day_is_an_alert(work):
    now_ms = actors.broker.client.time()[0] * 1000
    for minutes_ago in range(120, -1, -2):
        used = 600_000_000 - minutes_ago * 1_000_000
        sampled(at_ms=now_ms - minutes_ago * MINUTE_MS, used_memory_bytes=used, maxmemory_bytes=10**9)

    assert values(work, Alert.WARNING) == {"memory_fills": TELL}


def test_a_warning_is_no_error_in_sentry_and_no_limit_is_no_news():
    raised = Standing(rule=Alert.WARNING, subject="memory_fills", state=AlertState.RAISED)
    unlimited = Finding(code="memory_unlimited", level=Level.WARNING, value=0, limit=None, text="none")

    assert level_of(raised) == "warning"
    assert level_of(replace(raised, rule=Alert.HEALTH)) == "error"
    assert level_of(replace(raised, state=AlertState.CLEARED)) == "info"
    assert list(finding_facts(unlimited)) == []
