"""Checks of what outlives the server's process: its files and its replicas.

``run`` makes them, through a :class:`Probe`. A number that the server does not show is unknown, never zero.
"""

from actors.doctor.checks import Check, Repair, fail, ok, set_to, unknown, warn
from actors.doctor.connection import HIDDEN, Probe
from middleware.errors import ExitCode

#: A replica this far behind is not in step, in seconds.
MAX_LAG_S = 10
_WRITES = ("aof_last_write_status", "rdb_last_bgsave_status", "aof_last_bgrewrite_status")


def disk(probe: Probe) -> Check:
    """What the server wrote last, it could write."""
    failed = [name for name in _WRITES if probe.info.get(name, "ok") != "ok"]
    if not failed:
        return ok("disk", "the last writes succeeded") if "aof_enabled" in probe.info else unknown("disk", HIDDEN)
    why = "the server refuses writes after a failed snapshot (MISCONF), or loses what it took"
    fix = (
        'make room where it writes (`redis-cli -u "$REDIS_URL" CONFIG GET dir`), '
        'then `redis-cli -u "$REDIS_URL" BGSAVE`, and BGREWRITEAOF where it keeps an append-only file'
    )
    return fail("disk", f"{failed[0]} is {probe.info[failed[0]]}", why=why, fix=fix, exit_code=ExitCode.UNSAFE)


def persistence(probe: Probe) -> Check:
    """What was enqueued outlives a restart."""
    if "aof_enabled" not in probe.info:
        return unknown("persistence", HIDDEN, fix="ask the provider whether it keeps an append-only file")
    if probe.info["aof_enabled"]:
        return ok("persistence", "append-only file")
    why = "a restart loses what is queued; sends come back with the sweep, fetches of pictures and groups do not"
    found = "nothing is written" if probe.config("save") == "" else "snapshots only"
    fix = set_to("appendonly", "yes")
    return warn("persistence", found, why=why, fix=fix, on_deploy=True, repair=(Repair("appendonly", "yes"),))


def fsync(probe: Probe) -> Check:
    """The append-only file reaches the disk."""
    if "aof_enabled" not in probe.info:
        return unknown("fsync", HIDDEN)
    if not probe.info["aof_enabled"]:
        return ok("fsync", "not asked: there is no append-only file")
    found = probe.config("appendfsync")
    if found is None:
        return unknown("fsync", HIDDEN)
    if found != "no":
        return ok("fsync", found)
    why = "a power cut loses what the kernel had not written yet, half a minute or more"
    better = ("appendfsync", "everysec")
    return warn("fsync", "no", why=why, fix=set_to(*better), repair=(Repair(*better),))


def replicas(probe: Probe) -> Check:
    """Replicas that there are follow, and writes that a lost primary would take with it are bounded."""
    info = probe.info
    if "connected_slaves" not in info:
        return unknown("replicas", HIDDEN)
    count, good = info["connected_slaves"], info.get("min_slaves_good_slaves")
    wanted = int(probe.config("min-replicas-to-write") or 0)
    if good is not None and good < wanted:
        found = f"{good} follow, and the server wants {wanted}"
        fix = f"bring them back; until then {set_to('min-replicas-to-write', good)}"
        return fail("replicas", found, why="it refuses every write (NOREPLICAS)", fix=fix)
    if not count:
        return ok("replicas", "there are none")
    behind = [one for number in range(count) if not _follows(one := info.get(f"slave{number}", {}))]
    if behind:
        why = "a failover to it loses what it has not got"
        fix = 'see why: `redis-cli -u "$REDIS_URL" INFO replication`; more `repl-backlog-size` helps one that keeps starting anew'
        return warn("replicas", f"{len(behind)} of {count} do not follow", why=why, fix=fix)
    if not wanted:
        why = "a primary that is cut off goes on taking writes, and all of them are lost at its failover"
        return warn("replicas", f"{count} follow, none is waited for", why=why, fix=set_to("min-replicas-to-write", 1))
    return ok("replicas", f"{count} follow")


def _follows(replica: dict[str, object]) -> bool:
    return replica.get("state") == "online" and int(str(replica.get("lag", 0))) <= MAX_LAG_S
