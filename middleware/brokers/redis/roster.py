"""Which worker processes serve the queues: what each says of itself, and until when it counts as alive.

The keeper sends a sign of life with a round of care every few seconds, so it costs no command of its own; ``stats`` and
``doctor`` read the roster. A worker that stops strikes itself off, a killed one is gone after :data:`ALIVE_MS`.
"""

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Any

import redis

from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.scripts import translated

#: Time between two signs of life, in milliseconds.
SIGN_EVERY_MS = 5_000
#: A worker without one for this long is not alive, in milliseconds: two may be lost.
ALIVE_MS = 3 * SIGN_EVERY_MS


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """What one process reports: ``facts`` is JSON, good for ``alive_ms``."""

    worker_id: str
    alive_ms: int
    facts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingWorker:
    """A worker process, as it knows itself."""

    host: str
    pid: int
    threads: int
    queues: tuple[str, ...]
    started_at_ms: int

    @classmethod
    def of_this_process(cls, *, threads: int, queues: tuple[str, ...], started_at_ms: int) -> "ServingWorker":
        """This very process."""
        return cls(
            host=socket.gethostname(), pid=os.getpid(), threads=threads, queues=queues, started_at_ms=started_at_ms
        )

    def facts(self, *, in_flight: int, rss_bytes: int | None = None) -> str:
        """Text for Redis."""
        return json.dumps({**asdict(self), "in_flight": in_flight, "rss_bytes": rss_bytes}, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterEntry:
    """A worker process, as Redis knows it. ``in_flight`` and ``rss_bytes`` are as old as its last sign of life."""

    id: str
    worker: ServingWorker
    in_flight: int
    rss_bytes: int | None = None


class Roster:
    """The workers of one prefix."""

    def __init__(self, client: "redis.Redis", keys: Keys) -> None:
        self.client = client
        self.keys = keys

    def alive(self) -> list[RosterEntry]:
        """Workers that count as alive by Redis' clock, the longest serving first.

        Raises: see :func:`middleware.brokers.redis.scripts.translated`.
        """
        with translated("reading the roster of workers"):
            # No transaction: a full Redis refuses every command inside one, also those that only read.
            pipeline = self.client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zrange(self.keys.workers, 0, -1, withscores=True)
            pipeline.hgetall(self.keys.worker_facts)
            (seconds, microseconds), until_ms, facts = pipeline.execute()
        now_ms = seconds * 1000 + microseconds // 1000
        entries = [_entry(id_.decode(), facts[id_]) for id_, at_ms in until_ms if at_ms > now_ms and id_ in facts]
        return sorted(entries, key=lambda entry: (entry.worker.started_at_ms, entry.id))

    def strike(self, worker_id: str) -> None:
        """Take a worker off. Repeatable."""
        with translated("leaving the roster of workers"):
            pipeline = self.client.pipeline(transaction=False)
            # In this order: whoever is left in the set alone is struck off by the next round of care.
            pipeline.hdel(self.keys.worker_facts, worker_id)
            pipeline.zrem(self.keys.workers, worker_id)
            pipeline.execute()


def _entry(id_: str, text: bytes) -> RosterEntry:
    found: dict[str, Any] = json.loads(text)
    in_flight, rss_bytes = found.pop("in_flight"), found.pop("rss_bytes", None)
    worker = ServingWorker(**{**found, "queues": tuple(found["queues"])})
    return RosterEntry(id=id_, worker=worker, in_flight=in_flight, rss_bytes=rss_bytes)
