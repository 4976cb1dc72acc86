"""What raises each alert, on a real Redis, and who tells it: the periodic actor, or a worker's thread where that cannot run."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from alert_world import die, told, values, watched
from docs_pages import Page, only
from dramatiq import Worker
from waiting import until

import actors
from actors import alerts, wiring
from actors.alert_rules import Alert, circuit_fact, rules_of, text_of
from actors.alerts import Lookout, check_alerts, look
from actors.circuit import Cause, Circuit, State
from actors.reporting import book_of
from actors.services import Services
from actors.settings import Settings
from middleware import sentry_client
from middleware.alerts import Fact, Standing
from middleware.alerts import State as AlertState
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import QueueUnavailable

pytestmark = pytest.mark.redis

MINUTE_MS = 60_000


@pytest.fixture
def work(redis_server: EmbeddedRedis, queue_client: redis.Redis) -> Iterator[Services]:
    with watched(redis_server) as work:
        yield work


@pytest.fixture(autouse=True)
def _everything_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_dead_letters_are_counted_by_queue_and_minute(work):
    die(3, reason="not_found")

    assert values(work, Alert.DEAD)["send_message"] == 3
    assert values(work, Alert.DEAD)["housekeeping"] == 0


def test_messages_of_a_queue_that_nobody_serves_are_counted(work):
    actors.broker.transitions.enqueue("send_message", "m1", b"{}")
    actors.broker.transitions.enqueue("send_message", "m2", b"{}", delay_ms=60_000)
    assert values(work, Alert.NO_WORKER)["send_message"] == 2

    actors.broker.machinery.sign_in(threads=1, queue_names=["send_message"])
    actors.broker.machinery.keeper.tend()
    assert values(work, Alert.NO_WORKER)["send_message"] == 0


def test_the_age_of_a_backlog_is_that_of_its_oldest_message_unless_an_operator_holds_it(work):
    sent_ms = actors.broker.clock.now_ms() - 600_000
    actors.broker.transitions.enqueue("send_message", "m1", json.dumps({"message_timestamp": sent_ms}).encode())
    assert 590 < values(work, Alert.BACKLOG)["send_message"] < 700

    actors.broker.transitions.pause("send_message")
    assert values(work, Alert.BACKLOG)["send_message"] == 0


def test_who_may_not_read_the_samples_hears_of_everything_else(work, queue_client, caplog):
    die(12, reason="not_found")
    book = book_of(work, actors.broker)
    book.advance([Fact(rule=Alert.HEALTH, subject="memory_not_saved", value=1.0)], rules_of(work.settings))
    caplog.clear()
    queue_client.execute_command("ACL", "SETUSER", "default", "-xrevrange")
    try:
        look(work, actors.broker)
    finally:
        queue_client.execute_command("ACL", "SETUSER", "default", "+@all")

    assert told(caplog) == [("alert.raised", Alert.DEAD, "send_message")]
    [record] = [record for record in caplog.records if record.getMessage() == "alerts.not_known"]
    assert (vars(record)["code"], vars(record)["alerts"]) == (
        "queue_refused",
        "redis_health, redis_warning, memory_samples_missing",
    )
    assert [one.rule for one in book.standing()] == [Alert.DEAD, Alert.HEALTH]


def test_a_bug_in_one_look_hides_nothing_of_the_others(work, caplog, monkeypatch):
    die(12, reason="not_found")
    monkeypatch.setattr(alerts, "_of_mismatches", lambda broker: {}["of a customer"])
    look(work, actors.broker)

    assert told(caplog) == [("alert.raised", Alert.DEAD, "send_message")]
    [record] = [record for record in caplog.records if record.getMessage() == "alerts.not_known"]
    assert (vars(record)["code"], vars(record)["alerts"]) == ("KeyError", "recipient_mismatch")


def test_a_redis_that_goes_away_meanwhile_is_no_bug_of_one_look(work, caplog, monkeypatch):
    def away(broker: object) -> None:
        raise QueueUnavailable("gone")

    monkeypatch.setattr(alerts, "_of_queues", lambda broker, now_ms: away(broker))
    with pytest.raises(QueueUnavailable):
        look(work, actors.broker)

    assert caplog.messages == []


def test_every_alert_is_documented():
    rows = Page("docs/alerts.md").rows("alert", "subject", "raised when")

    assert [only(row["alert"]) for row in rows] == [*Alert]


def test_a_workers_thread_looks_while_the_periodic_actor_cannot_run(work, caplog):
    die(12, reason="not_found")
    actors.broker.transitions.pause("housekeeping")
    check_alerts.send()
    actors.broker.emit_after("process_boot")
    worker = Worker(actors.broker, queues={"housekeeping"}, worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        until(lambda: ("alert.raised", "dead_letters", "send_message") in told(caplog), within_ms=10_000)
    finally:
        worker.stop(timeout=5_000)

    assert [thread for thread in threading.enumerate() if thread.name == "alert-lookout"] == []


def test_a_message_that_went_to_somebody_else_is_an_alert_until_a_person_has_looked(work, caplog):
    die(1, reason="recipient_mismatch")
    die(1, reason="recipient_mismatched_not")
    assert values(work, Alert.MISMATCH) == {"": 1.0}
    look(work, actors.broker)
    look(work, actors.broker)
    actors.broker.transitions.discard("send_message", ["recipient_mismatch0"])
    look(work, actors.broker)
    look(work, actors.broker)

    assert [one for one in told(caplog) if one[1] == Alert.MISMATCH] == [
        ("alert.raised", "recipient_mismatch", ""),
        ("alert.cleared", "recipient_mismatch", ""),
    ]


def test_a_circuit_is_told_when_it_opens_for_good_and_when_it_is_closed(work, caplog):
    traffic = wiring.traffic()
    circuit = Circuit(state=State.OPEN, cause=Cause.REFUSED, code="unauthorized", since_ms=1, is_alerted=True)
    traffic.limits.swap("i1", seen="", new=circuit.text())
    wiring._alert("i1", circuit)
    for _ in range(2):
        look(work, actors.broker)
    traffic.limits.swap("i1", seen=circuit.text(), new="")
    for _ in range(2):
        look(work, actors.broker)

    assert [one for one in told(caplog) if one[1] == Alert.CIRCUIT] == [
        ("alert.raised", "circuit_open", "i1"),
        ("alert.cleared", "circuit_open", "i1"),
    ]


def test_a_circuit_that_its_dead_letter_told_of_raises_nothing():
    circuit = Circuit(state=State.OPEN, cause=Cause.REFUSED, code="unauthorized", is_alerted=True)

    assert circuit_fact("i1", circuit, is_news=False).value < rules_of(Settings())[Alert.CIRCUIT].raise_at


def test_the_periodic_actor_looks_at_everything(work, caplog):
    die(12, reason="not_found")
    check_alerts()
    check_alerts()

    assert ("alert.raised", "dead_letters", "send_message") in told(caplog)
    assert len(told(caplog)) == len(set(told(caplog)))
    assert book_of(work, actors.broker).age_ms() < alerts.OVERDUE_MS


def test_a_worker_looks_itself_only_where_nobody_has(work, caplog):
    die(12, reason="not_found")
    lookout = Lookout(work, actors.broker)
    lookout.step()
    assert [one[1] for one in told(caplog)] == [Alert.DEAD]
    caplog.clear()
    Lookout(work, actors.broker).step()
    assert "alerts.overdue" not in caplog.messages

    seconds, _ = actors.broker.client.time()
    actors.broker.client.hset(lookout.book.key, "looked_at_ms", seconds * 1000 - alerts.OVERDUE_MS)
    Lookout(work, actors.broker).step()
    assert "alerts.overdue" in caplog.messages


def test_a_worker_tells_that_redis_is_away_and_that_it_is_back(work, caplog):
    clock: Any = work.clock
    lookout = Lookout(work, actors.broker)
    lookout.step()
    real = lookout.book._client
    lookout.book._client = lambda: redis.Redis(port=1, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
    lookout.step()
    clock.boot += 59_000
    lookout.step()
    assert told(caplog) == []
    clock.boot += 1_000
    lookout.step()
    lookout.step()
    lookout.book._client = real
    lookout.step()
    lookout.step()

    assert told(caplog) == [("alert.raised", "redis_unreachable", ""), ("alert.cleared", "redis_unreachable", "")]


def test_a_line_of_zero_is_no_rule(work):
    off = replace(work.settings, alert_memory=0.0, alert_backlog_s=0, alert_dead_per_minute=0, alert_no_worker_s=0)

    assert rules_of(off).keys() == {*Alert} - {Alert.MEMORY, Alert.BACKLOG, Alert.DEAD, Alert.NO_WORKER}


@pytest.mark.parametrize("rule", [*Alert])
@pytest.mark.parametrize("state", [AlertState.RAISED, AlertState.CLEARED])
def test_every_alert_has_a_sentence(rule, state):
    text = text_of(Standing(rule=rule, subject="s", state=state, value=0.5, detail="d"))

    assert "{" not in text
    assert len(text) > 20


def test_an_instance_in_trouble_is_one_event_and_its_end_another(work, sink, generous_host):
    generous_host()
    sentry_client.hook()
    traffic = wiring.traffic()
    circuit = Circuit(state=State.OPEN, cause=Cause.REFUSED, code="unauthorized", since_ms=1, is_alerted=True)
    wiring._alert("i1", circuit)
    assert traffic.limits.all_records() == {}
    for _ in range(3):
        look(work, actors.broker)
    sink.wait(lambda: len(sink.events()) >= 2)

    raised, cleared = sink.events()
    assert (raised["level"], cleared["level"]) == ("error", "info")
    assert raised["tags"] == {
        "alert": "circuit_open",
        "subject": "i1",
        "state": "raised",
        "code": "alert_circuit_open",
    }
    assert raised["message"].startswith("instance i1 is open, refused (unauthorized)")
    assert raised["fingerprint"] != cleared["fingerprint"]
