"""Know how all worker processes of one launcher are, and what they counted together.

The launcher opens a channel for each worker that it starts; one thread per channel reads what ``reporter`` writes there. What a
worker counted stays when it has ended: its last report is added to those before, so the sums go on through respawns. Nothing is
written to disk. A process that has no launcher is a board of its own (``own``).
"""

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from middleware.clock import Clock, SystemClock
from middleware.meters import Family, Meters, Snapshot
from middleware.vitals import STARTS_MS, Finding, Vitals, findings

logger = logging.getLogger(__name__)

#: A worker that has not reported for so long does not run, whatever the system says, in milliseconds.
SILENT_MS = 10_000


@dataclass(slots=True, eq=False)
class _Place:
    """One worker's place and its last report; ``reported_ms`` is boot-clock time."""

    number: int
    starts: int
    opened_ms: int
    is_open: bool = True
    meters: Snapshot | None = None
    vitals: Vitals | None = None
    reported_ms: int = 0


@dataclass(frozen=True, slots=True)
class WorkerView:
    """How one worker is at this moment; ``vitals`` None: it runs not, or not yet."""

    number: int
    starts: int
    vitals: Vitals | None
    findings: tuple[Finding, ...]


class Board:
    """See the module. Safe to share between threads."""

    def __init__(
        self,
        *,
        own: Callable[[], Mapping[str, Any]] | None = None,
        silent_ms: int = SILENT_MS,
        clock: Clock | None = None,
    ) -> None:
        """``own``: this process's report (``reporter.report_of``)."""
        self.silent_ms = silent_ms
        self.clock = clock or SystemClock()
        self._own = own
        # A name that is shown once stays, else its counter would go back when others' are added first.
        self._seen: dict[str, set[str]] = {}
        self._ended = Meters(self._seen)
        #: The newest place by its number, and all whose channel is open: an old one may still be read when the next is there.
        self._places: dict[int, _Place] = {}
        self._open: list[_Place] = []
        self._lock = threading.Lock()

    def open(self, number: int) -> socket.socket:
        """Channel for a worker that is about to be started; the caller hands it on and closes its own copy."""
        ours, theirs = socket.socketpair()
        with self._lock:
            before = self._places.get(number)
            starts = before.starts + 1 if before is not None else 1
            place = self._places[number] = _Place(number, starts, self.clock.boot_ms())
            self._open.append(place)
        threading.Thread(target=self._read, args=(ours, place), name=f"board-{number}", daemon=True).start()
        return theirs

    def _read(self, channel: socket.socket, place: _Place) -> None:
        with channel, channel.makefile("rb") as lines:
            try:
                for line in lines:
                    self._take(place, line)
            except OSError as error:
                logger.warning("board.channel_broken", extra={"worker_id": str(place.number), "code": error.errno})
        with self._lock:
            if place.meters is not None:
                self._ended.add(place.meters)
            self._open.remove(place)
            place.is_open = False

    def _take(self, place: _Place, line: bytes) -> None:
        try:
            found = json.loads(line)
            vitals = Vitals.from_json(found["vitals"]) if found["vitals"] is not None else None
        except (ValueError, KeyError, TypeError) as error:
            # Cut off by the end of its process.
            logger.debug("board.report_unreadable", extra={"code": type(error).__name__})
            return
        with self._lock:
            place.meters, place.vitals, place.reported_ms = found["meters"], vitals, self.clock.boot_ms()

    # -- what is asked --------------------------------------------------------------------------------------------

    def counted(self) -> Snapshot:
        """What all processes counted, those that have ended included."""
        if self._own is not None:
            found: Snapshot = self._own()["meters"]
            return found
        with self._lock:
            total = Meters(self._seen)
            total.add(self._ended.snapshot())
            for place in self._open:
                if place.meters is not None:
                    total.add(place.meters)
        return total.snapshot()

    def workers(self) -> list[WorkerView]:
        """Every worker that should run."""
        if self._own is not None:
            vitals = Vitals.from_json(self._own()["vitals"])
            return [WorkerView(1, 1, vitals, tuple(findings(vitals)))]
        with self._lock:
            now_ms = self.clock.boot_ms()
            return [self._view(place, now_ms) for _, place in sorted(self._places.items())]

    def _view(self, place: _Place, now_ms: int) -> WorkerView:
        found: tuple[Finding, ...]
        has_reported = place.meters is not None
        since_ms = now_ms - (place.reported_ms if has_reported else place.opened_ms)
        silent = Finding("reports", since_ms <= self.silent_ms, f"last {since_ms / 1000:.1f} s ago", is_of_life=True)
        if not place.is_open:
            found = (Finding("process", is_well=False, found="ended; it is started again"),)
        elif not has_reported:
            # An interpreter starts, and imports the host.
            hangs = Finding("start", since_ms <= STARTS_MS, f"began {since_ms // 1000} s ago", is_of_life=True)
            found = (hangs, Finding("process", is_well=False, found="starting"))
        else:
            # A broker that was built without Health says nothing of itself.
            found = (silent, *(findings(place.vitals) if place.vitals is not None else ()))
        return WorkerView(place.number, place.starts, place.vitals if place.is_open else None, found)

    def verdict(self, *, of_life: bool) -> tuple[bool, dict[str, Any]]:
        """Whether all workers are well, and what a person reads: ``status`` and each worker's ``checks``.

        ``of_life``: only what a new process would mend. No worker at all is alive, and not ready.
        """
        views = self.workers()
        checks = [[one for one in view.findings if one.is_of_life or not of_life] for view in views]
        is_well = all(one.is_well for group in checks for one in group) and (of_life or bool(views))
        workers = [
            {
                "worker": view.number,
                "pid": view.vitals.pid if view.vitals is not None else None,
                "checks": {
                    one.name: {
                        "status": "ok" if one.is_well else "fail",
                        "found": one.found,
                        "restart_helps": one.is_of_life and not one.is_well,
                    }
                    for one in group
                },
            }
            for view, group in zip(views, checks, strict=True)
        ]
        return is_well, {"status": "ok" if is_well else "fail", "workers": workers}


_OF_WORKERS = {
    "chat_actors_worker_up": ("gauge", "1 while the worker process serves."),
    "chat_actors_worker_starts_total": ("counter", "How often the process was started."),
    "chat_actors_worker_threads": ("gauge", "Threads that run messages."),
    "chat_actors_worker_threads_busy": ("gauge", "Those that run one."),
    "chat_actors_worker_resident_bytes": ("gauge", "Memory of the process in RAM."),
    "chat_actors_worker_fetch_age_seconds": ("gauge", "Since Redis answered the waiting connection."),
    "chat_actors_worker_renewal_age_seconds": ("gauge", "Since the last round that renewed leases."),
    "chat_actors_worker_checks_failing": ("gauge", "Findings of /readyz that are not well."),
}


def worker_families(views: "list[WorkerView]") -> list[Family]:
    """Numbers of each worker process, by its place (1, 2 …), which a respawn keeps."""
    rows: dict[str, list[tuple[list[str], list[float]]]] = {name: [] for name in _OF_WORKERS}
    for view in views:
        for name, value in zip(_OF_WORKERS, _numbers(view), strict=True):
            if value is not None:
                rows[name].append(([str(view.number)], [float(value)]))
    return [Family(name, kind, text, ("worker",), rows[name]) for name, (kind, text) in _OF_WORKERS.items()]


def _numbers(view: WorkerView) -> "tuple[float | None, ...]":
    failing = sum(not one.is_well for one in view.findings)
    vitals = view.vitals
    if vitals is None:
        return (0, view.starts, *[None] * 5, failing)
    return (
        *(int(vitals.state == "serving"), view.starts, vitals.threads, vitals.busy, vitals.resident_bytes),
        *(None if age_ms is None else age_ms / 1000 for age_ms in (vitals.fetch_age_ms, vitals.round_age_ms)),
        failing,
    )
