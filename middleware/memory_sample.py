"""Take a sample: INFO in one question, the keys of the queues, a bounded look at the other databases.

About 5 ms of Redis' time, in many short commands; docs/memory.md has what was measured. Used by ``memory_watch`` and, for a
thorough look on request, by the ``memory`` command.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import redis

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.roster import RosterEntry
from middleware.brokers.redis.scripts import translated
from middleware.errors import PipelineError, QueueRefused, QueueUnavailable
from middleware.memory import Facts, Sample
from middleware.memory_databases import Tables, Thorough, estimates_of
from middleware.memory_estimate import Estimate
from middleware.memory_keys import sizes

logger = logging.getLogger(__name__)

_HEAD = {
    "used_memory_bytes": "used_memory",
    "peak_bytes": "used_memory_peak",
    "maxmemory_bytes": "maxmemory",
    "fragmentation": "mem_fragmentation_ratio",
}
#: Section of a sample: its facts, with their names in INFO.
INFO_FACTS: Mapping[str, Mapping[str, str]] = {
    "memory": {
        "dataset_bytes": "used_memory_dataset",
        "rss_bytes": "used_memory_rss",
        "allocator_fragmentation": "allocator_frag_ratio",
        "clients_bytes": "mem_clients_normal",
        "aof_buffer_bytes": "mem_aof_buffer",
        "not_evictable_bytes": "mem_not_counted_for_evict",
        "machine_bytes": "total_system_memory",
    },
    "clients": {"connected": "connected_clients", "blocked": "blocked_clients", "limit": "maxclients"},
    "stats": {
        "evicted_keys": "evicted_keys",
        "expired_keys": "expired_keys",
        "rejected_connections": "rejected_connections",
        "error_replies": "total_error_replies",
        "evicted_clients": "evicted_clients",
        "over_limit_ms": "total_eviction_exceeded_time",
        "keyspace_hits": "keyspace_hits",
        "keyspace_misses": "keyspace_misses",
        "denied_commands": "acl_access_denied_cmd",
        "commands": "total_commands_processed",
        "commands_per_s": "instantaneous_ops_per_sec",
        "input_kb_per_s": "instantaneous_input_kbps",
        "output_kb_per_s": "instantaneous_output_kbps",
        "latest_fork_us": "latest_fork_usec",
    },
    "persistence": {
        "aof_enabled": "aof_enabled",
        "aof_bytes": "aof_current_size",
        "aof_last_write": "aof_last_write_status",
        "aof_last_rewrite": "aof_last_bgrewrite_status",
        "aof_delayed_fsync": "aof_delayed_fsync",
        "rdb_last_save": "rdb_last_bgsave_status",
        "rdb_saved_at_s": "rdb_last_save_time",
        "rdb_copied_bytes": "rdb_last_cow_size",
    },
    "replication": {
        "role": "role",
        "replicas": "connected_slaves",
        "good_replicas": "min_slaves_good_slaves",
        "master_link": "master_link_status",
    },
    "server": {
        "version": "redis_version",
        "uptime_s": "uptime_in_seconds",
        "cpu_user_s": "used_cpu_user",
        "cpu_system_s": "used_cpu_sys",
    },
}


def take_sample_of(broker: CarrierBroker, *, thorough: Thorough | None = None) -> Sample:
    """Sample of now of a broker's Redis, with its queues and workers.

    Raises:
        QueueUnavailable: no answer in time.
    """
    names, keys = sorted(broker.get_declared_queues()), broker.machinery.keys
    return take_sample(
        broker.client,
        queues=_depths(broker, names),
        keys={name: keys.queue(name) for name in names},
        others=(keys.memory, keys.memory_quarters, keys.ticks, keys.workers, keys.worker_facts),
        workers=_crew(broker.machinery.roster.alive()),
        thorough=thorough,
    )


def _depths(broker: CarrierBroker, names: Sequence[str]) -> dict[str, Facts]:
    try:
        return {stats.queue_name: stats.as_json() for stats in broker.transitions.stats(names)}
    except QueueRefused as error:
        # A replica runs no script that might write, and a failed snapshot stops them too; the memory can be told all the same.
        logger.warning("memory.depths_refused", extra={"code": error.code})
        return {name: {} for name in names}


def take_sample(
    client: "redis.Redis",
    *,
    queues: Mapping[str, Facts],
    keys: Mapping[str, Iterable[str]] | None = None,
    others: Iterable[str] = (),
    workers: Facts | None = None,
    thorough: Thorough | None = None,
) -> Sample:
    """Sample of now, by Redis' clock; ``client`` is on the queues' database.

    ``queues`` are depths and ages, ``keys`` all keys of each queue, ``others`` further keys of ours.

    Raises:
        QueueUnavailable: no answer in time.
    """
    with translated("sampling the memory"):
        seconds, _ = client.time()
    info, keys = _info(client), keys or {}
    tables = _tables(info)
    own = _own_sizes(client, [*others, *(key for ours in keys.values() for key in ours)])
    dataset = info.get("used_memory_dataset")
    found = {} if own is None else estimates_of(client, tables, own=own, dataset_bytes=dataset, thorough=thorough)
    said: dict[str, Any] = {name: info.get(asked) for name, asked in _HEAD.items()}
    said |= {section: _facts(info, section) for section in INFO_FACTS}
    return Sample(
        at_ms=int(seconds) * 1000,
        policy=info.get("maxmemory_policy"),
        databases={name: _database_facts(counts, found.get(name)) for name, counts in tables.items()},
        queues={name: {**facts, "estimated_bytes": _sum_of(own, keys.get(name))} for name, facts in queues.items()},
        workers=workers or {},
        **said,
    )


def _tables(info: Mapping[str, Any]) -> Tables:
    return {
        name.removeprefix("db"): (counts["keys"], counts["expires"])
        for name, counts in info.items()
        if name.startswith("db") and isinstance(counts, dict) and "keys" in counts
    }


def _info(client: "redis.Redis") -> dict[str, Any]:
    try:
        with translated("reading INFO"):
            return dict(client.info())
    except QueueRefused as error:
        # A least-privilege user may not ask; the depths are worth recording without it.
        logger.warning("memory.info_refused", extra={"code": error.code})
        return {}


def _facts(info: Mapping[str, Any], section: str) -> Facts:
    facts: dict[str, Any] = {name: info.get(asked) for name, asked in INFO_FACTS[section].items()}
    if section == "replication":
        followers = [one for name, one in info.items() if name[:5] == "slave" and isinstance(one, dict)]
        offset: int = info.get("master_repl_offset") or 0
        facts["lag_s"] = max((one.get("lag", 0) for one in followers), default=None)
        facts["behind_bytes"] = max((offset - one.get("offset", offset) for one in followers), default=None)
    return facts


def _crew(entries: Sequence[RosterEntry]) -> Facts:
    sizes_of = [entry.rss_bytes for entry in entries if entry.rss_bytes is not None]
    return {
        "alive": len(entries),
        "threads": sum(entry.worker.threads for entry in entries),
        "in_flight": sum(entry.in_flight for entry in entries),
        "rss_bytes": sum(sizes_of) if sizes_of else None,
        "largest_rss_bytes": max(sizes_of, default=None),
    }


def _own_sizes(client: "redis.Redis", keys: Sequence[str]) -> dict[bytes, int] | None:
    """Bytes of those of our keys that are there; None when the server does not say."""
    try:
        found = sizes(client, keys)
    except QueueUnavailable:
        raise
    except PipelineError as error:
        # Not every provider has the command, nor every user the right.
        logger.warning("memory.usage_refused", extra={"code": error.code})
        return None
    return {key.encode(): size for key, size in zip(keys, found, strict=True) if size is not None}


def _sum_of(own: Mapping[bytes, int] | None, keys: Iterable[str] | None) -> int | None:
    return None if own is None or keys is None else sum(own.get(key.encode(), 0) for key in keys)


def _database_facts(counts: tuple[int, int], found: Estimate | None) -> Facts:
    facts: dict[str, int | float | str | None] = {"keys": counts[0], "expires": counts[1], "estimated_bytes": None}
    if found is None:
        return {**facts, "error": None, "bound": None}
    # Infinite is no JSON.
    error = round(found.error, 4) if math.isfinite(found.error) else None
    return {**facts, "estimated_bytes": found.size_bytes, "error": error, "bound": found.bound.value}
