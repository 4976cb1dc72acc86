"""What waits, what runs and who works, at one moment.

Read by the ``stats`` command, ``doctor`` and the host's dashboard; two round trips and one per queue, whatever its depth.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.roster import RosterEntry
from middleware.brokers.redis.values import Gate, QueueStats
from middleware.clock import iso


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Depths of the queues and the workers alive."""

    queues: tuple[QueueStats, ...]
    #: Every gate, by queue.
    gates: dict[str, tuple[Gate, ...]] = field(default_factory=dict)
    workers: tuple[RosterEntry, ...]

    def as_json(self) -> dict[str, Any]:
        """The public shape (``stats --json``): ``queues``, ``groups`` (those with a gate) and ``workers``."""
        return {
            "queues": {stats.queue_name: stats.as_json() for stats in self.queues},
            "groups": self._groups(),
            "workers": [_worker_json(entry) for entry in self.workers],
        }

    def _groups(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for queue_name, gates in sorted(self.gates.items()):
            for gate in gates:
                shown = found.setdefault(gate.group, {"state": "open", "parked": 0, "pace": {}})
                shown["state"] = min(shown["state"], gate.state, key=_STATES.index)
                shown["parked"] += gate.waiting
                shown["pace"][queue_name] = {
                    "limit": gate.limit,
                    "interval_ms": gate.interval_ms,
                    "burst": gate.burst,
                    "next_in_ms": gate.next_in_ms,
                }
        return found


#: The most closed first.
_STATES = ("paused", "parked", "waiting", "open")


def take_snapshot(broker: CarrierBroker, queue_names: Iterable[str] | None = None) -> Snapshot:
    """Snapshot of the queues (None: all declared).

    Raises:
        QueueUnavailable, QueueRefused: Redis did not do its part.
    """
    names = sorted(broker.get_declared_queues() if queue_names is None else queue_names)
    gates = {name: tuple(broker.transitions.gates(name)) for name in names}
    return Snapshot(
        queues=tuple(broker.transitions.stats(names)), gates=gates, workers=tuple(broker.machinery.roster.alive())
    )


def _worker_json(entry: RosterEntry) -> dict[str, Any]:
    worker = entry.worker
    return {
        "id": entry.id,
        "host": worker.host,
        "pid": worker.pid,
        "threads": worker.threads,
        "queues": list(worker.queues),
        "in_flight": entry.in_flight,
        "rss_bytes": entry.rss_bytes,
        "started_at": iso(worker.started_at_ms),
    }
