"""What the queues, the instances and Redis' memory look like at this moment, as numbers for ``/metrics``.

One look costs Redis a few commands, whatever waits (docs/metrics.md has the figure); it is shared by all scrapers for
:data:`GOOD_FOR_MS`, made in a thread of its own, and a Redis that does not answer holds no scraper up.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from actors import services
from actors.circuit import Circuit
from actors.standings import standings
from middleware.brokers.redis import connections
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.roster import RosterEntry
from middleware.brokers.redis.values import QueueStats
from middleware.clock import Clock, SystemClock
from middleware.errors import Described, PipelineError, QueueUnavailable
from middleware.limits.limits import Limits
from middleware.memory import Sample, latest
from middleware.meters import MAX_VALUES, OTHER, Family
from middleware.stats import Snapshot, take_snapshot

logger = logging.getLogger(__name__)

#: A look is shown again for so long, in milliseconds; one that failed is not repeated sooner either.
GOOD_FOR_MS = 5_000
#: Longest that a scraper waits for one, in seconds; then it is told what was seen before, with its age.
PATIENCE_S = 1.0
#: What was seen so long ago is shown no more, in milliseconds.
TOO_OLD_MS = 60_000

_STATES = ("ready", "delayed", "in_flight", "waiting_in_lane", "waiting_in_group", "dead")


class Look:
    """The last look at Redis. Safe to share between threads."""

    def __init__(self, look: Callable[[], list[Family]], *, clock: Clock | None = None) -> None:
        self._look = look
        self.clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._under_way: threading.Event | None = None
        self._tried_ms: int | None = None
        self._seen_ms: int | None = None
        self._is_up = False
        self._families: list[Family] = []

    def families(self) -> list[Family]:
        """What was seen, after one more look where that is due; returns within :data:`PATIENCE_S`."""
        self.clock.wait(PATIENCE_S, until=self._due())
        with self._lock:
            age_ms = None if self._seen_ms is None else self.clock.boot_ms() - self._seen_ms
            is_fresh = age_ms is not None and age_ms <= TOO_OLD_MS
            found = list(self._families) if is_fresh else []
            is_up = self._is_up and is_fresh
        found.append(_one("chat_actors_redis_up", "1 when Redis answered the last look.", float(is_up)))
        if age_ms is not None:
            text = "Age of what is said of queues, instances and memory."
            found.append(_one("chat_actors_look_age_seconds", text, age_ms / 1000))
        return found

    def _due(self) -> threading.Event:
        with self._lock:
            now_ms = self.clock.boot_ms()
            if self._under_way is None and (self._tried_ms is None or now_ms - self._tried_ms >= GOOD_FOR_MS):
                self._tried_ms, self._under_way = now_ms, threading.Event()
                threading.Thread(target=self._run, args=(self._under_way,), name="look", daemon=True).start()
            if self._under_way is not None:
                return self._under_way
        none = threading.Event()
        none.set()
        return none

    def _run(self, done: threading.Event) -> None:
        found: list[Family] | None = None
        try:
            found = self._look()
        except Exception as error:
            code = error.code if isinstance(error, Described) else type(error).__name__
            logger.debug("metrics.look_failed", extra={"code": code})
        with self._lock:
            self._is_up, self._under_way = found is not None, None
            if found is not None:
                self._families, self._seen_ms = found, self.clock.boot_ms()
        done.set()


def look_at(broker: CarrierBroker) -> list[Family]:
    """Everything that Redis knows, in a few commands; what it refuses to say of instances or memory is left out.

    Raises:
        PipelineError: it did not answer, or refused to say how the queues are.
    """
    snapshot = take_snapshot(broker, _served(broker))
    return [
        *_of_queues(snapshot),
        *_of_workers(snapshot.workers),
        *_unless_refused("instances", lambda: _of_instances(standings(snapshot.as_json()["groups"], _circuits()))),
        *_unless_refused("memory", lambda: _of_newest(broker)),
    ]


def _unless_refused(part: str, look: Callable[[], Iterable[Family]]) -> list[Family]:
    try:
        return list(look())
    except QueueUnavailable:
        raise
    except PipelineError as error:
        # A right that is missing there hides nothing of the queues, and is no Redis that is away.
        logger.warning("metrics.part_refused", extra={"part": part, "code": error.code})
        return []


def _circuits() -> dict[str, Circuit]:
    settings = services.settings()
    with closing(connections.make_client(settings.rate_connection(), role="metrics")) as client:
        records = Limits(client, namespace=settings.namespace).all_records()
    return {name: Circuit.read(text) for name, text in records.items()}


def _of_newest(broker: CarrierBroker) -> Iterator[Family]:
    for sample in latest(broker.client, broker.machinery.keys.memory, count=1):
        yield from _of_memory(sample, now_ms=broker.clock.now_ms())


def _served(broker: CarrierBroker) -> set[str]:
    """Queues declared here, and those of workers that import more."""
    served = {name for entry in broker.machinery.roster.alive() for name in entry.worker.queues}
    return broker.get_declared_queues() | served


def _one(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (), [((), (value,))])


def _of_queues(snapshot: Snapshot) -> Iterator[Family]:
    queues = snapshot.queues
    depths = [((one.queue_name, state), (float(getattr(one, state)),)) for one in queues for state in _STATES]
    yield Family("chat_actors_queue_messages", "gauge", "Messages by state.", ("queue", "state"), depths)
    ages: Mapping[str, tuple[str, Callable[[QueueStats], float | None]]] = {
        "chat_actors_queue_oldest_ready_age_seconds": (
            "Age of the first ready one.",
            lambda one: one.oldest_ready_age_s,
        ),
        "chat_actors_queue_oldest_dead_age_seconds": (
            "Age of the oldest dead letter.",
            lambda one: one.oldest_dead_age_s,
        ),
        "chat_actors_queue_paused_seconds": ("For how long an operator holds it.", lambda one: one.paused_for_s),
    }
    for name, (text, of) in ages.items():
        yield Family(name, "gauge", text, ("queue",), [((one.queue_name,), (of(one) or 0.0,)) for one in queues])
    events = [((one.queue_name, event), (float(n),)) for one in queues for event, n in sorted(one.counters.items())]
    text = "What happened in the queue, by all processes, since Redis has it."
    yield Family("chat_actors_queue_events_total", "counter", text, ("queue", "event"), events)
    serving = {one.queue_name: 0 for one in queues}
    for entry in snapshot.workers:
        for name in entry.worker.queues:
            serving[name] = serving.get(name, 0) + 1
    rows = [((name,), (float(count),)) for name, count in serving.items()]
    yield Family("chat_actors_queue_workers", "gauge", "Worker processes alive that serve it.", ("queue",), rows)


def _of_workers(workers: Sequence[RosterEntry]) -> Iterator[Family]:
    """Of every worker process that shows in Redis, whoever started it."""
    known = [float(one.rss_bytes) for one in workers if one.rss_bytes is not None]
    if workers and not known:
        # A system that does not say it.
        return
    text = "Memory in RAM of all worker processes alive."
    yield _one("chat_actors_workers_resident_bytes", text, sum(known))
    yield _one("chat_actors_workers_largest_resident_bytes", "That of the largest.", max(known, default=0.0))


def _of_instances(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Family]:
    counts: dict[str, int] = {}
    for one in found.values():
        counts[one["state"]] = counts.get(one["state"], 0) + 1
    text = "Instances with a gate or in trouble, by how they stand (docs/operations.md)."
    yield Family("chat_actors_instances", "gauge", text, ("state",), [((k,), (float(n),)) for k, n in counts.items()])
    troubled = [name for name, one in found.items() if one["state"] != "open"]
    shown = sorted(troubled)[:MAX_VALUES]
    text = "1 for an instance that is not open."
    labels = ("chat_instance", "state", "cause")
    rows = [((name, found[name]["state"], found[name]["cause"] or ""), (1.0,)) for name in shown]
    yield Family("chat_actors_instance_state", "gauge", text, labels, rows)
    waiting = {name: float(one["parked"]) for name, one in found.items()}
    text = "Messages that wait at an instance's gate."
    rows_waiting = [((name,), (count,)) for name, count in _capped(waiting)]
    yield Family("chat_actors_instance_waiting_messages", "gauge", text, ("chat_instance",), rows_waiting)


def _capped(values: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    """The largest, and the sum of the others."""
    largest = sorted(values.items(), key=lambda one: (-one[1], one[0]))
    yield from largest[:MAX_VALUES]
    if len(largest) > MAX_VALUES:
        yield OTHER, sum(count for _, count in largest[MAX_VALUES:])


def _of_memory(sample: Sample, *, now_ms: int) -> Iterator[Family]:
    known = {
        "chat_actors_redis_memory_used_bytes": ("Memory that Redis uses.", sample.used_memory_bytes),
        "chat_actors_redis_memory_peak_bytes": ("The most that it used.", sample.peak_bytes),
        "chat_actors_redis_memory_max_bytes": ("What it may use; 0 = no limit.", sample.maxmemory_bytes),
        "chat_actors_redis_memory_resident_bytes": ("What of it is in RAM.", sample.memory.get("rss_bytes")),
        "chat_actors_redis_memory_fragmentation_ratio": ("Its fragmentation.", sample.fragmentation),
    }
    for name, (text, value) in known.items():
        if value is not None:
            yield _one(name, text, float(value))
    age_s = max(0, now_ms - sample.at_ms) / 1000
    yield _one("chat_actors_memory_sample_age_seconds", "Age of the sample that says so; one comes each minute.", age_s)
    for what, text in {"keys": "Keys of a database.", "estimated_bytes": "Estimated bytes of a database."}.items():
        rows = [((db,), (float(one[what] or 0),)) for db, one in sample.databases.items() if one.get(what) is not None]
        yield Family(f"chat_actors_redis_database_{what.removeprefix('estimated_')}", "gauge", text, ("db",), rows)
    sizes = [
        ((name,), (float(one["estimated_bytes"] or 0),))
        for name, one in sorted(sample.queues.items())
        if one.get("estimated_bytes") is not None
    ]
    yield Family(
        "chat_actors_queue_bytes", "gauge", "Memory that a queue takes, dead letters included.", ("queue",), sizes
    )
