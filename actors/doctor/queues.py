"""Checks of the queues: are the keys ours, and does anybody work.

``run`` makes them, through a :class:`Probe`, once the database is known to be the pinned one.
"""

from typing import Any

from actors.doctor.checks import Check, fail, ok, refuse, warn
from actors.doctor.connection import Probe
from actors.legacy_jobs import is_foreign
from middleware.brokers.redis.keys import QUEUE_KEYS
from middleware.brokers.redis.stock import GONE_AFTER_MS, MOST
from middleware.stats import Snapshot

#: Entries looked at from either end of a list.
_LOOK_AT = 20
#: Examples shown.
_SHOWN = 3
#: Looks at the database's keys, and how many each takes: some 5 ms of Redis' time together.
_SCANS, _SCAN_COUNT = 10, 500


def keys(probe: Probe) -> Check:
    """Every key of a declared queue has its type, and its list holds ids and not somebody's JSON."""
    names = sorted(probe.broker.get_declared_queues())
    wrong = _wrong_types(probe, names)
    if wrong:
        return _foreign(f"wrong type: {', '.join(wrong[:_SHOWN])}", "every command on such a key fails")
    foreign = _foreign_lists(probe, names)
    if foreign:
        why = "another program queues JSON where ids belong: workers drop it, and it pops ids that it cannot run"
        return _foreign(f"entries that are no ids: {', '.join(foreign[:_SHOWN])}", why)
    return ok("keys", f"{len(names)} queues under {probe.settings.namespace}:")


def _foreign(found: str, why: str) -> Check:
    fix = "stop the other program, then run `chat-actors migrate-legacy --dry-run` (docs/migrating.md)"
    return refuse("keys", found, why=why, fix=fix)


def _wrong_types(probe: Probe, queue_names: list[str]) -> list[str]:
    expected = [
        (name, wanted)
        for queue in queue_names
        for name, (_, _, wanted, _) in zip(probe.keys.queue(queue), QUEUE_KEYS, strict=True)
    ]
    with probe.client().pipeline(transaction=False) as pipeline:
        for name, _ in expected:
            pipeline.type(name)
        found: list[Any] = pipeline.execute()
    return [
        f"{name} is a {kind.decode()}, not a {wanted}"
        for (name, wanted), kind in zip(expected, found, strict=True)
        if kind.decode() not in ("none", wanted)
    ]


def _foreign_lists(probe: Probe, queue_names: list[str]) -> list[str]:
    with probe.client().pipeline(transaction=False) as pipeline:
        for queue in queue_names:
            pipeline.lrange(probe.keys.of(queue, "ready"), 0, _LOOK_AT - 1)
            pipeline.lrange(probe.keys.of(queue, "ready"), -_LOOK_AT, -1)
        found: list[Any] = pipeline.execute()
    heads_and_tails = zip(queue_names, found[0::2], found[1::2], strict=True)
    return [
        probe.keys.of(queue, "ready") for queue, head, tail in heads_and_tails if any(map(is_foreign, [*head, *tail]))
    ]


def workers(probe: Probe) -> Check:
    """Somebody serves every queue that has something to do."""
    snapshot = probe.snapshot
    served = {name for entry in snapshot.workers for name in entry.worker.queues}
    unserved = [stats for stats in snapshot.queues if stats.unfinished and stats.queue_name not in served]
    if unserved:
        found = ", ".join(f"{stats.queue_name} has {stats.unfinished} unfinished" for stats in unserved)
        return fail(
            "workers", f"{_alive(snapshot)}; {found}", why="nobody delivers them", fix="run `chat-actors worker`"
        )
    if not snapshot.workers:
        why = "nothing waits now, and nothing sent from now on is delivered"
        return warn("workers", "none is alive", why=why, fix="run `chat-actors worker`")
    return ok("workers", _alive(snapshot))


def _alive(snapshot: Snapshot) -> str:
    threads = sum(entry.worker.threads for entry in snapshot.workers)
    return f"{len(snapshot.workers)} processes with {threads} threads" if snapshot.workers else "no worker is alive"


def stock_workers(probe: Probe) -> Check:
    """No stock Dramatiq worker consumes these keys."""
    since_ms = probe.now_ms - GONE_AFTER_MS
    alive: Any = probe.client().zrangebyscore(probe.keys.stock_heartbeats, since_ms, "+inf", start=0, num=MOST)
    names = sorted(probe.broker.get_declared_queues())
    hands = [probe.keys.stock_hands(one.decode(), name) for one in alive for name in names]
    # Producers leave heartbeats too; only who consumes has something in hand.
    busy = probe.client().exists(*hands) if hands else 0
    if busy:
        fix = "stop `dramatiq` with your own module on this Redis; only `chat-actors worker` or `dramatiq actors` may consume"
        why = "it takes messages past their leases, lanes and pace"
        return fail("stock_workers", f"a stock Dramatiq worker holds messages of {busy} queues", why=why, fix=fix)
    return ok("stock_workers", "none consumes")


def prefix(probe: Probe) -> Check:
    """Nobody else keeps keys in the queues' database."""
    own = (probe.keys.namespace, "chat:legacy:")
    foreign, cursor = 0, 0
    for _ in range(_SCANS):
        page: Any = probe.client().scan(cursor, count=_SCAN_COUNT)
        cursor, names = page
        foreign += sum(not name.decode(errors="replace").startswith(own) for name in names)
        if not cursor:
            break
    if not foreign:
        return ok("prefix", f"no key but those under {own[0]}:")
    # Their names are not shown: they may hold numbers of people.
    return warn(
        "prefix",
        f"{'at least ' if cursor else ''}{foreign} keys of somebody else in database {probe.settings.queue_db}",
        why="whoever empties his database with FLUSHDB, as cache.clear() does, empties the queues",
        fix=f'see which: `redis-cli -u "$REDIS_URL" -n {probe.settings.queue_db} --scan`; then move them to another database',
    )
