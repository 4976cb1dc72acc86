"""What waits, what runs and who works, at one moment.

Read by the ``stats`` command, ``doctor`` and the host's dashboard; two round trips, whatever the depth of the queues.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.roster import RosterEntry
from middleware.brokers.redis.transitions import QueueStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Depths of the queues and the workers alive."""

    queues: tuple[QueueStats, ...]
    workers: tuple[RosterEntry, ...]

    def as_json(self) -> dict[str, Any]:
        """Two keys of the public shape (``stats --json``): ``queues`` and ``workers``."""
        return {
            "queues": {stats.queue_name: stats.as_json() for stats in self.queues},
            "workers": [_worker_json(entry) for entry in self.workers],
        }


def take_snapshot(broker: CarrierBroker, queue_names: Iterable[str] | None = None) -> Snapshot:
    """Snapshot of the queues (None: all declared).

    Raises:
        QueueUnavailable, QueueRefused: Redis did not do its part.
    """
    names = sorted(broker.get_declared_queues() if queue_names is None else queue_names)
    return Snapshot(queues=tuple(broker.transitions.stats(names)), workers=tuple(broker.machinery.roster.alive()))


def _worker_json(entry: RosterEntry) -> dict[str, Any]:
    worker = entry.worker
    started = datetime.fromtimestamp(worker.started_at_ms / 1000, tz=UTC)
    return {
        "id": entry.id,
        "host": worker.host,
        "pid": worker.pid,
        "threads": worker.threads,
        "queues": list(worker.queues),
        "in_flight": entry.in_flight,
        "started_at": started.isoformat(timespec="seconds"),
    }
