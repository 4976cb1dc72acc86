"""Drain: how fast waiting messages are worked off, and what each costs worker and server."""

from bench.arena import Arena
from bench.log import Record

PLANS = {
    "quick": {"messages": 8_000},
    "default": {"messages": 20_000},
    "full": {"messages": 60_000},
}
#: Of those that wait 50 ms each.
IO_PLANS = {
    "quick": {"messages": 1_280},
    "default": {"messages": 3_840},
    "full": {"messages": 12_800},
}


def run(
    arena: Arena, *, messages: int, processes: int = 1, threads: int = 8, job: str = "note", least: int = 100
) -> dict[str, object]:
    """Fill the queue, then start the workers; only what lies between the first and the last execution counts."""
    count = max(least, int(messages * arena.contestant.share))
    arena.producer.send_many(range(count), job=job)
    workers = [arena.start_worker(threads=threads) for _ in range(processes)]
    arena.wait_for(1, within_s=60)
    # What the workers spend on starting is over with the first message; these two snapshots are the ends of the costs.
    first, first_cpu_s, first_use = arena.log.count(), [worker.cpu_s() for worker in workers], arena.use()
    arena.wait_for(count, within_s=120, look_every_s=0.01)
    last, last_cpu_s, last_use = arena.log.count(), [worker.cpu_s() for worker in workers], arena.use()
    between = last - first
    cpu_s = sum(last_cpu_s) - sum(first_cpu_s)
    used = last_use.since(first_use)
    records = arena.log.records()
    return {
        "messages": count,
        "per_s": rate_per_s(records, processes=processes),
        "worker_us": cpu_s * 1e6 / between,
        "server_us": used.cpu_s * 1e6 / between,
        "commands": used.commands / between,
        "reads": used.reads / between,
        "duplicates": len(records) - len({record.number for record in records}),
        "processes": len({record.pid for record in records}),
    }


def rate_per_s(records: list[Record], *, processes: int = 1) -> float:
    """Executions per second while every process was at work: from the first of the last to start, to the very last.

    Who forks for each message has more processes than workers; there the very first begins.
    """
    firsts: dict[int, int] = {}
    for record in records:
        firsts.setdefault(record.pid, record.at_ns)
    begin_ns = max(firsts.values()) if len(firsts) <= processes else records[0].at_ns
    end_ns = records[-1].at_ns
    return sum(record.at_ns > begin_ns for record in records) * 1e9 / (end_ns - begin_ns)
