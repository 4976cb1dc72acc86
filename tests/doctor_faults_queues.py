"""Every way in which a test spoils the queues' database of a real Redis, with the check that must find it.

``test_doctor_checks.py`` tries them all; what is spoilt of the server stands in ``doctor_faults.py``.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import dramatiq
import pytest
from deaf_servers import redis_without_select
from doctor_faults import replica, use_up
from doctor_world import Patient, fires
from dramatiq.brokers.redis import RedisBroker

import actors
from actors.backups import file_name
from actors.doctor import backlog
from middleware import memory
from middleware.brokers.redis.values import GateChange
from middleware.slots import MINUTE_MS

# -- the queues' database ----------------------------------------------------------------------------------------------


@fires("isolation", "critical", says="shows in database 0")
def _select_does_nothing_and_says_it_did(patient: Patient) -> None:
    server = patient.serve()
    patient.behind(patient.stack.enter_context(redis_without_select(server.port, lies=True)))


@fires("isolation", "warning", says="may not write")
def _may_not_write(patient: Patient) -> None:
    _as_user(patient, "-set")


@fires("rate_database", "error", says="SELECT 3 is refused")
def three_databases(patient: Patient) -> None:
    patient.serve(databases="3")


@fires("keys", "critical", says="entries that are no ids")
def old_product(patient: Patient) -> None:
    patient.serve()
    patient.client(2).rpush("chat:queue:send_message", '{"message_id": "7"}')


@fires("keys", "critical", says="is a string, not a list")
def _wrong_type(patient: Patient) -> None:
    patient.serve()
    patient.client(2).set("chat:queue:send_message", "x")


@fires("prefix", "warning", says="1 keys of somebody else in database 2")
def _somebody_elses_keys(patient: Patient) -> None:
    patient.serve()
    patient.client(2).set(":1:session", "x")


@fires("round_trip", "error", says="could not be enqueued: Redis refused")
def _no_scripts(patient: Patient) -> None:
    _as_user(patient, "-@scripting")


@fires("round_trip", "error", says="could not be enqueued: Redis is full")
def out_of_memory(patient: Patient) -> None:
    use_up(patient, 1.2)


@fires("round_trip", "error", says="could not be enqueued")
def _too_few_replicas(patient: Patient) -> None:
    patient.serve(min_replicas_to_write="1")


@fires("round_trip", "error", says="could not be enqueued")
def _read_only(patient: Patient) -> None:
    replica(patient)


def _as_user(patient: Patient, *rights: str) -> None:
    server = patient.serve()
    patient.client().execute_command("ACL", "SETUSER", "shy", "reset", "on", ">shy", "~*", "&*", "+@all", *rights)
    patient.use(f"redis://shy:shy@127.0.0.1:{server.port}/0")


@fires("stock_workers", "error", says="holds messages of 1 queues")
def _stock_worker(patient: Patient) -> None:
    server = patient.serve()
    broker = RedisBroker(url=server.url(2), namespace="chat:queue", maintenance_chance=0)
    patient.stack.callback(broker.close)
    broker.declare_queue("send_message")
    message = dramatiq.Message(queue_name="send_message", actor_name="send_message", args=(), kwargs={}, options={})
    broker.enqueue(message)
    assert next(broker.consume("send_message", prefetch=1, timeout=1_000)) is not None


@fires("workers", "error", says="send_message has 1 unfinished")
def _nobody_serves(patient: Patient) -> None:
    patient.serve()
    patient.work("fetch_profile_pic")
    actors.send_message.send(patient.site.say("m1"))


@fires("workers", "warning", says="none is alive")
def _nobody_works(patient: Patient) -> None:
    patient.serve()


# -- what waits --------------------------------------------------------------------------------------------------------


def _waiting(for_ms: int) -> Callable[[Patient], None]:
    def spoil(patient: Patient) -> None:
        patient.serve()
        message = actors.send_message.message(patient.site.say("m1"))
        patient.site.broker.enqueue(message.copy(message_timestamp=patient.site.broker.clock.now_ms() - for_ms))

    return spoil


fires("backlog", "warning", says="send_message waits for 6 min")(_waiting(400_000))
fires("backlog", "error", says="send_message waits for 2 h")(_waiting(7_300_000))


@fires("leases", "error", says="1 of send_message")
def _stuck_lease(patient: Patient) -> None:
    patient.serve()
    site = patient.site
    actors.send_message.send(site.say("m1"))
    site.broker.transitions.fetch("send_message", limit=1, lease_ms=1_000, owner="gone")
    key, client = site.broker.machinery.keys.of("send_message", "leases"), patient.client(2)
    [member] = client.zrange(key, 0, -1)
    client.zadd(key, {member: site.broker.clock.now_ms() - 60_000})


@fires("paused", "warning", says="send_message for 2 h")
def _forgotten_pause(patient: Patient) -> None:
    patient.serve()
    broker = patient.site.broker
    broker.transitions.pause("send_message")
    key = broker.machinery.keys.of("send_message", "control")
    patient.client(2).hset(key, "paused_at_ms", broker.clock.now_ms() - 7_300_000)


@fires("paused", "warning", says="instance support")
def _forgotten_instance(patient: Patient) -> None:
    patient.serve()
    patient.site.broker.transitions.set_gate("send_message", "support", GateChange(paused=True))
    patch = patient.stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(backlog, "PAUSED_S", -5)


def _dead(patient: Patient, count: int) -> None:
    patient.serve()
    for number in range(count):
        patient.site.bury(f"m{number}")


@fires("dead_letters", "warning", says="10 in the last hour")
def _many_dead(patient: Patient) -> None:
    _dead(patient, 10)


@fires("dead_letters", "warning", says="1 that nobody was told of")
def _untold(patient: Patient) -> None:
    _dead(patient, 1)
    broker = patient.site.broker
    key, client = broker.machinery.keys.of("send_message", "unannounced"), patient.client(2)
    [member] = client.zrange(key, 0, -1)
    client.zadd(key, {member: broker.clock.now_ms() - 600_000})


@fires("dead_letters", "warning", says="nearly as many")
def _full_of_dead(patient: Patient) -> None:
    _dead(patient, 2)
    patient.site.change(dead_max=2)


@fires("periodic", "error", says="no sweep was ever sent")
def _no_scheduler(patient: Patient) -> None:
    patient.serve()
    patient.work()


@fires("periodic", "error", says="no sweep was sent for 20 min")
def _scheduler_gone(patient: Patient) -> None:
    _no_scheduler(patient)
    now_ms = patient.site.broker.clock.now_ms()
    patient.tick("sweep_pending", (now_ms // MINUTE_MS - 20) * MINUTE_MS)


@fires("periodic", "warning", says="record_memory_usage@")
def _second_scheduler(patient: Patient) -> None:
    patient.serve()
    patient.settle()
    patient.site.change(memory_every_s=300)
    minute = patient.site.broker.clock.now_ms() // MINUTE_MS
    patient.tick("record_memory_usage", (minute - (1 if (minute - 1) % 5 else 2)) * MINUTE_MS)


@fires("samples", "warning", says="there is none")
def _never_sampled(patient: Patient) -> None:
    patient.serve()
    patient.work()


@fires("samples", "warning", says="ahead")
def _sampled_ahead(patient: Patient) -> None:
    patient.serve()
    patient.work()
    ahead = memory.Sample(at_ms=patient.site.broker.clock.now_ms() + 60 * MINUTE_MS)
    memory.record(patient.client(2), patient.site.broker.machinery.keys.memory, ahead)


def _backed_up(patient: Patient, *ages_ms: int) -> Path:
    folder = patient.stack.enter_context(tempfile.TemporaryDirectory())
    patient.serve()
    patient.site.change(backup_dir=folder, backup_every_s=3_600)
    for age_ms in ages_ms:
        (Path(folder) / file_name(patient.site.broker.clock.now_ms() - age_ms, encrypted=True)).touch()
    return Path(folder)


@fires("backups", "warning", says="the last one is 3 h old, and one shall come every 60 min")
def _old_backup(patient: Patient) -> None:
    _backed_up(patient, 3 * 60 * MINUTE_MS + MINUTE_MS, 7 * 60 * MINUTE_MS)


@fires("backups", "warning", says="there is none in")
def _no_backup(patient: Patient) -> None:
    _backed_up(patient)
    patient.work(for_ms=3 * 60 * MINUTE_MS)


@fires("backups", "warning", says="no folder that this user may write to")
def _nowhere_for_backups(patient: Patient) -> None:
    _backed_up(patient, 0).joinpath("x").touch()
    patient.site.change(backup_dir=str(Path(patient.site.settings.backup_dir) / "x"))
