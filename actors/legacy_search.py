"""Find what the old product left in Redis, and whether it still runs.

Read by ``actors.migration``, ``migrate-legacy`` and the guard at a worker's start. Looks with ``SCAN``, changes nothing.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

from actors.legacy_queues import DEAD, LEGACY, OldList, OldQueue
from actors.legacy_streams import OldStream

#: Prefixes of the old product; both had fixed ones.
LIST_PREFIX, STREAM_PREFIX = "chat:queue", "chat:stream"
#: A consumer of a stream asked every five seconds.
RECENT_S = 60.0
#: Commands that an old consumer waits in or ended a round with. This project's processes are named ``chat-…`` and use none.
_CONSUMING = ("brpop", "rpop", "brpoplpush", "xreadgroup", "xautoclaim", "xclaim", "xack")
#: Names of queues were words; every key of this project has a dot, a dash or an underscore before it.
_NAME = re.compile(r"[a-z][a-z_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class OldConsumer:
    """A sign that somebody still takes from the old queues; ``what`` is for a person."""

    db: int
    what: str


def find(
    client: "redis.Redis",
    db: int,
    *,
    shared: Collection[str] = (),
    prefixes: tuple[str, str] = (LIST_PREFIX, STREAM_PREFIX),
) -> list[OldQueue]:
    """Lists and streams of the old product in this database, sorted by name.

    ``shared`` are keys under which this project keeps lists of its own ids: they count where something else is in them.
    """
    lists, streams = prefixes
    found: dict[str, OldQueue] = {}
    for key, kind in _keys(client, {lists, streams, LEGACY}):
        place, _, name = key.rpartition(":")
        if not _NAME.fullmatch(name):
            continue
        if kind == "list" and place in (lists, LEGACY):
            found[f"l{name}"] = OldList(
                client=client,
                db=db,
                key=f"{lists}:{name}",
                taken=f"{LEGACY}:{name}",
                is_shared=f"{lists}:{name}" in shared,
            )
        elif kind == "stream" and place in (streams, f"{LEGACY}:stream"):
            found[f"s{name}"] = OldStream(
                client=client, db=db, key=f"{streams}:{name}", taken=f"{LEGACY}:stream:{name}"
            )
    kept = {"laside", "ldead"}
    return [queue for name, queue in sorted(found.items()) if name not in kept and (queue.left() or queue.is_there())]


def kept_dead_letters(client: "redis.Redis", db: int) -> OldList:
    """The old dead letters that an earlier migration kept aside, to be moved after all."""
    return OldList(client=client, db=db, key=DEAD, taken=f"{DEAD}_again")


def _keys(client: "redis.Redis", prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    # Of a whole database once: a cache may lie in it, and a pattern saves the transfer only.
    pattern = re.compile("|".join(re.escape(f"{prefix}:") for prefix in sorted(prefixes)))
    common = "chat:*" if all(prefix.startswith("chat:") for prefix in prefixes) else "*"
    names = sorted({raw.decode("utf-8", "replace") for raw in client.scan_iter(match=common, count=1_000)})
    names = [name for name in names if pattern.match(name)]
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
        kinds: list[Any] = pipe.execute()
    return zip(names, (kind.decode() for kind in kinds), strict=True)


def consumers(client: "redis.Redis", db: int, queues: Iterable[OldQueue]) -> list[OldConsumer]:
    """Who seems to consume old queues of this database: connected clients, and consumers of a stream that asked lately."""
    known = list(queues)
    found = [
        OldConsumer(db=db, what=f"a client called {one['name'] or '(no name)'!r} that last said {one['cmd'].upper()}")
        for one in client.client_list()
        if one["db"] == str(db) and one["cmd"].partition("|")[0] in _CONSUMING and not one["name"].startswith("chat-")
    ]
    for queue in known:
        idle_s = queue.seconds_since_consumer() if isinstance(queue, OldStream) else None
        if idle_s is not None and idle_s < RECENT_S:
            found.append(OldConsumer(db=db, what=f"a consumer of {queue.key} asked {idle_s:.0f} s ago"))
    return found
