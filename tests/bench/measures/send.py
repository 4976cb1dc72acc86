"""Send: what ``send`` costs its caller, beside an empty script on the same connection, and how fast many go in at once."""

from collections.abc import Callable
from time import perf_counter_ns

from bench.arena import Arena
from bench.figures import percentile

PLANS = {
    "quick": {"messages": 1_000, "many": 10_000},
    "default": {"messages": 2_000, "many": 20_000},
    "full": {"messages": 5_000, "many": 100_000},
}
_EMPTY = "return 1"
#: Sends and empty scripts take turns in slices of this many, so that both see the same machine.
_SLICE = 50


def run(arena: Arena, *, messages: int, many: int) -> dict[str, object]:
    """No worker runs: only the sending side and the server are there."""
    arena.producer.send_times_ns(range(100))
    result: dict[str, object] = {}
    sends: list[int] = []
    empties: list[int] = []
    everywhere: list[int] = []
    for first in range(0, messages, _SLICE):
        slice_ = range(first, first + _SLICE)
        sends += arena.producer.send_times_ns(slice_)
        empties += empty_times_ns(arena, _SLICE)
        if arena.contestant.routes:
            everywhere += arena.producer.send_times_ns(slice_, job="everywhere")
    result["send_us"] = percentile(sends, 50) / 1000
    result["send_p99_us"] = percentile(sends, 99) / 1000
    if empties:
        result["empty_us"] = percentile(empties, 50) / 1000
        result["to_empty"] = percentile(sends, 50) / percentile(empties, 50)
    if everywhere:
        result["everywhere_us"] = percentile(everywhere, 50) / 1000
        result["everywhere_to_empty"] = percentile(everywhere, 50) / percentile(empties, 50)
    if arena.contestant.bulk:
        result["many_per_s"] = _rate_per_s(lambda: arena.producer.send_many(range(many)), many)
    if arena.contestant.routes:
        before = arena.use()
        result["many_everywhere_per_s"] = _rate_per_s(lambda: arena.producer.send_chats(many, everywhere=True), many)
        used = arena.use().since(before)
        # CPU and not time: what others take from the server is not in it.
        result["script_cpu_ms"] = used.cpu_s * 1e3 / used.scripts
    return result


def _rate_per_s(send: Callable[[], None], count: int) -> float:
    begin_ns = perf_counter_ns()
    send()
    return count * 1e9 / (perf_counter_ns() - begin_ns)


def empty_times_ns(arena: Arena, count: int) -> list[int]:
    """How long each of so many empty scripts takes by the contestant's own client; none where that is not redis-py's."""
    client = arena.producer.client
    if client is None:
        return []
    sha = client.script_load(_EMPTY)
    times: list[int] = []
    for _ in range(count):
        begin_ns = perf_counter_ns()
        client.evalsha(sha, 0)
        times.append(perf_counter_ns() - begin_ns)
    return times
