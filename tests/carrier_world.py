"""What the tests of the scripts share: one queue, and short words for what they do to it."""

from typing import Any

import redis

from middleware.brokers.redis.keys import QUEUE_KEYS, Keys
from middleware.brokers.redis.transitions import Memory, Transitions
from middleware.brokers.redis.values import Fetched, Gate, GateChange
from middleware.outcomes import Done

QUEUE = "q"
LONG_MS = 60_000
CARE = {"max_deliveries": 2}
MEMORY = Memory(remember_ms=LONG_MS, dead_max_age_ms=LONG_MS, dead_max=100)
#: Keys that stay when a queue is drained: what ended, what happened, how it is set.
REMAINS = frozenset({"finished", "finished_before", "control", "counters", "wake", "gates"})


def take(moves: Transitions, limit: int = 10, *, lease_ms: int = LONG_MS) -> list[Fetched]:
    return moves.fetch(QUEUE, limit=limit, lease_ms=lease_ms, owner="w1").messages


def ids(fetched: list[Fetched]) -> list[str]:
    return [one.lease.id for one in fetched]


def run_all(moves: Transitions) -> list[str]:
    """Run one after the other to its end; the ids in that order."""
    order = []
    while fetched := take(moves, 1):
        order += ids(fetched)
        moves.finish(fetched[0].lease, Done(), body=b"")
    return order


def expire(client: redis.Redis, keys: Keys, id_: str) -> None:
    """Let a lease end now, as if its worker had died a lease ago."""
    leases = keys.of(QUEUE, "leases")
    (member,) = [member for member in client.zrange(leases, 0, -1) if member.startswith(f"{id_}\0".encode())]
    client.zadd(leases, {member: 1})


def make_due(client: redis.Redis, keys: Keys, id_: str) -> None:
    """Let the time of a delayed message come."""
    assert client.zadd(keys.of(QUEUE, "delayed"), {id_: 1}, xx=True, ch=True) == 1


def depths(moves: Transitions) -> tuple[int, int, int, int, int]:
    stats = moves.stats([QUEUE])[0]
    return stats.ready, stats.delayed, stats.in_flight, stats.waiting_in_lane, stats.dead


def gate(moves: Transitions, group: str, **change: Any) -> None:
    moves.set_gate(QUEUE, group, GateChange(**change))


def gate_of(moves: Transitions, group: str) -> Gate:
    (found,) = [one for one in moves.gates(QUEUE) if one.group == group]
    return found


def existing(client: redis.Redis, keys: Keys) -> set[str]:
    """Keys of the queue that are there, by their names in Lua."""
    return {name for name, *_ in QUEUE_KEYS if client.exists(keys.of(QUEUE, name))}


def pass_time(client, keys, group: str, by_ms: int) -> None:
    """Move all times of a gate to ``by_ms`` earlier, as if so long had passed."""
    gates, group_due = keys.of(QUEUE, "gates"), keys.of(QUEUE, "group_due")
    limit, next_at, interval, burst, tat, paused, jitter = client.hget(gates, group).decode().split()
    moved = (limit, int(next_at) - by_ms, interval, burst, float(tat) - by_ms, paused, jitter)
    client.hset(gates, group, " ".join(map(str, moved)))
    if client.zscore(group_due, group) is not None:
        client.zincrby(group_due, -by_ms, group)


def drain_once(moves: Transitions, *, max_deliveries: int) -> bool:
    """Let all time pass, end all that runs, delete what is dead, take what comes; False when nothing did."""
    client, delayed = moves.scripts.client, moves.scripts.keys.of(QUEUE, "delayed")
    for id_ in client.zrange(delayed, 0, -1):
        client.zadd(delayed, {id_: 1})
    moves.tend([QUEUE], max_deliveries=max_deliveries)
    held = moves.leases(QUEUE)
    for lease in held:
        assert moves.finish(lease, Done(), body=b"")
    dead = [id_.decode() for id_ in client.zrange(moves.scripts.keys.of(QUEUE, "dead"), 0, -1)]
    moves.discard(QUEUE, dead)
    return bool(take(moves) or held or dead)
