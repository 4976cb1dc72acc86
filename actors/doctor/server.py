"""Checks of the server behind the queues: what it is, how far away, and who may listen.

``run`` makes them, through a :class:`Probe`. A number that the server does not show is unknown, never zero.
"""

import re
import shlex
import socket
import statistics
from ipaddress import ip_address
from typing import Any

import redis
from redis.connection import SSLConnection

from actors.doctor.checks import Check, fail, ok, refuse, unknown, warn
from actors.doctor.connection import HIDDEN, Probe, first_word
from middleware.errors import ExitCode

#: The oldest server whose scripts and commands suffice, and the oldest that can be drained when it is full.
OLDEST, OLDEST_DRAINED = (6, 2), (7, 0)
#: Differences between two clocks that matter, in milliseconds.
WARN_SKEW_MS, FAIL_SKEW_MS = 1_000, 30_000
#: A round trip that takes this long at the median slows every message, in milliseconds; and how many are made.
SLOW_PING_MS, PINGS = 25, 15
#: What nobody needs who shares a server, as it would be typed.
_TOO_MUCH = ("FLUSHALL", "SWAPDB 0 1")


def version(probe: Probe) -> Check:
    """The server knows the commands that the queue needs."""
    text = probe.info.get("valkey_version") or probe.info.get("redis_version")
    name = "Valkey" if probe.info.get("valkey_version") else "Redis"
    numbers = tuple(map(int, re.findall(r"\d+", str(text or ""))[:2]))
    if not numbers:
        return unknown("version", HIDDEN)
    fix = "upgrade it to Redis 7.2 or Valkey 8; `redis-server --version` says what is installed"
    if numbers < OLDEST:
        why = "scripts of the queue fail on it"
        return fail("version", f"{name} {text}", why=why, fix=fix, exit_code=ExitCode.UNSAFE)
    if numbers < OLDEST_DRAINED:
        why = "when its memory is full it refuses to hand out what is queued, so that it never gets empty again"
        return warn("version", f"{name} {text}", why=why, fix=fix)
    return ok("version", f"{name} {text}")


def role(probe: Probe) -> Check:
    """It is a primary, and no cluster."""
    found = probe.info.get("role")
    mode = probe.info.get("redis_mode") or probe.info.get("server_mode")
    if mode == "cluster":
        why = "a cluster has only database 0, and scripts cannot reach all keys"
        return refuse("role", "a cluster", why=why, fix="name one primary without cluster mode: `REDIS_URL=redis://…`")
    if found == "slave":
        why = "a replica refuses writes; one that takes them loses them at the next synchronisation"
        return refuse("role", "a replica", why=why, fix="name the primary: `REDIS_URL=redis://…`")
    return unknown("role", HIDDEN) if found is None else ok("role", "primary" if found == "master" else str(found))


def clock(probe: Probe) -> Check:
    """This machine's clock agrees with that of Redis."""
    before_ms = probe.clock.now_ms()
    seconds, microseconds = probe.client(0).time()
    here_ms = (before_ms + probe.clock.now_ms()) / 2
    skew_ms = here_ms - (int(seconds) * 1000 + int(microseconds) / 1000)
    found = f"this machine is {abs(skew_ms) / 1000:.1f} s {'ahead of' if skew_ms > 0 else 'behind'} Redis"
    why = "ages, deadlines and the sweep compare times of rows and of messages: sends expire too early or too late"
    fix = "synchronise both: `timedatectl set-ntp true`"
    if abs(skew_ms) > FAIL_SKEW_MS:
        return fail("clock", found, why=why, fix=fix)
    if abs(skew_ms) > WARN_SKEW_MS:
        return warn("clock", found, why=why, fix=fix)
    return ok("clock", "as that of Redis, to the second")


def latency(probe: Probe) -> Check:
    """Redis answers quickly."""
    client = probe.client(0)
    took_ms = []
    for _ in range(PINGS):
        began_ms = probe.clock.boot_ms()
        client.ping()
        took_ms.append(probe.clock.boot_ms() - began_ms)
    median = statistics.median(took_ms)
    if median < SLOW_PING_MS:
        return ok("latency", f"{median:.0f} ms at the median of {PINGS}")
    return warn(
        "latency",
        f"{median:.0f} ms at the median of {PINGS}",
        why="every message takes two or three round trips, and a web request one",
        fix='bring it closer, or see what keeps it busy: `redis-cli -u "$REDIS_URL" --latency`',
    )


def transport(probe: Probe) -> Check:
    """Nobody between here and there can read along."""
    given = probe.settings.queue_connection()
    where = _where(given)
    if issubclass(given.get("connection_class", object), SSLConnection):
        return ok("transport", "TLS")
    if where == "here":
        return ok("transport", "it does not leave this machine")
    return warn(
        "transport",
        f"no TLS over {where}",
        why="the password and every id of a message can be read on the way",
        fix="let the server listen with TLS, and say so: `REDIS_URL=rediss://…`",
    )


def password(probe: Probe) -> Check:
    """Nobody else on the network may use it."""
    given = probe.settings.queue_connection()
    where = _where(given)
    if given.get("password"):
        return ok("password", "asked for")
    if where == "here":
        return ok("password", "none, and it is asked on this machine only")
    return warn(
        "password",
        f"none, over {where}",
        why="everybody who reaches its port may read, change and delete the queues",
        fix='`redis-cli -u "$REDIS_URL" CONFIG SET requirepass <password>`, then `REDIS_URL=redis://:<password>@…`',
    )


def rights(probe: Probe) -> Check:
    """Who has the URL cannot empty the databases of all others with one word."""
    where = _where(probe.settings.queue_connection())
    if where == "here":
        return ok("rights", "not asked: it is reached on this machine only")
    client: Any = probe.client(0)
    me = client.acl_whoami()
    try:
        # Says what would happen, and does nothing. Redis 7 and later.
        said = {word: _text(client.execute_command("ACL", "DRYRUN", me, *word.split())) for word in _TOO_MUCH}
    except redis.ResponseError as error:
        fix = 'look yourself, for `+@all`: `redis-cli -u "$REDIS_URL" ACL LIST`'
        return unknown("rights", f"the server does not say ({first_word(error)})", fix=fix)
    may = [word.partition(" ")[0] for word, answer in said.items() if answer == "OK"]
    if not may:
        return ok("rights", f"{_text(me)} may not empty or swap whole databases of others")
    return warn(
        "rights",
        f"{_text(me)} may {' and '.join(may)}",
        why="one such command, typed or in anybody's code, takes the queues, the cache and all else on this server with it",
        fix=f"`{_without(_text(me), may)}`; then `ACL SAVE` or `CONFIG REWRITE`, else it is gone at the next start",
    )


def _without(user: str, commands: list[str]) -> str:
    # FLUSHDB stays: Django's cache.clear() needs it.
    taken = " ".join(f"-{one.lower()}" for one in commands)
    return f'redis-cli -u "$REDIS_URL" ACL SETUSER {shlex.quote(user)} {taken}'


def _text(said: bytes | str) -> str:
    return said.decode() if isinstance(said, bytes) else said


def _where(given: dict[str, Any]) -> str:
    """How far away the server is: ``here``, a private network or a public one."""
    if "path" in given:
        return "here"
    found = socket.getaddrinfo(given.get("host", "localhost"), None, type=socket.SOCK_STREAM)
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if all(one.is_loopback for one in addresses):
        return "here"
    return "a private network" if all(one.is_private for one in addresses) else "a public network"
