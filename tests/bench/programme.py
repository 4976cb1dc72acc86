"""What is measured, in which order, how large, and of whom."""

from dataclasses import dataclass, field
from typing import Any

from bench.measures import crash, curves, delayed, drain, isolation, memory, pickup, send, steady
from bench.results import OURS, RAW, STOCK

#: Rounds of each measurement, by mode, unless an entry says otherwise.
ROUNDS = {"quick": 1, "default": 3, "full": 5}
#: Peers that take part unless somebody says otherwise: of all those here they were ahead in one figure or another.
PEERS = {
    "quick": ("huey_redis",),
    "default": ("huey_redis", "taskiq_stream"),
    "full": ("huey_redis", "taskiq_stream", "taskiq_list", "streaq_stream", "celery_redis"),
}
ALWAYS = (RAW, STOCK, OURS)
#: Who was wanted and is not on the package index, so that nobody takes its absence for a choice.
MISSING = ("dramatiq-redis-streams",)
_ONCE = {"quick": 1, "default": 1, "full": 3}


@dataclass(frozen=True, slots=True)
class Column:
    """A figure in the table: its name in a round's result, its heading, how it is written."""

    name: str
    heading: str
    form: str = ",.2f"


@dataclass(frozen=True, slots=True)
class Entry:
    """One measurement. ``plans`` holds its arguments by mode; a mode that is missing does not run it.

    The first column is what the ratios are of. ``only`` names who takes part unless contestants are chosen; empty = everybody.
    With ``rows`` a result has a row per level instead of one.
    """

    key: str
    title: str
    measure: str
    plans: dict[str, dict[str, Any]]
    columns: tuple[Column, ...]
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    fixed: dict[str, Any] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=lambda: ROUNDS)
    rows: bool = False
    timeout_s: int = 240


def _of(module: Any, plans: dict[str, dict[str, Any]] | None = None, **fixed: Any) -> dict[str, Any]:
    return {"measure": module.__name__.rpartition(".")[2], "plans": plans or module.PLANS, "fixed": fixed}


_LATENCY = (
    Column("p50_ms", "p50 ms"),
    Column("p95_ms", "p95 ms"),
    Column("p99_ms", "p99 ms"),
    Column("max_ms", "max ms"),
)
_RATE = Column("per_s", "msg/s", ",.0f")
_DRAIN = (
    _RATE,
    Column("worker_us", "worker CPU µs", ",.0f"),
    Column("server_us", "server CPU µs", ",.1f"),
    Column("commands", "commands", ",.1f"),
    Column("reads", "reads", ",.2f"),
    Column("duplicates", "run twice", ",.0f"),
)
_SEND = (
    Column("send_us", "send p50 µs", ",.0f"),
    Column("send_p99_us", "p99 µs", ",.0f"),
    Column("to_empty", "× empty EVALSHA"),
    Column("everywhere_us", "with lane, group, unique µs", ",.0f"),
    Column("many_per_s", "send_many/s", ",.0f"),
    Column("many_everywhere_per_s", "routed/s", ",.0f"),
    Column("script_cpu_ms", "CPU ms per script"),
)
_DELAYED = (
    Column("p95_ms", "late p95 ms"),
    *_LATENCY[:1],
    *_LATENCY[2:],
    Column("rss_grown_mb", "worker grew MB"),
    Column("far", "far ones", ",.0f"),
)
_CRASH = (Column("again_s", "all again s"), Column("lost", "lost", ",.0f"), Column("twice", "run twice", ",.0f"))
_CURVE = (
    Column("send_us", "send p50 µs", ",.0f"),
    Column("send_cost", "its server CPU × empty EVALSHA", ",.1f"),
    _RATE,
    Column("work_cost", "its server CPU × empty EVALSHA", ",.1f"),
    Column("slowest_ms", "slowest script ms"),
    Column("over_5_ms", "over 5 ms", ",.0f"),
    Column("preempted", "server preempted", ",.0f"),
)
_MEMORY = (
    Column("bytes_plain", "bytes per message", ",.0f"),
    Column("bytes_everywhere", "with lane, group, unique key", ",.0f"),
)

PROGRAMME = [
    Entry("pickup", "Idle pick-up: send → actor body", columns=_LATENCY, **_of(pickup)),
    Entry("drain", "Drain, no-op, 1 process × 8 threads", columns=_DRAIN, **_of(drain)),
    Entry("drain2", "Drain, no-op, 2 processes × 8 threads", columns=_DRAIN, **_of(drain, processes=2)),
    Entry(
        "io",
        "50 ms of I/O, 1 process × 64 threads (at most 1,280/s)",
        columns=_DRAIN,
        without=("rq_fork",),
        **_of(drain, drain.IO_PLANS, threads=64, job="io", least=1_280),
    ),
    Entry("send", "Send", columns=_SEND, **_of(send)),
    Entry("steady", "Steady 200/s: send → actor body", columns=_LATENCY, **_of(steady)),
    Entry(
        "delayed",
        "Delayed messages while far ones wait: how late",
        columns=_DELAYED,
        only=(OURS, STOCK, "huey_redis"),
        rounds=_ONCE,
        timeout_s=1_200,
        **_of(delayed),
    ),
    Entry(
        "crash",
        "kill -9 with 8 in flight, the other process idle",
        columns=_CRASH,
        only=(OURS,),
        rounds={"default": 1, "full": 10},
        **_of(crash, busy=False),
    ),
    Entry(
        "crash_busy",
        "kill -9 with 8 in flight, the other process has a backlog",
        columns=_CRASH,
        only=(OURS,),
        rounds={"default": 1, "full": 10},
        **_of(crash, busy=True),
    ),
    Entry(
        "memory",
        "Redis memory per waiting message",
        columns=_MEMORY,
        only=(OURS, STOCK),
        rounds=_ONCE,
        timeout_s=900,
        **_of(memory),
    ),
    Entry(
        "waiting",
        "Cost while so many wait",
        columns=_CURVE,
        only=(OURS,),
        rounds=_ONCE,
        rows=True,
        timeout_s=1_200,
        **_of(curves),
    ),
    Entry(
        "lanes",
        "Cost with so many lanes",
        columns=_CURVE,
        only=(OURS,),
        rounds=_ONCE,
        rows=True,
        timeout_s=1_200,
        **_of(curves, curves.LANE_PLANS),
    ),
    Entry(
        "isolation",
        "First message of another group while 10,000 of one wait",
        columns=_LATENCY,
        only=(OURS,),
        rounds=_ONCE,
        **_of(isolation),
    ),
]
