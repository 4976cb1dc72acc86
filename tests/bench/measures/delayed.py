"""Delays: how late a delayed message runs while very many others wait for a far day, and what those cost a worker."""

from bench.arena import Arena, pause
from bench.figures import spread_ms

THREADS = 8
#: Days that the far messages wait; stock refuses more than seven.
FAR_MS = 6 * 24 * 60 * 60 * 1000
NEAR_MS = (300, 1_500)
#: Stock keeps 1,000 delayed messages per thread in memory: with more than that, nothing else is looked at.
FAR_WITHOUT_BULK = 10_000

PLANS = {
    "default": {"far": 100_000, "near": 100},
    "full": {"far": 1_000_000, "near": 300},
}


def run(arena: Arena, *, far: int, near: int) -> dict[str, object]:
    """The far ones are there first; the near ones are due while the worker has nothing else to do."""
    worker = arena.start_worker(threads=THREADS)
    arena.warm_up()
    before_bytes = worker.rss_bytes()
    far = far if arena.contestant.bulk else min(far, FAR_WITHOUT_BULK)
    arena.producer.send_many_later(range(far), delay_ms=FAR_MS)
    due_ns: list[int] = []
    for number in range(near):
        pause(arena.random.uniform(0.005, 0.030))
        delay_ms = arena.random.randint(*NEAR_MS)
        due_ns.append(arena.producer.send_later(number, delay_ms=delay_ms) + delay_ms * 1_000_000)
    arena.wait_for(near, within_s=20)
    after_bytes = worker.rss_bytes()
    return {
        "far": far,
        "rss_mb": after_bytes / 1e6,
        "rss_grown_mb": (after_bytes - before_bytes) / 1e6,
        **spread_ms([record.at_ns - due_ns[record.number] for record in arena.log.records()]),
    }
