"""A worker does not start over what would lose messages, and says the rest in its log: whoever starts it, as a process."""

import logging
import subprocess
import sys
from contextlib import ExitStack

import pytest
from deaf_servers import redis_without_select
from doctor_faults import replica
from doctor_faults_queues import old_product, out_of_memory, three_databases
from doctor_world import Patient
from process_world import ROOT

import actors
from actors.doctor import start_gate
from actors.settings import Hidden
from middleware.errors import ExitCode, Refusal
from middleware.worker_parts import BeforeWork

pytestmark = pytest.mark.redis


@pytest.fixture
def patient(site):
    with ExitStack() as stack:
        yield Patient(site, stack)
        site.broker.close()


def _lying(patient):
    server = patient.serve()
    patient.behind(patient.stack.enter_context(redis_without_select(server.port, lies=True)))


@pytest.mark.parametrize(
    ("spoil", "says", "code"),
    [
        (lambda patient: patient.serve(maxmemory_policy="allkeys-lfu"), "eviction: allkeys-lfu", ExitCode.UNSAFE),
        (replica, "role: a replica", ExitCode.UNSAFE),
        (_lying, "isolation: a key of database 2 shows in database 0", ExitCode.WRONG_DATABASE),
        (old_product, "keys: entries that are no ids", ExitCode.UNSAFE),
    ],
)
def test_what_would_lose_messages_refuses_with_what_to_do(patient, caplog, spoil, says, code):
    spoil(patient)

    with pytest.raises(Refusal) as refused:
        start_gate.refuse_unsafe()

    assert refused.value.code == code
    assert str(refused.value).startswith(says)
    assert "`" in str(refused.value)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL] == [
        f"worker.refused: {refused.value}"
    ]


def test_a_cache_on_the_queues_database_refuses(patient, monkeypatch):
    from django.conf import settings

    server = patient.serve()
    place = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": server.url(2)}
    monkeypatch.setattr(settings, "CACHES", {"default": place})

    with pytest.raises(Refusal, match=r"neighbours: CACHES\['default'\] is on database 2"):
        start_gate.refuse_unsafe()


def test_the_rest_is_logged_and_starts(patient, caplog):
    patient.serve(persist=False, maxmemory_policy="volatile-lru")

    start_gate.refuse_unsafe()

    warned = {record.code: record.getMessage() for record in caplog.records}
    assert warned.keys() >= {"eviction", "persistence"}
    assert warned["persistence"].startswith('doctor.warned: nothing is written; `redis-cli -u "$REDIS_URL" CONFIG SET')


@pytest.mark.parametrize("spoil", [out_of_memory, three_databases])
def test_what_loses_no_message_keeps_no_worker_from_starting(patient, spoil):
    spoil(patient)

    start_gate.refuse_unsafe()


def test_it_leaves_nothing_behind_and_the_workers_own_connections_alone(patient):
    patient.serve()
    client = patient.site.broker.client
    client.ping()

    start_gate.refuse_unsafe()

    assert patient.site.broker.client is client
    assert patient.client(2).dbsize() == 0


def test_without_redis_it_leaves_the_word_to_those_who_come_next(site):
    site.change(redis_url=Hidden("redis://127.0.0.1:1/0"))

    start_gate.refuse_unsafe()


def test_where_config_and_info_are_hidden_it_starts_and_says_what_it_does_not_know(patient, caplog):
    server = patient.serve()
    patient.client().execute_command(
        *("ACL", "SETUSER", "shy", "reset", "on", ">shy", "~*", "&*", "+@all", "-info", "-config", "-slowlog")
    )
    patient.use(f"redis://shy:shy@127.0.0.1:{server.port}/0")

    start_gate.refuse_unsafe()

    assert {record.code for record in caplog.records} == {"role", "eviction"}


def test_another_broker_has_no_redis_to_look_at(site):
    site.change(broker="stub", redis_url=None)

    start_gate.refuse_unsafe()


def test_it_comes_before_everything_else_that_a_worker_prepares():
    [before] = [one for one in actors.broker.middleware if isinstance(one, BeforeWork)]

    assert before.prepares[0] is start_gate.refuse_unsafe
    assert len(before.prepares) > 1


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["dramatiq", "actors", "-p", "1", "-t", "1"], marks=pytest.mark.slow),
        ["actors.cli", "worker", "-p", "1"],
    ],
)
def test_a_process_ends_with_the_code_that_says_unsafe(process_world, patient, command):
    server = patient.serve(maxmemory_policy="allkeys-lru")

    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**process_world.environ, "REDIS_URL": server.url(0)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == ExitCode.UNSAFE
    assert "worker.refused: eviction: allkeys-lru" in done.stderr + done.stdout
