"""Isolation of groups: how late another group's first message is while very many wait behind one group's gate."""

from bench.arena import Arena, pause, wait
from bench.figures import spread_ms
from bench.log import Record

THREADS = 8
#: Messages of the full group run this many at a time, 50 ms each.
LIMIT = 1

PLANS = {
    "default": {"backlog": 10_000, "others": 60},
    "full": {"backlog": 10_000, "others": 400},
}


def run(arena: Arena, *, backlog: int, others: int) -> dict[str, object]:
    """Each of the others is the first of a group that was never seen before."""
    arena.producer.set_gate("full", limit=LIMIT)
    arena.start_worker(threads=THREADS)
    arena.warm_up()
    arena.producer.send_to_group(range(1_000_000, 1_000_000 + backlog), group="full", job="io")
    began_ns: list[int] = []
    for number in range(others):
        pause(arena.random.uniform(0.02, 0.06))
        began_ns += arena.producer.send_to_group([number], group=f"other-{number}", job="note")
    seen: dict[int, Record] = {}

    def all_ran() -> bool:
        seen.update({record.number: record for record in arena.log.records() if record.number < others})
        return len(seen) == others

    wait(all_ran, within_s=30, what="first messages of the other groups")
    return {
        "full_group_ran": sum(record.number >= others for record in arena.log.records()),
        **spread_ms([record.at_ns - began_ns[number] for number, record in seen.items()]),
    }
