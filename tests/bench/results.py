"""What was measured, round by round, and what it comes to."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

OURS, RAW, STOCK = "ours", "raw", "stock"


@dataclass(frozen=True, slots=True)
class Figure:
    """Median of the rounds, with the smallest and the largest."""

    median: float
    low: float
    high: float


@dataclass
class Results:
    """Rounds of every contestant in every measurement.

    One that was not run holds the reason as ``not_run``; one that did not come to an end, what happened as ``failed``.
    """

    rounds: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)

    def add(self, entry: str, contestant: str, result: dict[str, Any]) -> None:
        """Keep one round."""
        self.rounds.setdefault(entry, {}).setdefault(contestant, []).append(result)

    def contestants(self, entry: str) -> list[str]:
        """Who took part in a measurement."""
        return list(self.rounds.get(entry, {}))

    def figure(self, entry: str, contestant: str, name: str) -> Figure | None:
        """A figure over the rounds that have it; None when none has."""
        rounds = self.rounds.get(entry, {}).get(contestant, [])
        values = [one[name] for one in rounds if one.get(name) is not None]
        return Figure(statistics.median(values), min(values), max(values)) if values else None

    def median(self, entry: str, contestant: str, name: str) -> float | None:
        """Only its median."""
        found = self.figure(entry, contestant, name)
        return None if found is None else found.median

    def was_run(self, entry: str, contestant: str) -> bool:
        """Whether some round was at least tried."""
        return any("not_run" not in one for one in self.rounds.get(entry, {}).get(contestant, []))

    def why_not(self, entry: str, contestant: str) -> str:
        """Why a contestant has no figures."""
        for one in reversed(self.rounds.get(entry, {}).get(contestant, [])):
            for word in ("not_run", "failed"):
                if word in one:
                    return f"{word.replace('_', ' ')}: {one[word]}"
        return "not run"

    def peers(self, entry: str, name: str) -> list[float]:
        """The medians of all peers: everybody but us, the raw loop and stock."""
        others = [one for one in self.contestants(entry) if one not in (OURS, RAW, STOCK)]
        return present(self.median(entry, one, name) for one in others)


def present(values: Iterable[float | None]) -> list[float]:
    """Those that were measured."""
    return [value for value in values if value is not None]


def ratio(value: float | None, to: float | None) -> float | None:
    """How many times ``to``; None where one of them was not measured."""
    return None if value is None or not to else value / to
