"""The bars that our figures are held against, and whether they are reached."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.results import OURS, RAW, STOCK, Results, present, ratio

Get = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Bar:
    """``value`` of the results must be at most (``most``) or at least ``limit``."""

    figure: str
    value: Get
    limit: float
    unit: str
    most: bool = True

    def reached(self, results: Results) -> bool | None:
        """None when it was not measured."""
        value = self.value(results)
        if value is None:
            return None
        return value <= self.limit if self.most else value >= self.limit


def ours(entry: str, name: str) -> Get:
    """Our own figure."""
    return lambda results: results.median(entry, OURS, name)


def worst_of_ours(entry: str, name: str) -> Get:
    """The largest of our rounds."""

    def get(results: Results) -> float | None:
        found = results.figure(entry, OURS, name)
        return None if found is None else found.high

    return get


def times(entry: str, name: str, contestant: str, *, theirs: str | None = None) -> Get:
    """How many times another contestant's figure ours is."""
    return lambda results: ratio(results.median(entry, OURS, name), results.median(entry, contestant, theirs or name))


def times_best_peer(entry: str, name: str, *, best: Callable[[list[float]], float]) -> Get:
    """How many times the best measured peer's figure ours is."""

    def get(results: Results) -> float | None:
        peers = results.peers(entry, name)
        return ratio(results.median(entry, OURS, name), best(peers)) if peers else None

    return get


def _second_process(results: Results) -> float | None:
    return ratio(results.median("drain2", OURS, "per_s"), results.median("drain", OURS, "per_s"))


def _io_part(results: Results) -> float | None:
    return ratio(results.median("io", OURS, "per_s"), 1280)


def _send(name: str) -> Get:
    return lambda results: ratio(results.median("send", OURS, name), results.median("send", STOCK, "send_us"))


def _worst_trial(name: str) -> Get:
    """Over all trials of both kinds."""
    return lambda results: max(
        present(worst_of_ours(entry, name)(results) for entry in ("crash", "crash_busy")), default=None
    )


def _all_again(results: Results) -> float | None:
    """None also when in some trial not all came back: then there is no time."""
    return None if _worst_trial("lost")(results) else _worst_trial("again_s")(results)


def _rows(name: str) -> Callable[[Results, str], list[float]]:
    """Our own levels of a curve; those of others have a name before the number."""
    return lambda results, entry: present(
        results.median(entry, row, name) for row in results.contestants(entry) if row[:1].isdigit()
    )


def _steepness(entry: str, name: str) -> Get:
    """How many times the smallest value of a curve its largest is."""

    def get(results: Results) -> float | None:
        values = _rows(name)(results, entry)
        return max(values) / min(values) if len(values) > 1 else None

    return get


def _slowest(results: Results) -> float | None:
    return max((value for entry in ("waiting", "lanes") for value in _rows("slowest_ms")(results, entry)), default=None)


BARS = [
    Bar("idle pick-up p50", times("pickup", "p50_ms", RAW), 2, "× raw"),
    Bar("idle pick-up p99", times("pickup", "p99_ms", RAW), 3, "× raw"),
    Bar("idle pick-up p50", times_best_peer("pickup", "p50_ms", best=min), 1, "× best peer"),
    Bar("idle pick-up p99", times_best_peer("pickup", "p99_ms", best=min), 1, "× best peer"),
    Bar("drain", times("drain", "per_s", STOCK), 4, "× stock", most=False),
    Bar("drain", times_best_peer("drain", "per_s", best=max), 2, "× best peer", most=False),
    Bar("2 processes", _second_process, 1.6, "× one process", most=False),
    Bar("50 ms I/O, 64 threads", _io_part, 0.95, "of 1,280/s", most=False),
    Bar("send p50", ours("send", "to_empty"), 2.5, "× empty EVALSHA"),
    Bar("send p50", _send("send_us"), 0.8, "× stock"),
    Bar("send p50 with lane, group, unique key", ours("send", "everywhere_to_empty"), 2.5, "× empty EVALSHA"),
    Bar("send p50 with lane, group, unique key", _send("everywhere_us"), 0.8, "× stock"),
    Bar("send_many", ours("send", "many_per_s"), 20_000, "/s", most=False),
    Bar("at 200/s, p50", ours("steady", "p50_ms"), 0.8, "ms"),
    Bar("at 200/s, p99", ours("steady", "p99_ms"), 2, "ms"),
    Bar("lateness of a delayed message p95", ours("delayed", "p95_ms"), 15, "ms"),
    Bar("worker memory grown by far-future messages", ours("delayed", "rss_grown_mb"), 5, "MB"),
    Bar("kill -9: all running again, worst trial", _all_again, 20, "s"),
    Bar("kill -9: lost, worst trial", _worst_trial("lost"), 0, "messages"),
    Bar("Redis memory, plain", times("memory", "bytes_plain", STOCK), 1.1, "× stock"),
    Bar(
        "Redis memory with lane, group, unique key",
        times("memory", "bytes_everywhere", STOCK, theirs="bytes_plain"),
        1.5,
        "× stock",
    ),
    Bar("slowest script", _slowest, 5, "ms"),
    Bar("slowest kind of script, its CPU: send_many of routed", worst_of_ours("send", "script_cpu_ms"), 5, "ms"),
    Bar("server CPU of a send, over the curve of waiting", _steepness("waiting", "send_cost"), 1.5, "×"),
    Bar("server CPU of fetch and finish, over the curve of waiting", _steepness("waiting", "work_cost"), 1.5, "×"),
    Bar("first message behind another group's backlog", worst_of_ours("isolation", "max_ms"), 50, "ms"),
]
