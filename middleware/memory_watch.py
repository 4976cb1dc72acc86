"""Samples that do not depend on what they measure: a thread of every worker process takes one when a slot was missed.

A full Redis refuses the periodic actor's message, and a blocked queue keeps it. Then this thread samples, keeps the last samples
in memory and in the log, and writes what could not be written as soon as Redis takes it. It also looks at this process's own
memory, and asks to be replaced when it grew over a limit.

``actors.sampling`` starts one per worker process; the actor takes its samples through it too.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.scripts import translated
from middleware.clock import Clock
from middleware.errors import Described, PipelineError
from middleware.memory import Sample, latest, record, slot_of
from middleware.memory_findings import Finding, absence, findings, forecast_of
from middleware.memory_sample import take_sample_of
from middleware.rss import rss_bytes
from middleware.slots import MINUTE_MS

logger = logging.getLogger(__name__)

#: Samples that this process keeps: two hours of one a minute.
KEPT = 120
#: How long after its slot a sample may come before the slot counts as missed, in milliseconds: the actor may have to wait.
GRACE_MS = 20_000
#: Time between two looks at this process's own memory, in milliseconds; it must be over its limit at so many in a row.
RSS_EVERY_MS = 10_000
RSS_LOOKS = 3


def _nobody() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """What may be set; times in milliseconds.

    Attributes:
        every_ms: length of a slot.
        max_rss_bytes: over it this process asks to be replaced; None = never.
        replace: asks for that; False when nobody would start another.
        recorded: told of every sample that this process recorded.
        rested: called by the thread after each look: what it opened may be given back.
    """

    every_ms: int = MINUTE_MS
    grace_ms: int = GRACE_MS
    rss_every_ms: int = RSS_EVERY_MS
    max_rss_bytes: int | None = None
    replace: Callable[[], bool] = field(default=_nobody)
    recorded: Callable[[Sample], None] = field(default=lambda sample: None)
    rested: Callable[[], None] = field(default=lambda: None)


def is_missed(newest_ms: int | None, *, now_ms: int, options: WatchOptions) -> bool:
    """Whether the last slot that should have a sample by now has none; both times by Redis' clock."""
    due_ms = slot_of(now_ms - options.grace_ms, options.every_ms)
    return newest_ms is None or slot_of(newest_ms, options.every_ms) < due_ms


class MemoryWatch:
    """The samples of one process. Safe to share between threads."""

    def __init__(
        self,
        broker: CarrierBroker,
        *,
        clock: Clock,
        options: WatchOptions | None = None,
        chance: Callable[[], float] = random.random,
        own_bytes: Callable[[], int | None] = rss_bytes,
    ) -> None:
        self.broker = broker
        self.clock = clock
        self.options = options or WatchOptions()
        #: The samples that this process took, oldest first.
        self.recent: deque[Sample] = deque(maxlen=KEPT)
        #: Those of them that Redis has not taken, oldest first.
        self.unwritten: deque[Sample] = deque(maxlen=KEPT)
        self._chance = chance
        self._own_bytes = own_bytes
        self._over = 0
        self._asked = False
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # -- samples --------------------------------------------------------------------------------------------------

    def sample(self, *, taken_by: str) -> Sample:
        """Take a sample, keep it here and in the log, and record it with those that could not be before.

        ``taken_by`` is ``actor`` or ``thread``. A Redis that does not take it is logged: the next slot comes.

        Raises:
            QueueUnavailable, QueueRefused: there is nothing to sample.
        """
        taken = take_sample_of(self.broker)
        own = self._own_bytes()
        # Also in the log: samples kept by Redis die with it, and a read-only one takes none.
        logger.info(
            "memory.sampled",
            extra={
                "taken_by": taken_by,
                "used_memory_bytes": taken.used_memory_bytes,
                "maxmemory_bytes": taken.maxmemory_bytes,
                "worker_rss_bytes": own,
            },
        )
        with self._lock:
            self.recent.append(taken)
            self.unwritten.append(taken)
            self._write()
        return taken

    def _write(self) -> None:
        while self.unwritten:
            oldest = self.unwritten[0]
            try:
                is_new = record(self.broker.client, self._key, oldest, every_ms=self.options.every_ms)
            except PipelineError as error:
                logger.warning("memory.not_recorded", extra={"samples": len(self.unwritten), "code": error.code})
                return
            self.unwritten.popleft()
            if is_new:
                self._tell(oldest)

    def _tell(self, sample: Sample) -> None:
        try:
            self.options.recorded(sample)
        except Exception as error:
            # A host's table is no reason to sample less.
            code = error.code if isinstance(error, Described) else type(error).__name__
            logger.warning("memory.row_failed", extra={"code": code})

    @property
    def _key(self) -> str:
        return self.broker.machinery.keys.memory

    def sample_if_missed(self) -> bool:
        """Sample when the last slot has no sample; True when it had none.

        Raises:
            QueueUnavailable, QueueRefused: it cannot be told.
        """
        client = self.broker.client
        with translated("asking for the last memory sample"):
            seconds, _ = client.time()
        newest = latest(client, self._key, count=1)
        newest_ms = newest[0].at_ms if newest else None
        missed = is_missed(newest_ms, now_ms=int(seconds) * 1000, options=self.options)
        if missed:
            logger.warning("memory.slot_missed", extra={"newest_ms": newest_ms})
            self.sample(taken_by="thread")
        return missed

    # -- this process ---------------------------------------------------------------------------------------------

    def look_at_own(self) -> None:
        """Ask to be replaced when this process is over its limit at ``RSS_LOOKS`` looks in a row; asks once."""
        limit = self.options.max_rss_bytes
        own = self._own_bytes()
        if limit is None or own is None or self._asked:
            return
        self._over = self._over + 1 if own > limit else 0
        if self._over < RSS_LOOKS:
            return
        self._asked = True
        fields = {"rss_bytes": own, "limit_bytes": limit}
        logger.warning("worker.too_large", extra=fields)
        if not self.options.replace():
            logger.warning("worker.too_large_to_keep", extra=fields)

    # -- the thread -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch. Repeatable."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="memory-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no more; a look under way ends by itself. Repeatable."""
        self._stopping.set()
        self._thread = None

    def _run(self) -> None:
        # Each process has its own place in the slot: the first one samples, and the others find that done.
        next_ms = self.clock.boot_ms() + round(self._chance() * self.options.every_ms)
        stopping = self._stopping
        while not stopping.is_set():
            now_ms = self.clock.boot_ms()
            self.look_at_own()
            if now_ms >= next_ms:
                next_ms = now_ms + self.options.every_ms
                self._look()
                self.options.rested()
            # A watcher that was stopped and started anew has another event.
            left_ms = max(0, min(next_ms - self.clock.boot_ms(), self.options.rss_every_ms))
            self.clock.wait(left_ms / 1000, until=stopping)

    def _look(self) -> None:
        try:
            self.sample_if_missed()
        except PipelineError as error:
            logger.warning("memory.look_failed", extra={"code": error.code})
        except Exception as error:
            # This thread must outlive every surprise: it is what speaks up when nothing else can.
            logger.critical("memory.look_broken", extra={"code": type(error).__name__})


def current_findings(client: "redis.Redis", key: str, *, every_ms: int = MINUTE_MS, day: int = 1_440) -> list[Finding]:
    """What is wrong with Redis' memory now: of the recorded samples, and that there are none; the critical first.

    For alerts and ``doctor``. Reads ``day`` samples, which the forecast needs.

    Raises:
        QueueUnavailable, QueueRefused: it cannot be told.
    """
    with translated("asking for the time"):
        seconds, _ = client.time()
    samples = latest(client, key, count=day)
    missing = absence(samples[-1].at_ms if samples else None, now_ms=int(seconds) * 1000, every_ms=every_ms)
    found = findings(samples, ahead=forecast_of(samples))
    return [missing, *found] if missing is not None else found
