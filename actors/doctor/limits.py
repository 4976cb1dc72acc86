"""Checks of what a shared server does to its clients: how many may connect, who is cut off, what holds everybody up.

``run`` makes them, through a :class:`Probe`. A number that the server does not show is unknown, never zero.
"""

from typing import Any

from actors.doctor.checks import Check, Repair, fail, ok, set_to, unknown, warn
from actors.doctor.connection import HIDDEN, Probe
from middleware.errors import ExitCode

#: Shares of maxclients.
WARN_SHARE, FAIL_SHARE = 0.80, 0.95
#: A connection should stay for this long though it is idle, in seconds.
MIN_IDLE_S = 60
#: Scripts of the queue take up to 8 ms (measured); a limit near that answers BUSY to everybody, in milliseconds.
MIN_SCRIPT_MS = 100
#: Commands that took this long held everybody up, in microseconds; those of the last hour are told of.
SLOW_US, SLOW_SINCE_MS = 50_000, 60 * 60 * 1000
#: A database with so many keys takes a tenth of a second to flush.
MANY_KEYS = 100_000


def connections(probe: Probe) -> Check:
    """There are connections left."""
    info = probe.info
    used, limit = info.get("connected_clients"), info.get("maxclients") or probe.config("maxclients")
    if used is None or limit is None:
        return unknown("connections", HIDDEN)
    share, found = used / int(limit), f"{used} of {limit} are used"
    why = "who connects next is refused: web requests and workers fail"
    fix = f"fewer processes, smaller pools, or {set_to('maxclients', int(limit) * 2)}"
    if share > FAIL_SHARE:
        return fail("connections", found, why=why, fix=fix, exit_code=ExitCode.UNAVAILABLE)
    if share > WARN_SHARE:
        return warn("connections", found, why=why, fix=fix)
    if refused := info.get("rejected_connections"):
        again = f'{fix}; then count anew: `redis-cli -u "$REDIS_URL" CONFIG RESETSTAT`'
        return warn("connections", f"{refused} were refused since it started", why=why, fix=again)
    return ok("connections", found)


def idle_timeout(probe: Probe) -> Check:
    """Idle connections are left alone."""
    found = probe.config("timeout")
    if found is None:
        return unknown("idle_timeout", HIDDEN)
    if not 0 < int(found) < MIN_IDLE_S:
        return ok("idle_timeout", "none" if found == "0" else f"{found} s")
    why = "a quiet process connects anew for every message, which takes longer than the message"
    better = ("timeout", "300")
    return warn("idle_timeout", f"{found} s", why=why, fix=set_to(*better), repair=(Repair(*better),))


def client_buffers(probe: Probe) -> Check:
    """One client that does not read its replies cannot fill the server."""
    if not probe.info.get("maxmemory"):
        return ok("client_buffers", "not asked: there is no limit to fill") if probe.info else _hidden("client_buffers")
    buffers = probe.config("client-output-buffer-limit")
    clients = probe.config("maxmemory-clients")
    if buffers is None:
        return _hidden("client_buffers")
    if clients not in (None, "0") or not buffers.startswith("normal 0 "):
        return ok("client_buffers", "bounded")
    why = "replies that one stuck reader leaves count as used memory: with 120 of 1 MB enqueues were refused (measured)"
    better = ("client-output-buffer-limit", "normal 256mb 64mb 60")
    if clients is not None:
        better = ("maxmemory-clients", "5%")
    return warn("client_buffers", "unbounded", why=why, fix=set_to(*better), repair=(Repair(*better),))


def script_limit(probe: Probe) -> Check:
    """Scripts of the queue may take their time."""
    found = probe.config("lua-time-limit")
    if found is None:
        return _hidden("script_limit")
    if not 0 < int(found) < MIN_SCRIPT_MS:
        return ok("script_limit", f"{found} ms")
    why = "while a script of the queue runs longer than that, every other client is told BUSY"
    better = ("lua-time-limit", "5000")
    return warn("script_limit", f"{found} ms", why=why, fix=set_to(*better), repair=(Repair(*better),))


def slow_commands(probe: Probe) -> Check:
    """Nothing held the server up of late."""
    seconds, _ = probe.client(0).time()
    entries: list[dict[str, Any]] = probe.client(0).slowlog_get(64)
    since_s = int(seconds) - SLOW_SINCE_MS / 1000
    slow = [one for one in entries if one["duration"] >= SLOW_US and one["start_time"] >= since_s]
    if not slow:
        return ok("slow_commands", f"none above {SLOW_US // 1000} ms in the last hour")
    worst = sorted(slow, key=lambda one: -one["duration"])[:3]
    # The name alone: arguments may be anything.
    shown = ", ".join(f"{_name(one['command'])} {one['duration'] // 1000} ms" for one in worst)
    why = "there is one thread for all: while such a command runs, nobody sends and nobody works"
    fix = 'see who: `redis-cli -u "$REDIS_URL" SLOWLOG GET 10`; SCAN for KEYS, UNLINK for DEL, FLUSHDB ASYNC; then `redis-cli -u "$REDIS_URL" SLOWLOG RESET`'
    return warn("slow_commands", shown, why=why, fix=fix)


def _name(command: Any) -> str:
    text = command.decode(errors="replace") if isinstance(command, bytes) else str(command)
    return text.split(" ", 1)[0].upper()


def lazy_flush(probe: Probe) -> Check:
    """``cache.clear()`` does not hold the server up."""
    found = probe.config("lazyfree-lazy-user-flush")
    if found is None:
        return _hidden("lazy_flush")
    counts = {name: one["keys"] for name, one in probe.info.items() if name.startswith("db") and isinstance(one, dict)}
    large = [f"{name} has {count} keys" for name, count in counts.items() if count >= MANY_KEYS]
    if found == "yes" or not large:
        return ok("lazy_flush", "in the background" if found == "yes" else "no database is large")
    why = "Django's cache.clear() is a FLUSHDB, which stops everybody for 0.7 s per million keys (measured)"
    better = ("lazyfree-lazy-user-flush", "yes")
    return warn("lazy_flush", ", ".join(large), why=why, fix=set_to(*better), repair=(Repair(*better),))


def keyspace_events(probe: Probe) -> Check:
    """The server does not tell everybody of every key."""
    found = probe.config("notify-keyspace-events")
    if found is None:
        return _hidden("keyspace_events")
    if not found:
        return ok("keyspace_events", "off")
    why = "every write of the queue costs a message more, and whoever listens learns names of its keys"
    return warn("keyspace_events", found, why=why, fix=set_to("notify-keyspace-events", ""))


def _hidden(name: str) -> Check:
    return unknown(name, HIDDEN)
