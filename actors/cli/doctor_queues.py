"""Checks of the queues: are the keys ours, and does anybody work.

``doctor_run`` makes them, through a :class:`Probe`, once the database is known to be the pinned one.
"""

from typing import Any

from actors.cli.checks import Check, fail, ok, unknown, warn
from actors.cli.doctor_redis import Probe
from middleware.brokers.redis.keys import QUEUE_KEYS
from middleware.brokers.redis.transitions import QueueStats
from middleware.errors import ExitCode, PipelineError
from middleware.stats import Snapshot, take_snapshot

#: Entries looked at from either end of a list.
_LOOK_AT = 20
#: Examples shown.
_SHOWN = 3


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
    fix = "stop the other program, then rename its keys, or use another CHAT_NAMESPACE"
    return fail("keys", found, why=why, fix=fix, exit_code=ExitCode.UNSAFE)


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
        probe.keys.of(queue, "ready")
        for queue, head, tail in heads_and_tails
        if any(entry.lstrip()[:1] in (b"{", b"[") for entry in [*head, *tail])
    ]


def workers(probe: Probe) -> Check:
    """Somebody serves every queue that has something to do."""
    try:
        snapshot = take_snapshot(probe.broker)
    except PipelineError as error:
        return unknown("workers", f"the queues could not be read ({error.code})", why=str(error))
    served = {name for entry in snapshot.workers for name in entry.worker.queues}
    unserved = [stats for stats in snapshot.queues if _unfinished(stats) and stats.queue_name not in served]
    if unserved:
        found = ", ".join(f"{stats.queue_name} has {_unfinished(stats)} unfinished" for stats in unserved)
        return fail("workers", f"{_alive(snapshot)}; {found}", why="nobody delivers them", fix="run chat-actors worker")
    if not snapshot.workers:
        why = "nothing waits now, and nothing sent from now on is delivered"
        return warn("workers", "none is alive", why=why, fix="run chat-actors worker")
    return ok("workers", _alive(snapshot))


def _unfinished(stats: QueueStats) -> int:
    return stats.ready + stats.delayed + stats.in_flight + stats.waiting_in_lane


def _alive(snapshot: Snapshot) -> str:
    threads = sum(entry.worker.threads for entry in snapshot.workers)
    return f"{len(snapshot.workers)} processes with {threads} threads" if snapshot.workers else "no worker is alive"
