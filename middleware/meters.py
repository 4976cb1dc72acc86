"""Counts and durations of this process, and how those of many processes become one.

Whoever has something to count calls :data:`METERS`; ``metrics`` shows them, ``board`` adds up what worker processes report.
Plain numbers, and not the counters of prometheus-client: where a host sets ``PROMETHEUS_MULTIPROC_DIR`` each of those is a
file per process, which nobody removes, and a worker without that package could not count at all.

A label never holds what grows with the traffic: no lane, no message, no person. Where its values come from outside (a group's
name, the class of a foreign error) the first :data:`MAX_VALUES` are kept and all others counted under :data:`OTHER`.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Most values of a label that somebody outside chooses.
MAX_VALUES = 100
#: Stands for the values beyond them.
OTHER = "other"
#: Upper bounds in seconds: a request to a gateway, a queue that is behind, a backoff, a day.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0)

#: Meter → rows of label values and numbers, as it travels between processes.
Snapshot = Mapping[str, Sequence[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class Meter:
    """A counter, or a histogram where there are ``bounds``. ``capped``: the label whose values come from outside."""

    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    capped: str | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """Numbers of this moment under one name. ``kind`` is ``gauge``, ``counter`` or ``histogram``.

    ``rows`` are label values and numbers: one, or for a histogram the count of each bucket and the sum.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    rows: Sequence[tuple[Sequence[str], Sequence[float]]] = field(default_factory=list)
    bounds: tuple[float, ...] = ()


ATTEMPTS = Meter("chat_actors_attempts_total", "Attempts that ended, by outcome.", ("queue", "actor", "outcome"))
REASONS = Meter(
    "chat_actors_attempt_reasons_total",
    "Why attempts were not done, by the code of docs/errors.md.",
    ("actor", "outcome", "code"),
    capped="code",
)
GROUPS = Meter(
    "chat_actors_instance_attempts_total",
    "Attempts that ended, by instance and outcome.",
    ("chat_instance", "outcome"),
    capped="chat_instance",
)
DURATION = Meter("chat_actors_attempt_duration_seconds", "How long attempts ran.", ("actor",), SECONDS)
LATENCY = Meter(
    "chat_actors_message_latency_seconds",
    "From the enqueue to the end of the attempt that was done, retries and waits included.",
    ("actor",),
    SECONDS,
)
ACCEPTED = Meter(
    "chat_actors_accepted_latency_seconds",
    "From the enqueue to the moment when the last part was accepted outside.",
    ("actor",),
    SECONDS,
)
ENQUEUED = Meter("chat_actors_enqueued_total", "Messages that this process enqueued.", ("queue",))
TICKS = Meter("chat_actors_ticks_total", "Slots of periodic actors that were sent first from here.", ("actor",))
TICKS_FAILED = Meter(
    "chat_actors_tick_failures_total", "Slots that could not be sent; they are tried again.", ("actor",)
)

ALL = (ATTEMPTS, REASONS, GROUPS, DURATION, LATENCY, ACCEPTED, ENQUEUED, TICKS, TICKS_FAILED)
_BY_NAME = {meter.name: meter for meter in ALL}


class Row:
    """Numbers of one meter under certain label values. Safe to share between threads; whoever counts often keeps it."""

    __slots__ = ("bounds", "lock", "numbers")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        # One count for each bound and one beyond them; then the sum.
        self.numbers = [0.0] * (len(bounds) + 2 if bounds else 1)
        self.lock = threading.Lock()

    def count(self, by: float = 1) -> None:
        """Count ``by`` more."""
        with self.lock:
            self.numbers[0] += by

    def observe(self, seconds: float) -> None:
        """Add one duration."""
        with self.lock:
            self.numbers[bisect_left(self.bounds, seconds)] += 1
            self.numbers[-1] += seconds

    def add(self, numbers: Sequence[float]) -> None:
        """Add what another process counted; nothing, where that has another shape."""
        with self.lock:
            if len(numbers) == len(self.numbers):
                self.numbers = [one + more for one, more in zip(self.numbers, numbers, strict=True)]


class Meters:
    """Numbers by meter and label values; they only grow. Safe to share between threads."""

    def __init__(self, seen: dict[str, set[str]] | None = None) -> None:
        """``seen``: values of capped labels by meter; whoever shares it keeps the same ones."""
        self._rows: dict[tuple[str, tuple[str, ...]], Row] = {}
        self._seen = {} if seen is None else seen
        self._lock = threading.Lock()

    def count(self, meter: Meter, *values: str, by: float = 1) -> None:
        """Count ``by`` more."""
        self.row(meter, *values).count(by)

    def observe(self, meter: Meter, *values: str, seconds: float) -> None:
        """Add one duration to a histogram."""
        self.row(meter, *values).observe(seconds)

    def row(self, meter: Meter, *values: str) -> Row:
        """Where these values are counted."""
        found = self._rows.get((meter.name, values))
        if found is not None:
            return found
        with self._lock:
            return self._rows.setdefault((meter.name, self._known(meter, values)), Row(meter.bounds))

    def _known(self, meter: Meter, values: tuple[str, ...]) -> tuple[str, ...]:
        if meter.capped is None:
            return values
        at, seen = meter.labels.index(meter.capped), self._seen.setdefault(meter.name, set())
        if values[at] not in seen and len(seen) >= MAX_VALUES:
            return (*values[:at], OTHER, *values[at + 1 :])
        seen.add(values[at])
        return values

    def snapshot(self) -> dict[str, list[list[Any]]]:
        """All rows as plain lists, for JSON."""
        found: dict[str, list[list[Any]]] = {}
        with self._lock:
            rows = list(self._rows.items())
        for (name, values), row in rows:
            with row.lock:
                found.setdefault(name, []).append([list(values), list(row.numbers)])
        return found

    def add(self, snapshot: Snapshot) -> None:
        """Add what another process counted; a meter that is not known here is left out."""
        for name, rows in snapshot.items():
            meter = _BY_NAME.get(name)
            if meter is not None:
                for values, numbers in rows:
                    self.row(meter, *values).add(numbers)


#: Those of this process.
METERS = Meters()


def families(snapshot: Snapshot, meters: Iterable[Meter] = ALL) -> list[Family]:
    """What a snapshot shows; a meter that counted nothing yet is there without rows."""
    return [
        Family(
            meter.name,
            "histogram" if meter.bounds else "counter",
            meter.help,
            meter.labels,
            [(values, numbers) for values, numbers in snapshot.get(meter.name, ())],
            meter.bounds,
        )
        for meter in meters
    ]
