"""Checks of the server's memory: is there room, and what happens when there is none.

``run`` makes them, through a :class:`Probe`. A number that the server does not show is unknown, never zero.
"""

from actors.amounts import size
from actors.doctor.checks import Check, Repair, fail, ok, refuse, set_to, unknown, warn
from actors.doctor.connection import HIDDEN, Probe
from middleware.errors import ExitCode

#: Shares of maxmemory.
WARN_SHARE, FAIL_SHARE = 0.75, 0.90
#: Share of a cache's keys that should expire, and the fewest keys that are judged.
TTL_SHARE, MIN_KEYS = 0.90, 100
#: Memory that the server holds beyond what it uses matters from this ratio on, if it is this much, in bytes.
WASTE_RATIO, WASTE_BYTES = 1.5, 32 * 1024 * 1024
_MB = 1024 * 1024


def eviction(probe: Probe) -> Check:
    """A full server refuses new keys rather than deleting the queue."""
    policy = probe.info.get("maxmemory_policy")
    if policy is None:
        fix = "ask the provider for `maxmemory-policy`; it must be noeviction"
        return unknown("eviction", HIDDEN, fix=fix)
    if policy.startswith("allkeys"):
        better = _policy_for(probe)
        why = "a full server deletes keys of the queue, all its messages at once, without any error"
        fix = f"{set_to(*better)}; or give the queues a server of their own: `CHAT_REDIS_URL=redis://…`"
        return refuse("eviction", policy, why=why, fix=fix, repair=(Repair(*better),))
    if policy.startswith("volatile"):
        why = "the queue is safe; the cache, Channels and the rate limits lose keys, and without any left to evict enqueues fail"
        fix = "give the queues a server of their own: `CHAT_REDIS_URL=redis://…`"
        return warn("eviction", policy, why=why, fix=fix)
    return ok("eviction", policy)


def _policy_for(probe: Probe) -> tuple[str, str]:
    share = _share(probe)
    # On a crowded server noeviction would refuse writes at once, also those of the cache. No key of the queues expires.
    return "maxmemory-policy", "noeviction" if share is None or share <= WARN_SHARE else "volatile-lru"


def _share(probe: Probe) -> float | None:
    used, limit = probe.info.get("used_memory"), probe.info.get("maxmemory")
    return used / limit if used is not None and limit else None


def memory(probe: Probe) -> Check:
    """There is room for a backlog."""
    used, limit = probe.info.get("used_memory"), probe.info.get("maxmemory")
    if used is None or limit is None:
        return unknown("memory", HIDDEN)
    total = probe.info.get("total_system_memory") or 0
    if limit == 0:
        why = "a backlog or a growing cache takes the whole machine, and the kernel ends Redis"
        mb = max(int(total * 0.6), used * 2) // _MB
        return warn("memory", f"{size(used)} used, no limit", why=why, fix=set_to("maxmemory", f"{mb}mb"))
    share = used / limit
    found = f"{size(used)} of {size(limit)} used ({share:.0%})"
    fix = (
        f"{set_to('maxmemory', f'{max(limit, used) * 2 // _MB + 1}mb')}, if the machine has that; "
        "else shorten what the cache keeps, or give the queues a server of their own"
    )
    if share > FAIL_SHARE:
        return fail("memory", found, why="soon nothing can be enqueued", fix=fix, exit_code=ExitCode.UNSAFE)
    if share > WARN_SHARE:
        return warn("memory", found, why="a backlog or a busy cache fills the rest", fix=fix)
    return ok("memory", found)


def evicted(probe: Probe) -> Check:
    """The server has not thrown keys away."""
    count = probe.info.get("evicted_keys")
    if count is None:
        return unknown("evicted", HIDDEN)
    if not count:
        return ok("evicted", "no key since it started")
    policy = str(probe.info.get("maxmemory_policy"))
    fix = 'give it more memory, then count anew: `redis-cli -u "$REDIS_URL" CONFIG RESETSTAT`'
    found = f"{count} keys since it started, under {policy}"
    if policy.startswith("allkeys"):
        why = "keys of the queue may be among them; the sweep brings back what rows still wait for"
        return fail("evicted", found, why=why, fix=fix, exit_code=ExitCode.UNSAFE)
    why = "the cache, Channels and the rate limits lost keys: sockets miss messages, limits begin anew"
    return warn("evicted", found, why=why, fix=fix)


def cache_ttl(probe: Probe) -> Check:
    """What others keep expires, so that it cannot fill the server for good."""
    if probe.info.get("maxmemory") is None:
        return unknown("cache_ttl", HIDDEN)
    if not probe.info["maxmemory"]:
        return ok("cache_ttl", "not asked: there is no limit to fill")
    own = {f"db{probe.settings.queue_db}", f"db{probe.settings.rate_db}"}
    lasting = [
        f"{name} {1 - counts['expires'] / counts['keys']:.0%} of {counts['keys']}"
        for name, counts in probe.info.items()
        if name.startswith("db") and name not in own and isinstance(counts, dict) and _lasts(counts)
    ]
    if not lasting:
        return ok("cache_ttl", "keys of the other databases expire")
    return warn(
        "cache_ttl",
        f"keys that never expire: {', '.join(lasting)}",
        why="no policy that spares the queue may evict them; once they fill the server, enqueues fail",
        fix='give them a time: `"TIMEOUT": 300` in CACHES, and no cache.set(…, timeout=None)',
    )


def _lasts(counts: dict[str, int]) -> bool:
    return counts["keys"] >= MIN_KEYS and counts["expires"] < TTL_SHARE * counts["keys"]


def fragmentation(probe: Probe) -> Check:
    """The server holds about as much memory as it uses."""
    used, held = probe.info.get("used_memory"), probe.info.get("used_memory_rss")
    if used is None or held is None:
        return unknown("fragmentation", HIDDEN)
    found = f"{size(held)} held for {size(used)} used"
    if held < WASTE_RATIO * used or held - used < WASTE_BYTES:
        return ok("fragmentation", found)
    why = "the machine runs out of memory before maxmemory is reached, and the kernel ends Redis"
    fix = f'{set_to("activedefrag", "yes")}; where it has none, `redis-cli -u "$REDIS_URL" MEMORY PURGE`, or a restart'
    return warn("fragmentation", found, why=why, fix=fix)
