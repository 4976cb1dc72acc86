"""Read a queue slice by slice while workers run, and put back what was read: the copying half of ``transitions``.

``middleware.backup`` and ``middleware.backup_restore`` use it. Each slice is read at one moment; what slices that were read one
after the other say together is the business of ``middleware.backup``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from middleware.brokers.redis.scripts import Scripts, translated
from middleware.brokers.redis.values import Routing
from middleware.errors import PipelineError

#: Most messages of a slice: it takes Redis 1 to 2 ms (measured, two shared cores).
SLICE = 200
#: Most lanes of a slice.
LANES = 100
#: Most messages that one script puts back.
RESTORE_BATCH = 100
#: Who restores holds that right for so long without another step, in milliseconds.
RESTORING_MS = 60_000


class RestoreUnderWay(PipelineError):
    """Somebody else restores into the same queues; nothing was changed."""

    code = "restore_under_way"


class CopiedMessage(NamedTuple):
    """A live message. ``facts``: where it belongs, as Redis keeps it; ``eta_ms`` 0 = now; ``holds``: it held its lane."""

    id: bytes
    body: bytes
    facts: bytes = b""
    eta_ms: int = 0
    holds: bool = False
    crashes: int = 0


class CopiedLetter(NamedTuple):
    """A dead letter. ``told``: somebody was told of it."""

    id: bytes
    died_at_ms: int
    letter: bytes
    body: bytes
    told: bool


class CopiedGates(NamedTuple):
    """What an operator and the pace have set: gate by group, as Redis keeps it; ``paused_at_ms`` 0 = not paused."""

    paused_at_ms: int
    gates: Mapping[bytes, bytes]


class Copies:
    """See the head of this file. All methods raise the errors of :func:`middleware.brokers.redis.scripts.translated`."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts

    # -- reading ---------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Redis' clock."""
        with translated("asking for the time"):
            seconds, microseconds = self.scripts.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def count(self, queue_name: str) -> tuple[int, int]:
        """How many messages and dead letters there are."""
        with translated(f"counting {queue_name}"):
            live: Any = self.scripts.client.hlen(self._key(queue_name, "messages"))
            dead: Any = self.scripts.client.zcard(self._key(queue_name, "dead"))
        return int(live), int(dead)

    def gates(self, queue_name: str) -> CopiedGates:
        """Pause and gates; there are as many as instances."""
        gates: dict[bytes, bytes] = {}
        for part in self._hash(queue_name, "gates", count=LANES):
            gates |= part
        with translated(f"reading {queue_name}"):
            paused_at: Any = self.scripts.client.hget(self._key(queue_name, "control"), "paused_at_ms")
        return CopiedGates(int(paused_at or 0), gates)

    def lanes(self, queue_name: str) -> Iterator[list[CopiedMessage]]:
        """Messages of every lane that is there all the time: who holds it, then who waits, in order; some come twice."""
        for found in self._hash(queue_name, "lanes", count=LANES):
            names = list(found)
            for first in range(0, len(names), LANES):
                yield from self._lanes(queue_name, names[first : first + LANES])

    def _lanes(self, queue_name: str, names: Sequence[bytes]) -> Iterator[list[CopiedMessage]]:
        places = [(name, b"") for name in names]
        while places:
            args = [word for place in places for word in place]
            done, last, *rows = self.scripts.run("copy_lanes", queue_name, SLICE, *args, doing=f"copying {queue_name}")
            yield [
                CopiedMessage(id_, body, facts, _ms(eta), bool(holds), int(crashes or 0))
                for id_, facts, body, eta, crashes, holds in _rows(rows, 6)
            ]
            places = places[done:]
            if last:
                places[0] = (places[0][0], last)

    def groups(self, queue_name: str) -> Iterator[list[CopiedMessage]]:
        """Messages that wait for their groups."""
        after = b""
        while True:
            after, *rows = self.scripts.run("copy_groups", queue_name, SLICE, after, doing=f"copying {queue_name}")
            yield [
                CopiedMessage(id_, body, facts, crashes=int(crashes or 0))
                for id_, facts, body, crashes in _rows(rows, 4)
            ]
            if not after:
                return

    def bodies(self, queue_name: str) -> Iterator[dict[bytes, bytes]]:
        """Id → body of every message that lives all the time; some come twice."""
        for found in self._hash(queue_name, "messages", count=SLICE):
            bodies = list(found.items())
            yield from (dict(bodies[first : first + SLICE]) for first in range(0, len(bodies), SLICE))

    def placed(self, queue_name: str, bodies: Mapping[bytes, bytes]) -> tuple[list[CopiedMessage], list[bytes]]:
        """These messages with where they belong; and ids of those that may wait somewhere, where their facts are."""
        ids = list(bodies)
        somebody_waits, rows = self._places(queue_name, ids, whole=False)
        return _sorted_out(ids, list(bodies.values()), rows, somebody_waits=somebody_waits)

    def named(self, queue_name: str, ids: Sequence[bytes]) -> list[CopiedMessage]:
        """Those of the messages that live, with their facts; where none stand with them, with those that they were sent with.

        One that waits for its group whenever it is looked for elsewhere, and passes whenever that group is read, is seen in
        neither place. What its sender asked for is in its body, too, and never changes.
        """
        _, rows = self._places(queue_name, ids, whole=True)
        found = _sorted_out(ids, [row[0] for row in rows], rows, somebody_waits=False)[0]
        return [one if one.facts else one._replace(facts=_asked_for(one.id, one.body)) for one in found]

    def _places(self, queue_name: str, ids: Sequence[bytes], *, whole: bool) -> tuple[bool, list[list[Any]]]:
        reply = self.scripts.run("copy_places", queue_name, int(whole), *ids, doing=f"copying {queue_name}")
        return bool(reply[0]), _rows(reply[1:], 4)

    def letters(self, queue_name: str, *, since_ms: int | None = None) -> Iterator[list[CopiedLetter]]:
        """Dead letters that are there all the time, some may come twice; ``since_ms``: those who died since alone."""
        for found in self._deaths(queue_name, since_ms):
            ids: list[Any] = list(found)
            with translated(f"copying dead letters of {queue_name}"):
                pipeline = self.scripts.client.pipeline(transaction=False)
                pipeline.hmget(self._key(queue_name, "letters"), ids)
                pipeline.hmget(self._key(queue_name, "bodies"), ids)
                pipeline.zmscore(self._key(queue_name, "unannounced"), ids)
                rows = zip(ids, *pipeline.execute(), strict=True)
            yield [
                CopiedLetter(id_, int(found[id_]), letter, body or b"", untold is None)
                for id_, letter, body, untold in rows
                if letter is not None
            ]

    def _deaths(self, queue_name: str, since_ms: int | None) -> Iterator[dict[bytes, float]]:
        key, client = self._key(queue_name, "dead"), self.scripts.client
        cursor = offset = 0
        while True:
            with translated(f"copying dead letters of {queue_name}"):
                found: Any
                if since_ms is None:
                    cursor, found = client.zscan(key, cursor, count=SLICE)
                else:
                    found = client.zrangebyscore(key, since_ms, "+inf", start=offset, num=SLICE, withscores=True)
                    cursor = offset = offset + SLICE if found else 0
            if found:
                yield dict(found)
            if not cursor:
                return

    def _hash(self, queue_name: str, name: str, *, count: int) -> Iterator[dict[bytes, bytes]]:
        cursor = 0
        while True:
            with translated(f"copying {queue_name}"):
                found: Any
                cursor, found = self.scripts.client.hscan(self._key(queue_name, name), cursor, count=count)
            if found:
                yield found
            if not cursor:
                return

    def _key(self, queue_name: str, name: str) -> str:
        return self.scripts.keys.of(queue_name, name)

    # -- putting back ----------------------------------------------------------------------------------------------

    def begin(self, token: str) -> None:
        """Take the right to restore.

        Raises:
            RestoreUnderWay: somebody else has it.
        """
        key = self.scripts.keys.restoring
        with translated("beginning to restore"):
            taken: Any = self.scripts.client.set(key, token, nx=True, px=RESTORING_MS)
        if not taken:
            raise RestoreUnderWay(
                "another restore is under way; nothing was changed. Wait for its end, "
                f"or, where it was killed, {RESTORING_MS // 1000} s, and run this again"
            )

    def end(self, token: str) -> None:
        """Give the right back, where it still is ours."""
        key, client = self.scripts.keys.restoring, self.scripts.client
        with translated("ending the restore"):
            if client.get(key) == token.encode():
                client.unlink(key)

    def put_gates(self, queue_name: str, copied: CopiedGates, *, token: str) -> bool:
        """Set pause and gates; False when the queue is in use: then it keeps its own."""
        pairs = [word for pair in copied.gates.items() for word in pair]
        state = self._put("restore_gates", queue_name, token, copied.paused_at_ms, *pairs)
        if state < 0:
            raise _lost()
        return bool(state)

    def put_messages(self, queue_name: str, messages: Sequence[CopiedMessage], *, token: str) -> list[str]:
        """Put messages in, in their order; for each ``new``, ``known`` or ``duplicate``. At most :data:`RESTORE_BATCH`."""
        rows = [
            word for one in messages for word in (one.id, one.body, one.facts, one.eta_ms, int(one.holds), one.crashes)
        ]
        return _states(self._put("restore", queue_name, token, *rows))

    def put_letters(self, queue_name: str, letters: Sequence[CopiedLetter], *, token: str) -> list[str]:
        """Put dead letters in; for each ``new``, ``known`` or ``unreadable``. At most :data:`RESTORE_BATCH`."""
        rows = [word for one in letters for word in (one.id, one.died_at_ms, one.letter, one.body, int(one.told))]
        return _states(self._put("restore_letters", queue_name, token, *rows))

    def _put(self, script: str, queue_name: str, token: str, *args: Any) -> Any:
        return self.scripts.run(
            *(script, queue_name, token, RESTORING_MS, *args),
            doing=f"restoring {queue_name}",
            more_keys=(self.scripts.keys.restoring,),
        )


def _states(reply: list[bytes]) -> list[str]:
    if not reply:
        raise _lost()
    return [state.decode() for state in reply]


def _lost() -> RestoreUnderWay:
    return RestoreUnderWay(
        "this restore stood still for too long, or another took over; run it again, what is there stays as it is"
    )


def _rows(flat: Sequence[Any], width: int) -> list[list[Any]]:
    return [list(flat[first : first + width]) for first in range(0, len(flat), width)]


def _sorted_out(
    ids: Sequence[bytes], bodies: Sequence[bytes], rows: Sequence[Sequence[Any]], *, somebody_waits: bool
) -> tuple[list[CopiedMessage], list[bytes]]:
    """Messages whose place is known; ids of those that may wait. What is gone is neither."""
    known, unclear = [], []
    for id_, body, (is_there, facts, eta, crashes) in zip(ids, bodies, rows, strict=True):
        if is_there is None:
            continue
        if facts is None and somebody_waits and not eta:
            unclear.append(id_)
        else:
            known.append(CopiedMessage(id_, body, facts or b"", _ms(eta), crashes=int(crashes or 0)))
    return known, unclear


def _asked_for(id_: bytes, body: bytes) -> bytes:
    """Facts as the options in a message's body ask for them; empty where it has none, or is in no form that is known here."""
    try:
        options = json.loads(body)["options"]
        return Routing.of(id_.decode(), options).text().encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, KeyError, RecursionError):
        return b""


def _ms(eta: bytes) -> int:
    return int(float(eta)) if eta else 0
