"""Redis memory per waiting message, by what the allocator has given out."""

from itertools import pairwise
from time import monotonic

from bench.arena import Arena, TookTooLong, pause

#: What is sent first: keys, scripts and connections are there then.
FIRST = 200
#: The same load of Redis' hash tables at every size: 0.76, three quarters of the way to the next doubling.
PLANS = {
    "quick": {"messages": 25_000, "wait_s": 0},
    "default": {"messages": 100_000, "wait_s": 0},
    "full": {"messages": 100_000, "wait_s": 185},
}


def run(arena: Arena, *, messages: int, wait_s: int) -> dict[str, object]:
    """``send_message``'s messages, plain and, where a contestant knows them, with lane, group and unique key.

    With ``wait_s`` a worker that serves another queue is there meanwhile: what expires by somebody's care has expired then.
    """
    result: dict[str, object] = {"bytes_plain": _per_message(arena, messages, wait_s=wait_s, everywhere=False)}
    if arena.contestant.routes:
        arena.stop_workers()
        arena.redis.flushdb()
        result["bytes_everywhere"] = _per_message(arena, messages, wait_s=wait_s, everywhere=True)
    return result


def _per_message(arena: Arena, messages: int, *, wait_s: int, everywhere: bool) -> float:
    arena.producer.send_chats(FIRST, everywhere=everywhere)
    if wait_s:
        arena.start_worker(threads=1, BENCH_QUEUE="q2")
        pause(5)
    before = _used_bytes(arena)
    arena.producer.send_chats(messages, everywhere=everywhere)
    pause(wait_s)
    # A message that was refused, dropped or merged with another would make the rest look small.
    there = arena.producer.waiting()
    if there != FIRST + messages:
        raise TookTooLong(f"{there} of {FIRST + messages} messages wait")
    return (_used_bytes(arena) - before) / messages


def _used_bytes(arena: Arena) -> int:
    """Once tables have stopped moving: a hash that grows has two of them for a while."""
    looks: list[int] = []
    end_s = monotonic() + 30
    while monotonic() < end_s:
        arena.redis.memory_purge()
        looks.append(arena.redis.info("memory")["used_memory"])
        if len(looks) > 5 and all(abs(one - other) < 2_000 for one, other in pairwise(looks[-5:])):
            return looks[-1]
        pause(0.3)
    raise TookTooLong(f"used_memory did not come to rest: {looks[-5:]}")
