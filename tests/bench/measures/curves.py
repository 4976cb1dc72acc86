"""Cost curves: what a message costs when few or very many wait, in few or very many lanes; and the slowest command."""

from typing import Any

from bench.arena import Arena
from bench.figures import percentile
from bench.measures.drain import rate_per_s
from bench.measures.send import empty_times_ns
from bench.processes import preemptions

THREADS = 8
SENDS = 500
SLICE = 100
#: Messages worked off at each level, where there are as many; the first ones pay for the worker's start.
WORK = 5_000
STARTING = 100

SERVER_OPTIONS = {"slowlog-log-slower-than": "1000", "slowlog-max-len": "4096"}

_WAITING = [1_000, 10_000, 100_000]
PLANS = {
    "default": {"levels": _WAITING, "foreign": 500_000},
    "full": {"levels": [*_WAITING, 1_000_000], "foreign": 500_000},
}
LANE_PLANS = {
    "default": {"levels": [1, 1_000, 20_000], "messages": 20_000, "foreign": 0},
    "full": {"levels": [1, 1_000, 100_000], "messages": 200_000, "foreign": 500_000},
}


def run(arena: Arena, *, levels: list[int], foreign: int, messages: int | None = None) -> dict[str, object]:
    """A row per level: so many messages waiting, or, with ``messages``, so many lanes that these are spread over."""
    rows: dict[str, dict[str, Any]] = {}
    waiting = 0
    _add_strangers(arena, foreign)
    for level in levels:
        arena.redis.slowlog_reset()
        preempted = preemptions(arena.server.pid or 0)
        if messages is None:
            arena.producer.send_many(range(max(0, level - waiting)))
            waiting = max(waiting, level)
        else:
            arena.redis.flushdb()
            _add_strangers(arena, foreign)
            arena.producer.send_to_lanes(range(messages), lanes=level)
            waiting = messages
        row = {"waiting": waiting, **_send(arena), **_work(arena, waiting)}
        row["work_cost"] = row["work_cpu_us"] / row["empty_cpu_us"]
        # The slow log counts time, not work: a script from which the processor was taken looks slow.
        rows[f"{level:,}"] = {**row, "preempted": preemptions(arena.server.pid or 0) - preempted}
        waiting += SENDS - len(arena.log.records())
        arena.log.forget()
    return {"rows": rows}


def _send(arena: Arena) -> dict[str, float]:
    """In turns with empty scripts: what these cost says how fast the server's processor is just now."""
    times: list[int] = []
    sends_s = empties_s = 0.0
    for first in range(0, SENDS, SLICE):
        begin = arena.use()
        times += arena.producer.send_times_ns(range(first, first + SLICE))
        middle = arena.use()
        empty_times_ns(arena, SLICE)
        sends_s += middle.since(begin).cpu_s
        empties_s += arena.use().since(middle).cpu_s
    return {
        "send_us": percentile(times, 50) / 1000,
        "send_cpu_us": sends_s * 1e6 / SENDS,
        "empty_cpu_us": empties_s * 1e6 / SENDS,
        "send_cost": sends_s / empties_s,
    }


def _work(arena: Arena, waiting: int) -> dict[str, Any]:
    arena.log.forget()
    arena.start_worker(threads=THREADS)
    arena.wait_for(STARTING, within_s=60)
    first, before = arena.log.count(), arena.use()
    arena.wait_for(min(WORK, waiting), within_s=120)
    last, used = arena.log.count(), arena.use().since(before)
    arena.stop_workers()
    records = arena.log.records()[STARTING:last]
    # Commands inside a script have entries of their own; the script's covers them.
    slow = [entry for entry in arena.redis.slowlog_get(4096) if entry["command"].startswith((b"EVAL", b"FCALL"))]
    names = arena.producer.script_names()
    entries = sorted(slow, key=lambda entry: -entry["duration"])
    return {
        "per_s": rate_per_s(records),
        "work_cpu_us": used.cpu_s * 1e6 / (last - first),
        "slowest_ms": entries[0]["duration"] / 1000 if entries else 1.0,
        "over_5_ms": sum(entry["duration"] > 5_000 for entry in entries),
        "slowest": [(names.get(entry["command"].split()[1].decode(), "?"), entry["duration"]) for entry in entries[:8]],
    }


def _add_strangers(arena: Arena, count: int) -> None:
    """Keys of somebody else in our database."""
    for first in range(0, count, 10_000):
        arena.redis.mset({f"stranger:{number}": number for number in range(first, min(count, first + 10_000))})
