"""Crash: a worker process is killed with eight messages in flight; how long until all of them run again elsewhere."""

from time import monotonic_ns

from bench.arena import Arena, TookTooLong, pause, wait
from bench.log import Record

THREADS = 8
#: Messages that wait 50 ms each in the busy case: more than the other process can work off meanwhile.
BACKLOG = 12_000
#: How long a duplicate is waited for once all have run again, in seconds.
SETTLE_S = 2

PLANS = {"default": {"within_s": 60}, "full": {"within_s": 150}}


def run(arena: Arena, *, within_s: float, busy: bool) -> dict[str, object]:
    """One trial. The second process is there before the first dies, with idle threads or a backlog to work off."""
    first = arena.start_worker(threads=THREADS, BENCH_HOLD="1")
    arena.warm_up()
    held = range(1_000_000, 1_000_000 + THREADS)
    for number in held:
        arena.producer.send(number, job="hold")
    arena.wait_for(THREADS, within_s=30)
    arena.start_worker(threads=THREADS)
    # Every thread of the first is taken, so only the second can run this.
    arena.producer.send(0)
    arena.wait_for(THREADS + 1, within_s=60)
    if busy:
        arena.producer.send_many(range(BACKLOG), job="io")
    arena.log.forget()
    killed_ns = monotonic_ns()
    first.kill()
    try:
        wait(lambda: len(_again(arena, held)) == THREADS, within_s=within_s, what="all again", look_every_s=0.1)
        pause(SETTLE_S)
    except TookTooLong:
        # Whoever is not back by then counts as lost.
        pass
    runs = [record for record in arena.log.records() if record.number in held]
    again = _again(arena, held)
    return {
        "again_s": max(record.at_ns - killed_ns for record in again.values()) / 1e9 if len(again) == THREADS else None,
        "lost": THREADS - len(again),
        "twice": len(runs) - len(again),
        "waited_s": (monotonic_ns() - killed_ns) / 1e9,
    }


def _again(arena: Arena, held: range) -> dict[int, Record]:
    """First run after the kill of each message that was in flight."""
    found: dict[int, Record] = {}
    for record in arena.log.records():
        if record.number in held:
            found.setdefault(record.number, record)
    return found
