"""Percentiles and medians."""

from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Smallest value that at least ``percent`` of all do not exceed (nearest rank): a value that really occurred."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def spread_ms(latencies_ns: Sequence[int]) -> dict[str, object]:
    """p50, p95, p99 and largest in ms, with the samples they are of, in µs."""
    samples_us = [round(value / 1000) for value in latencies_ns]
    named = {f"p{percent}_ms": percentile(samples_us, percent) / 1000 for percent in (50, 95, 99)}
    return {**named, "max_ms": max(samples_us) / 1000, "samples_us": samples_us}
