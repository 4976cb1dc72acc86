"""Typed calls of the scripts beside this file; see the package for what they are for.

``actors.traffic`` uses it. Keys are ``<namespace>:place:<name>``, ``…:quota:<name>``, ``…:bucket:<name>``,
``…:strikes:<name>`` and ``…:records``; every one but the records expires by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import redis

from middleware.brokers.redis.scripts import translated


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One in ``interval_ms`` on average, ``burst`` at once; 0 = it only holds off. ``name`` says whose it is."""

    name: str
    interval_ms: float
    burst: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place among ``limit``; ``holder`` is who has it, for ``for_ms`` where it is never given back.

    As a quota it is never given back: so many holders within ``for_ms``, whenever that begins.
    """

    name: str
    limit: int
    holder: str
    for_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What came of :meth:`Limits.take`: ``wait_ms`` 0 = taken, None = not before somebody changes it, else nothing was taken yet.

    ``by`` says what said no: ``record``, ``place``, ``quota``, or the name of a bucket.
    """

    wait_ms: int | None
    record: str = ""
    by: str = ""


#: For calls that take no place, or have no quota.
ANYWHERE = Place(name="-", limit=-1, holder="-", for_ms=1)
#: A record that begins so lets nobody take.
SHUT = "!"


class Limits:
    """Limits of one namespace. Safe to share between threads.

    All methods raise the errors of :func:`middleware.brokers.redis.scripts.translated`.
    """

    def __init__(self, client: "redis.Redis", *, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self._scripts = {name: client.register_script(_source(name)) for name in ("take", "hold_off", "swap")}

    def close(self) -> None:
        """Give back the connections."""
        self.client.close()

    @property
    def records(self) -> str:
        """Key of the records."""
        return f"{self.namespace}:records"

    def take(
        self, *, record: str, place: Place = ANYWHERE, quota: Place = ANYWHERE, buckets: Sequence[Bucket] = ()
    ) -> Taking:
        """Take the place, one of the quota and one of each bucket, or nothing; also tells the record of that name.

        Place and quota have one holder. A record that begins with :data:`SHUT` lets nobody take.
        """
        holder = place.holder if quota is ANYWHERE else quota.holder
        keys = [
            *(self.records, f"{self.namespace}:place:{place.name}", f"{self.namespace}:quota:{quota.name}"),
            *(self._bucket(one) for one in buckets),
        ]
        paces = [value for one in buckets for value in (one.interval_ms, one.burst)]
        places = (place.limit, place.for_ms, quota.limit, quota.for_ms)
        reply = self._run("take", keys, record, holder, *places, *paces, doing=record)
        wait_ms, told, index = int(reply[0]), _text(reply[1]), int(reply[2])
        by = ("", "record", "place", "quota", *(one.name for one in buckets))[index]
        return Taking(wait_ms=None if wait_ms < 0 else wait_ms, record=told, by=by)

    def leave(self, place: Place) -> None:
        """Give a place back; one that is not held is no error."""
        with translated(f"giving back the place of {place.name}"):
            self.client.zrem(f"{self.namespace}:place:{place.name}", place.holder)

    def hold_off(self, bucket: Bucket, *, base_ms: float, factor: float = 1.0, cap_ms: int) -> int:
        """Let nobody take of a bucket for ``base_ms``, each time in a row ``factor`` times longer; returns for how long."""
        keys = [self._bucket(bucket), f"{self.namespace}:strikes:{bucket.name}"]
        args = (base_ms, factor, cap_ms, bucket.interval_ms, bucket.burst)
        return int(self._run("hold_off", keys, *args, doing=bucket.name))

    def record(self, name: str) -> str:
        """A record; empty when there is none."""
        with translated(f"reading the record of {name}"):
            found: Any = self.client.hget(self.records, name)
        return _text(found)

    def all_records(self) -> dict[str, str]:
        """Every record by name: as many as there are instances in trouble."""
        with translated("reading all records"):
            found: Any = self.client.hgetall(self.records)
        return {_text(name): _text(value) for name, value in found.items()}

    def swap(self, name: str, *, seen: str, new: str) -> bool:
        """Change a record if it is still as it was seen; empty = none. False: it is another by now."""
        return bool(self._run("swap", [self.records], name, seen, new, doing=name))

    def _bucket(self, bucket: Bucket) -> str:
        return f"{self.namespace}:bucket:{bucket.name}"

    def _run(self, script: str, keys: Sequence[str], *args: Any, doing: str) -> Any:
        with translated(f"asking the limits of {doing}"):
            return self._scripts[script](keys=list(keys), args=[_sendable(arg) for arg in args])


def _sendable(arg: Any) -> Any:
    return arg.encode("utf-8", "surrogatepass") if isinstance(arg, str) else arg


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "surrogatepass")


@cache
def _source(name: str) -> str:
    return (files("middleware.limits") / f"{name}.lua").read_text(encoding="utf-8")
