"""How many bytes a database holds, from the sizes of some of its keys: pure.

Redis counts no bytes by database. ``memory_keys`` asks for sizes, ``memory_sample`` and the ``memory`` command show what comes
of them here. An estimate states its error, and says "at least" where a few large keys may hide from a sample.

Sizes are those of ``MEMORY USAGE``; what it leaves out (tables, rounding) is added from the number of keys. With it the sum over
all keys was within 0.2 % of what ``used_memory`` grew by (Redis 7.0, strings of three size mixes, with and without expiry).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

#: Half of a 95 % interval, in standard errors.
_Z = 1.96
#: Draws before a sample may be judged: fewer have too often not met what a fifth of a percent of the keys hold.
LEAST_DRAWS = 500
#: Half width of the 95 % interval, in parts of the estimate, at which drawing may stop; 10 % is promised.
ENOUGH = 0.08
PROMISED = 0.10
#: What Redis says of its own memory moves by so much between two questions, in bytes: clients come and go.
NOISE_BYTES = 262_144

#: Per key, by ``MEMORY USAGE`` and by ``used_memory_overhead``: an entry of the table (24 bytes) and an object (16).
_ENTRY, _OBJECT, _POINTER = 24, 16, 8
#: An entry lies in 32 bytes.
_ROUNDING = 8


class Bound(StrEnum):
    """How an estimate is meant."""

    #: Within its error, 19 times in 20.
    ABOUT = "about"
    #: There may be more: a few large keys hold much, and a sample meets them seldom.
    AT_LEAST = "at_least"
    #: There may be less: it is what others leave, and of those one is "at least".
    AT_MOST = "at_most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bytes of a database, from ``asked`` keys; ``error``: half of the 95 % interval, in parts of ``size_bytes``."""

    size_bytes: int
    error: float
    bound: Bound
    asked: int
    #: Whether only some of the keys were asked, drawn at random.
    is_sampled: bool = False


def counted(sizes: Sequence[int], *, expires: int = 0) -> Estimate:
    """Of a database all of whose keys were asked."""
    total = sum(sizes) + unseen_bytes(len(sizes), expires)
    return Estimate(size_bytes=total, error=0.0, bound=Bound.ABOUT, asked=len(sizes))


def estimate(
    draws: Sequence[tuple[bytes, int]], *, keys: int, expires: int = 0, promised: float = PROMISED
) -> Estimate:
    """From keys drawn at random, a key perhaps more than once.

    "At least" when the error is above what is ``promised``: then the large ones that were met count once each, and what they
    would stand for is left out.

    Raises:
        ValueError: there is no draw.
    """
    if not draws:
        raise ValueError("an estimate needs at least one draw")
    around, error = unseen_bytes(keys, expires), error_of(draws)
    if error <= promised and (len(draws) >= LEAST_DRAWS or promised > PROMISED):
        body = round(keys * sum(size for _, size in draws) / len(draws))
        share = body / (body + around)
        size_bytes, error, bound = body + around, error * share, Bound.ABOUT
    else:
        size_bytes, bound = _lower(draws, keys) + around, Bound.AT_LEAST
    return Estimate(size_bytes=size_bytes, error=error, bound=bound, asked=len(draws), is_sampled=True)


def error_of(draws: Sequence[tuple[bytes, int]]) -> float:
    """Half of the 95 % interval of the mean, in parts of it; infinite below two draws."""
    count = len(draws)
    total = sum(size for _, size in draws)
    if count < 2 or total == 0:
        return math.inf
    mean = total / count
    variance = sum((size - mean) ** 2 for _, size in draws) / (count - 1)
    return _Z * math.sqrt(variance / count) / mean


def _lower(draws: Sequence[tuple[bytes, int]], keys: int) -> int:
    """A bound that holds 19 times in 20, whatever the tail is: the largest hundredth stands for itself only."""
    ordered = sorted(draws, key=lambda draw: draw[1])
    top = max(1, len(ordered) // 100)
    body, tail = ordered[:-top], dict(ordered[-top:])
    sizes = [size for _, size in body] + [0] * top
    mean = sum(sizes) / len(sizes)
    variance = sum((size - mean) ** 2 for size in sizes) / max(1, len(sizes) - 1)
    least = max(0.0, mean - _Z * math.sqrt(variance / len(sizes)))
    # A key that was drawn stands in the database, however small the rest is.
    return max(round(keys * least) + sum(tail.values()), sum(dict(draws).values()))


def unseen_bytes(keys: int, expires: int) -> int:
    """What ``MEMORY USAGE`` does not count: tables, their entries for expiry, the rounding of entries."""
    of_keys = _POINTER * _buckets(keys) + _ROUNDING * keys
    return of_keys + (_POINTER * _buckets(expires) + (_ENTRY + _ROUNDING) * expires)


def keyspace_bytes(dataset_bytes: int, databases: Mapping[str, tuple[int, int]]) -> int:
    """Bytes of all databases (name → keys, expires): the data set, and the tables that Redis counts apart from it."""
    tables = sum(
        (_ENTRY + _OBJECT) * keys + _POINTER * _buckets(keys) + _ENTRY * expires + _POINTER * _buckets(expires)
        for keys, expires in databases.values()
    )
    return dataset_bytes + tables


def _buckets(entries: int) -> int:
    """Size of a table: the next power of two."""
    return 0 if entries <= 0 else max(4, 1 << (entries - 1).bit_length())


def residual(total_bytes: int, others: Mapping[str, Estimate]) -> Estimate:
    """Of the one database that nobody asked: what the ``others`` leave of all."""
    rest = max(0, total_bytes - sum(other.size_bytes for other in others.values()))
    error = _noise_bytes(others) / rest if rest else math.inf
    is_sure = all(other.bound is Bound.ABOUT for other in others.values())
    return Estimate(size_bytes=rest, error=error, bound=Bound.ABOUT if is_sure else Bound.AT_MOST, asked=0)


def checked(estimates: Mapping[str, Estimate], *, total_bytes: int) -> dict[str, Estimate]:
    """The estimates, those "at least" from which the rest of ``total_bytes`` may be missing.

    Twenty keys of 5 MB among a million hold a fifth of the bytes, and most samples of 10,000 meet none: such a sample looks
    as well as any. What all databases hold together is known, so what is missing there is missing in one that was sampled.
    """
    missing = total_bytes - sum(one.size_bytes for one in estimates.values()) - _noise_bytes(estimates)
    return {
        name: replace(one, bound=Bound.AT_LEAST) if one.is_sampled and missing > PROMISED * one.size_bytes else one
        for name, one in estimates.items()
    }


def _noise_bytes(estimates: Mapping[str, Estimate]) -> float:
    """How far their sum may be off, 19 times in 20."""
    return NOISE_BYTES + math.sqrt(
        sum((one.error * one.size_bytes) ** 2 for one in estimates.values() if one.bound is Bound.ABOUT)
    )
