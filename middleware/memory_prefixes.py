"""Which families of keys a database consists of, from some of its keys: pure.

Keys are split at ``:``. A part that is an id, or that nearly every key has another of, is shown as ``*``: so a family is named by
what its keys share, and no number, address or id of a person is shown. Used by the ``memory`` command on request.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Families shown; what is left is one more, ``REST``.
MOST = 12
REST = "(others)"
#: Parts of a name that are looked at; what follows is ``*``.
DEPTH = 6
#: A place with so many different words is one where each key has its own.
MANY_WORDS = 12
_Z = 1.96

#: Digits in a row, a UUID, a long hexadecimal or random word, whatever has an @.
_ID = re.compile(
    r"\d{4,}|[0-9a-f]{8}-[0-9a-f]{4}-|\b[0-9a-f]{12,}\b|@|(?=\w*\d)(?=\w*[A-Za-z])\w{20,}", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Keys that share a prefix: how many and how many bytes, estimated; ``error`` as in ``memory_estimate``."""

    prefix: str
    keys: int
    size_bytes: int
    error: float
    largest_bytes: int


def families(draws: Sequence[tuple[bytes, int]], *, keys: int, most: int = MOST) -> list[Family]:
    """The families that hold most, the largest first, from keys drawn at random out of ``keys``."""
    if not draws:
        return []
    split = [(_parts(name), size) for name, size in draws]
    named: dict[str, list[int]] = defaultdict(list)
    for prefix, size in _named(split, ()):
        named[prefix].append(size)
    ordered = sorted(named.items(), key=lambda item: -sum(item[1]))
    kept, rest = ordered[:most], ordered[most:]
    if rest:
        kept.append((REST, [size for _, sizes in rest for size in sizes]))
    return [_family(prefix, sizes, drawn=len(draws), keys=keys) for prefix, sizes in kept]


def _family(prefix: str, sizes: Sequence[int], *, drawn: int, keys: int) -> Family:
    """A key that is of another family counts 0: the interval knows how seldom this one was met."""
    mean = sum(sizes) / drawn
    variance = max(0.0, sum(size * size for size in sizes) / drawn - mean * mean)
    is_census = drawn >= keys
    error = 0.0 if is_census or mean == 0 else _Z * math.sqrt(variance / drawn) / mean
    return Family(
        prefix=prefix,
        keys=round(keys * len(sizes) / drawn),
        size_bytes=round(keys * mean),
        error=error,
        largest_bytes=max(sizes),
    )


def _parts(name: bytes) -> tuple[str, ...]:
    parts = name.decode("utf-8", "replace").split(":", DEPTH)
    return tuple("*" if _ID.search(part) or not part.isprintable() else part for part in parts)


def _named(split: Iterable[tuple[tuple[str, ...], int]], before: tuple[str, ...]) -> Iterable[tuple[str, int]]:
    """Each key's family: words of a place are told apart unless there are too many of them."""
    by_word: Mapping[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for parts, size in split:
        if parts:
            by_word[parts[0]].append((parts[1:], size))
        else:
            yield ":".join(before), size
    total = sum(len(found) for found in by_word.values())
    if len(by_word) > MANY_WORDS and len(by_word) * 4 > total:
        # Most keys have a word of their own here: what follows it is told apart, the word is not.
        by_word = {"*": [one for found in by_word.values() for one in found]}
    for word, found in by_word.items():
        yield from _named(found, (*before, word))
