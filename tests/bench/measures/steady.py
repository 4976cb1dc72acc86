"""Steady load: how long from the start of ``send`` to the actor's body while messages come at an even pace."""

from time import monotonic

from bench.arena import Arena, pause
from bench.figures import spread_ms

THREADS = 8

PLANS = {
    "quick": {"per_s": 200, "seconds": 5},
    "default": {"per_s": 200, "seconds": 10},
    "full": {"per_s": 200, "seconds": 30},
}


def run(arena: Arena, *, per_s: int, seconds: int) -> dict[str, object]:
    """Messages leave by the clock, however long those before them take."""
    arena.start_worker(threads=THREADS)
    arena.warm_up()
    began_ns: list[int] = []
    begin_s = monotonic()
    for number in range(per_s * seconds):
        pause(max(0.0, begin_s + number / per_s - monotonic()))
        began_ns.append(arena.producer.send(number, queue=number % arena.contestant.queues))
    took_s = monotonic() - begin_s
    arena.wait_for(per_s * seconds, within_s=20)
    latencies_ns = [record.at_ns - began_ns[record.number] for record in arena.log.records()]
    return {"sent_per_s": per_s * seconds / took_s, **spread_ms(latencies_ns)}
