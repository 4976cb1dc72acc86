"""Checks of the server behind the queues: what it is, and what it does when memory or power runs out.

``doctor_run`` makes them, through a :class:`Probe`. A number that the server does not show is unknown, never zero.
"""

import re
from typing import Any

import redis

from actors.cli.checks import Check, fail, ok, unknown, warn
from actors.cli.doctor_redis import Probe
from actors.cli.terminal import size
from middleware.errors import ExitCode

#: The oldest server whose scripts and commands suffice.
OLDEST = (6, 2)
#: Shares of maxmemory.
WARN_SHARE, FAIL_SHARE = 0.75, 0.90
_HIDDEN = "the server does not say"


def version(probe: Probe) -> Check:
    """The server knows the commands that the queue needs."""
    text = probe.info.get("valkey_version") or probe.info.get("redis_version")
    name = "Valkey" if probe.info.get("valkey_version") else "Redis"
    numbers = tuple(map(int, re.findall(r"\d+", str(text or ""))[:2]))
    if not numbers:
        return unknown("version", _HIDDEN)
    if numbers < OLDEST:
        fix = "upgrade it to 6.2 or later; 7 or later can also be drained when its memory is full"
        return fail(
            "version", f"{name} {text}", why="scripts of the queue fail on it", fix=fix, exit_code=ExitCode.UNSAFE
        )
    return ok("version", f"{name} {text}")


def role(probe: Probe) -> Check:
    """It is a primary, and no cluster."""
    found = probe.info.get("role")
    mode = probe.info.get("redis_mode") or probe.info.get("server_mode")
    if mode == "cluster":
        return _unsafe(
            "role", "a cluster", "a cluster has only database 0, and scripts cannot reach all keys", "use one primary"
        )
    if found == "slave":
        why = "a replica refuses writes; one that takes them loses them at the next synchronisation"
        return _unsafe("role", "a replica", why, "point REDIS_URL at the primary")
    return unknown("role", _HIDDEN) if found is None else ok("role", "primary" if found == "master" else str(found))


def eviction(probe: Probe) -> Check:
    """A full server refuses new keys rather than deleting the queue."""
    policy = probe.info.get("maxmemory_policy")
    if policy is None:
        return unknown("eviction", _HIDDEN, fix="ask the provider for maxmemory-policy; it must be noeviction")
    if policy.startswith("allkeys"):
        why = "a full server deletes keys of the queue, all its messages at once, without any error"
        return _unsafe(
            "eviction", policy, why, "set maxmemory-policy noeviction, or give the queues a server of their own"
        )
    if policy.startswith("volatile"):
        why = "the queue is safe; the cache, Channels and the rate limits lose keys, and without any left to evict enqueues fail"
        return warn("eviction", policy, why=why, fix="give the queues a server of their own: CHAT_REDIS_URL")
    return ok("eviction", policy)


def memory(probe: Probe) -> Check:
    """There is room for a backlog."""
    used, limit = probe.info.get("used_memory"), probe.info.get("maxmemory")
    if used is None or limit is None:
        return unknown("memory", _HIDDEN)
    if limit == 0:
        why = "a backlog or a growing cache takes the whole machine, and the kernel ends Redis"
        return warn("memory", f"{size(used)} used, no limit", why=why, fix="set maxmemory below what the machine has")
    share = used / limit
    found = f"{size(used)} of {size(limit)} used ({share:.0%})"
    fix = "raise maxmemory, shorten what the cache keeps, or give the queues a server of their own"
    if share > FAIL_SHARE:
        return fail("memory", found, why="soon nothing can be enqueued", fix=fix, exit_code=ExitCode.UNSAFE)
    if share > WARN_SHARE:
        return warn("memory", found, why="a backlog or a busy cache fills the rest", fix=fix)
    return ok("memory", found)


def persistence(probe: Probe) -> Check:
    """What was enqueued outlives a restart; and the server is not about to refuse writes over a failed snapshot."""
    info = probe.info
    if "aof_enabled" not in info:
        return unknown("persistence", _HIDDEN)
    failed = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name, "ok") != "ok"]
    if failed:
        why = "the server refuses writes after a failed snapshot (MISCONF), or loses what it took"
        return _unsafe("persistence", f"{failed[0]} is {info[failed[0]]}", why, "see its log and its disk")
    if info["aof_enabled"]:
        return ok("persistence", "append-only file")
    why = "a restart loses what is queued; sends come back with the sweep, fetches of pictures and groups do not"
    found = "nothing is written" if _saves(probe) == "" else "snapshots only"
    return warn("persistence", found, why=why, fix="set appendonly yes, appendfsync everysec")


def _saves(probe: Probe) -> str | None:
    """The setting ``save``; None when it is hidden."""
    try:
        found: Any = probe.client(0).config_get("save")
    except redis.ResponseError:
        return None
    value = found.get("save", found.get(b"save"))
    return value.decode() if isinstance(value, bytes) else value


def _unsafe(name: str, found: str, why: str, fix: str) -> Check:
    return fail(name, found, why=why, fix=fix, exit_code=ExitCode.UNSAFE)
