"""How a memory sample lies in its stream: JSON, deflated with a dictionary of the names that all samples share.

A stream keeps names once for neighbouring entries only while these fit into one node of 4 kB, which a sample's hundred names do
not: as plain fields one took 4.6 kB (measured), so it takes a third of one. Used by ``memory``.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

#: Of what :func:`packed` writes; another dictionary is another form, and its reader stays.
FORM = 1
#: Never changed: what was written with it is read with it.
_NAMES = (
    b'{"ready":0,"delayed":0,"in_flight":0,"waiting_in_lane":0,"waiting_in_group":0,"dead":0,"oldest_ready_age_s":null,'
    b'"oldest_dead_age_s":null,"next_due_in_s":null,"paused_for_s":null,"estimated_bytes":0}},"memory":{"dataset_bytes":,'
    b'"rss_bytes":,"allocator_fragmentation":1.0,"clients_bytes":,"aof_buffer_bytes":0,"not_evictable_bytes":0,'
    b'"machine_bytes":},"clients":{"connected":,"blocked":,"limit":10000},"stats":{"evicted_keys":0,"expired_keys":,'
    b'"rejected_connections":0,"error_replies":,"evicted_clients":0,"over_limit_ms":0,"keyspace_hits":,"keyspace_misses":,'
    b'"denied_commands":null,"commands":,"commands_per_s":,"input_kb_per_s":,"output_kb_per_s":,"latest_fork_us":},'
    b'"persistence":{"aof_enabled":1,"aof_bytes":,"aof_last_write":"ok","aof_last_rewrite":"ok","aof_delayed_fsync":0,'
    b'"rdb_last_save":"ok","rdb_saved_at_s":17,"rdb_copied_bytes":},"replication":{"role":"master","replicas":0,'
    b'"good_replicas":null,"master_link":null,"lag_s":null,"behind_bytes":null},"server":{"version":"7.","uptime_s":,'
    b'"cpu_user_s":,"cpu_system_s":},"workers":{"alive":,"threads":,"in_flight":,"rss_bytes":,"largest_rss_bytes":}}'
    b'{"span_s":900,"used_memory_bytes":,"peak_bytes":,"maxmemory_bytes":0,"policy":"noeviction","fragmentation":1.,'
    b'"databases":{"0":{"keys":,"expires":,"estimated_bytes":,"error":0.0,"bound":"about"},"1":{"keys":0,"expires":0,'
    b'"estimated_bytes":null,"error":null,"bound":"at_most"}},"queues":{"housekeeping":{"ready":0,"delayed":0,"in_flight":0'
)
#: No header, no checksum: Redis keeps entries whole.
_RAW = -15


def packed(said: Mapping[str, Any]) -> bytes:
    """A table as bytes."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, _RAW, 9, zdict=_NAMES)
    return deflate.compress(json.dumps(said, separators=(",", ":")).encode()) + deflate.flush()


def unpacked(data: bytes) -> dict[str, Any]:
    """The table again.

    Raises:
        ValueError: the bytes are not of :func:`packed`.
    """
    inflate = zlib.decompressobj(_RAW, zdict=_NAMES)
    try:
        found = json.loads(inflate.decompress(data))
    except zlib.error as error:
        raise ValueError("this is no memory sample") from error
    if not isinstance(found, dict) or not inflate.eof:
        raise ValueError("this is no memory sample")  # the same to a caller
    return found
