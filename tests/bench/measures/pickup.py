"""Idle pick-up: how long from the start of ``send`` to the actor's body, when there is nothing else to do."""

from time import monotonic

from bench.arena import Arena, pause
from bench.figures import spread_ms

#: A gap of random length before each message, so that nobody's polling interval is hit in step.
GAP_S = (0.020, 0.120)
THREADS = 8

PLANS = {
    "quick": {"messages": 50, "most_s": 5},
    "default": {"messages": 80, "most_s": 8},
    "full": {"messages": 400, "most_s": 60},
}


def run(arena: Arena, *, messages: int, most_s: float) -> dict[str, object]:
    """One message at a time over all queues; the next is sent when the one before it has run.

    Who is slow gets fewer messages: it ends after ``most_s``.
    """
    arena.start_worker(threads=THREADS)
    arena.warm_up()
    sent_ns: list[int] = []
    end_s = monotonic() + most_s
    for number in range(messages):
        if monotonic() > end_s:
            break
        pause(arena.random.uniform(*GAP_S))
        sent_ns.append(arena.producer.send(number, queue=number % arena.contestant.queues))
        arena.wait_for(number + 1, within_s=30)
    return {
        "queues": arena.contestant.queues,
        "messages": len(sent_ns),
        **spread_ms([record.at_ns - sent_ns[record.number] for record in arena.log.records()]),
    }
