"""The life of a message as typed calls: one method, one script.

The broker, its consumer, the keeper and the dead-letter commands go through here; nothing else talks to the queue's keys.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from middleware.brokers.redis.roster import SignOfLife
from middleware.brokers.redis.scripts import MAX_BATCH, Scripts
from middleware.outcomes import Dead, Outcome, PutBack, Retry


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a message until it expires; ``token`` fences whoever had it before."""

    queue_name: str
    id: str
    token: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """One message handed out. ``deliveries`` counts starts without an outcome, this one included."""

    lease: Lease
    deliveries: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """A fetch's answer: messages, how many more may run now, and when the next delayed one is due (None: none waits)."""

    messages: list[Fetched]
    left: int
    next_due_in_ms: int | None


@dataclass(frozen=True, slots=True)
class Tended:
    """What one round of care did for a queue."""

    queue_name: str
    reclaimed: int
    buried: int
    unannounced: int
    next_due_in_ms: int | None
    dropped: int
    ready: int


@dataclass(frozen=True, slots=True)
class Enqueued:
    """``state`` is ``new``, ``known`` (this id again) or ``duplicate`` (``body`` is the live message with the key)."""

    state: str
    id: str
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Depth of every state of one queue."""

    queue_name: str
    ready: int
    delayed: int
    in_flight: int
    waiting_in_lane: int
    dead: int
    oldest_ready_age_s: float | None
    lanes_held: int
    next_due_in_ms: int | None
    counters: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """The public shape (``stats --json``)."""
        return {
            "ready": self.ready,
            "delayed": self.delayed,
            "in_flight": self.in_flight,
            "waiting_in_lane": self.waiting_in_lane,
            "dead": self.dead,
            "oldest_ready_age_s": self.oldest_ready_age_s,
        }


@dataclass(frozen=True, slots=True)
class RawLetter:
    """A dead letter as Redis holds it: ``record`` is the decoded JSON, ``body`` the message's last bytes."""

    queue_name: str
    id: str
    record: dict[str, Any]
    body: bytes


def _batches(leases: Sequence[Lease]) -> Iterator[Sequence[Lease]]:
    # itertools.batched needs 3.12.
    return (leases[first : first + MAX_BATCH] for first in range(0, len(leases), MAX_BATCH))


def _due(value: int) -> int | None:
    return None if value < 0 else value


class Transitions:
    """Every state change of the queue. Safe to share between threads.

    All methods raise the errors of :func:`middleware.brokers.redis.scripts.translated`.
    """

    def __init__(self, scripts: Scripts, *, remember_ms: int) -> None:
        self.scripts = scripts
        self.remember_ms = remember_ms

    def enqueue(
        self, queue_name: str, id_: str, body: bytes, *, delay_ms: int = 0, options: Mapping[str, Any] | None = None
    ) -> Enqueued:
        """Put a message in; ``options`` may name ``lane``, ``group`` and ``unique_key`` (text without NUL)."""
        options = options or {}
        names = [str(options.get(name) or "") for name in ("lane", "group", "unique_key")]
        if any("\0" in name for name in names):
            raise ValueError(f"message {id_}: lane, group and unique_key must not hold NUL")
        reply = self.scripts.run(
            "enqueue", queue_name, id_, body, max(0, delay_ms), *names, doing=f"enqueueing {id_} on {queue_name}"
        )
        return Enqueued(reply[0].decode(), reply[1].decode(), reply[2] if len(reply) > 2 else None)

    def fetch(self, queue_name: str, *, limit: int, lease_ms: int, owner: str) -> Fetch:
        """Take up to ``limit`` messages, each under its own lease."""
        # Not repeated: what the lost reply handed out must be put back first (``disown``).
        reply = self.scripts.run(
            *("fetch", queue_name, min(limit, MAX_BATCH), lease_ms, owner),
            doing=f"fetching from {queue_name}",
            repeat=False,
        )
        messages = [
            Fetched(Lease(queue_name, id_.decode(), token.decode()), deliveries, body)
            for id_, token, deliveries, body in zip(reply[2::4], reply[3::4], reply[4::4], reply[5::4], strict=True)
        ]
        return Fetch(messages, reply[1], _due(reply[0]))

    def disown(self, queue_name: str, *, owner: str, in_hand: Sequence[Lease]) -> int:
        """Put back what ``owner`` was handed in replies that it never got, uncounted; call it between two fetches."""
        tokens = [lease.token for lease in in_hand]
        return int(self.scripts.run("disown", queue_name, owner, *tokens, doing=f"putting back from {queue_name}"))

    def finish(self, lease: Lease, outcome: Outcome, *, body: bytes) -> bool:
        """Apply an outcome; False when the lease is another's by now and nothing was changed."""
        delay_ms = outcome.delay_ms if isinstance(outcome, Retry | PutBack) else 0
        reason = "" if outcome.name == "done" else outcome.reason  # type: ignore[union-attr]
        name = "yield" if isinstance(outcome, PutBack) and outcome.yields else outcome.name
        evidence = json.dumps(outcome.evidence, default=str) if isinstance(outcome, Dead) else "{}"
        reply = self.scripts.run(
            "finish",
            lease.queue_name,
            *(lease.id, lease.token, name, delay_ms, body, reason, evidence, self.remember_ms),
            doing=f"recording the outcome of {lease.id}",
        )
        return bool(reply)

    def release(self, queue_name: str, leases: Sequence[Lease], *, started: bool) -> int:
        """Give messages back to the head, in the order given; returns how many were still ours."""
        released = 0
        # From the back, so that a later batch ends up behind an earlier one.
        for batch in reversed(list(_batches(leases))):
            pairs = [text for lease in batch for text in (lease.id, lease.token)]
            released += self.scripts.run(
                "release", queue_name, int(started), *pairs, doing=f"releasing {len(batch)} messages of {queue_name}"
            )
        return released

    def renew(self, queue_name: str, leases: Sequence[Lease], *, lease_ms: int) -> set[str]:
        """Prolong leases; returns ids that were lost to another worker."""
        lost: set[str] = set()
        for batch in _batches(leases):
            pairs = [text for lease in batch for text in (lease.id, lease.token)]
            reply = self.scripts.run("renew", queue_name, lease_ms, *pairs, doing=f"renewing leases of {queue_name}")
            lost.update(id_.decode() for id_ in reply)
        return lost

    def tend(
        self,
        queue_names: Sequence[str],
        *,
        max_deliveries: int,
        dead_max_age_ms: int,
        dead_max: int,
        sign: SignOfLife | None = None,
    ) -> list[Tended]:
        """Promote, reclaim, forget and trim, for all queues in one command, which also carries a worker's sign of life."""
        keys = self.scripts.keys
        who = ("", 0, "") if sign is None else (sign.worker_id, sign.alive_ms, sign.facts)
        reply = self.scripts.run(
            "tend",
            queue_names,
            *(max_deliveries, dead_max_age_ms, dead_max, *who),
            doing="tending the queues",
            more_keys=(keys.workers, keys.worker_facts),
        )
        rows = zip(queue_names, *(reply[column::6] for column in range(6)), strict=True)
        return [
            Tended(name, reclaimed, buried, unannounced, _due(due), dropped, ready)
            for name, reclaimed, buried, unannounced, due, dropped, ready in rows
        ]

    def announce(self, queue_name: str, *, limit: int, hold_ms: int) -> list[RawLetter]:
        """Claim dead letters nobody has been told of; unless struck off they come again after ``hold_ms``."""
        reply = self.scripts.run(
            "announce", queue_name, min(limit, MAX_BATCH), hold_ms, doing=f"announcing dead letters of {queue_name}"
        )
        rows = zip(reply[0::3], reply[1::3], reply[2::3], strict=True)
        return [RawLetter(queue_name, id_.decode(), json.loads(letter), body) for id_, letter, body in rows]

    def announced(self, queue_name: str, ids: Sequence[str]) -> int:
        """Strike dead letters off the list of those to announce."""
        return int(self.scripts.run("announced", queue_name, *ids, doing=f"marking {len(ids)} letters as announced"))

    def withhold(self, queue_name: str, id_: str, *, hold_ms: int) -> bool:
        """Keep a dead letter from being announced for a time; False when somebody is telling of it right now."""
        return bool(self.scripts.run("withhold", queue_name, id_, hold_ms, doing=f"withholding {id_}"))

    def redrive(self, queue_name: str, id_: str, *, body: bytes) -> str:
        """Send a dead letter again: ``redriven``, ``missing`` or ``duplicate``."""
        reply = self.scripts.run("redrive", queue_name, id_, body, doing=f"redriving {id_}")
        return str(reply.decode())

    def discard(self, queue_name: str, ids: Sequence[str]) -> int:
        """Delete dead letters; returns how many existed."""
        return int(self.scripts.run("discard", queue_name, *ids, doing=f"discarding {len(ids)} letters"))

    def purge(self, queue_name: str) -> int:
        """Drop every live message of a queue; dead letters stay."""
        return int(self.scripts.run("purge", queue_name, doing=f"purging {queue_name}"))

    def stats(self, queue_names: Sequence[str]) -> list[QueueStats]:
        """Depths of all states, in one command."""
        if not queue_names:
            return []
        reply = self.scripts.run("stats", queue_names, doing="reading queue depths")
        return [_stats(name, row) for name, row in zip(queue_names, reply, strict=True)]


def _stats(queue_name: str, row: list[Any]) -> QueueStats:
    fields = row[8]
    counters = {name.decode(): int(value) for name, value in zip(fields[0::2], fields[1::2], strict=True)}
    return QueueStats(
        queue_name=queue_name,
        ready=row[0],
        delayed=row[1],
        in_flight=row[2],
        waiting_in_lane=row[3],
        dead=row[4],
        oldest_ready_age_s=None if row[5] < 0 else row[5] / 1000,
        lanes_held=row[6],
        next_due_in_ms=_due(row[7]),
        counters={name: value for name, value in counters.items() if name not in ("sequence", "token")},
    )
