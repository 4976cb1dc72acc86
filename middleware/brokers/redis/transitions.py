"""The life of a message as typed calls: one method, one script.

The broker, its consumer, the keeper and the commands go through here; but for the letters that a person reads, nothing else
talks to the queue's keys.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from middleware.brokers.redis.controls import Controls
from middleware.brokers.redis.roster import SignOfLife
from middleware.brokers.redis.scripts import MAX_BATCH, Call, Scripts
from middleware.brokers.redis.values import NOWHERE, Enqueued, Fetch, Fetched, Lease, NewMessage, Routing, Tended, due
from middleware.outcomes import Dead, Done, Outcome, PutBack, Retry

#: Most messages that one script enqueues: 200 with lane, group and unique key took it 8 ms (measured, two shared cores).
ENQUEUE_BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How long what is kept: ids of ended messages, slots of periodic sends, dead letters; times in milliseconds."""

    remember_ms: int = 120_000
    tick_ms: int = 48 * 60 * 60 * 1000
    dead_max_age_ms: int = 90 * 24 * 60 * 60 * 1000
    dead_max: int = 100_000


class Settlement(NamedTuple):
    """What became of an attempt, decided and not yet written. ``is_plain``: its fetch said that it belongs nowhere."""

    lease: Lease
    outcome: Outcome
    body: bytes
    is_plain: bool = False

    def args(self) -> tuple[Any, ...]:
        """Arguments of ``finish.lua``."""
        outcome, lease = self.outcome, self.lease
        if isinstance(outcome, Done):
            return (lease.id, lease.token, "plain" if self.is_plain else "done")
        delay_ms = outcome.delay_ms if isinstance(outcome, Retry | PutBack) else 0
        group_for_ms = outcome.group_for_ms if isinstance(outcome, Retry | PutBack) else 0
        name = outcome.name
        if isinstance(outcome, PutBack):
            name = "yield" if outcome.yields else "unspent" if outcome.unspent else outcome.name
        if isinstance(outcome, Dead) and outcome.holds_lane:
            name = "dead_holding"
        head = (lease.id, lease.token, name, delay_ms, group_for_ms, self.body)
        if not isinstance(outcome, Dead):
            return (*head, "", "", "{}")
        return (*head, outcome.reason, outcome.fingerprint, _story(outcome.evidence))


def _story(evidence: Mapping[str, Any]) -> str:
    try:
        return json.dumps(evidence, default=str)
    except (TypeError, ValueError, RecursionError):
        # Better a death without its story: an error here would break the round of all who finish now.
        return "{}"


def batches(items: Sequence[Any], *, of: int = MAX_BATCH) -> Iterator[Sequence[Any]]:
    """Slices that one call may move."""
    # itertools.batched needs 3.12.
    return (items[first : first + of] for first in range(0, len(items), of))


def first_of(queue_names: Sequence[str], reply: list[Any]) -> tuple[str, Fetch] | None:
    """The reply of ``fetch_first.lua`` as a value: queue and what came from it; None for nothing."""
    if not reply:
        return None
    queue_name = queue_names[reply[0]]
    return queue_name, fetch_of(queue_name, reply[1:])


def fetch_of(queue_name: str, reply: list[Any]) -> Fetch:
    """The reply of ``fetch.lua`` as a value."""
    messages = []
    for at in range(2, len(reply), 5):
        id_, token, deliveries, body, facts = reply[at : at + 5]
        lease = Lease(queue_name, id_.decode(), token.decode())
        messages.append(Fetched(lease, deliveries, body, Routing.read(facts) if facts else NOWHERE))
    return Fetch(messages, reply[1], due(reply[0]))


class Transitions(Controls):
    """Every state change of the queue. Safe to share between threads.

    All methods raise the errors of :func:`middleware.brokers.redis.scripts.translated`.
    """

    def __init__(self, scripts: Scripts, *, memory: Memory | None = None) -> None:
        super().__init__(scripts)
        self.memory = memory or Memory()
        self._ticks = (scripts.keys.ticks,)

    def enqueue(
        self, queue_name: str, id_: str, body: bytes, *, delay_ms: int = 0, options: Mapping[str, Any] | None = None
    ) -> Enqueued:
        """Put a message in; ``options`` may say where it belongs (:meth:`Routing.of`) and, in ms, ``unique_for``."""
        options = options or {}
        unique_for_ms = int(options.get("unique_for") or 0)
        new = NewMessage(id_, body, max(0, delay_ms), Routing.of(id_, options), unique_for_ms)
        return self.enqueue_many(queue_name, [new])[0]

    def enqueue_many(self, queue_name: str, new_messages: Sequence[NewMessage]) -> list[Enqueued]:
        """Put messages in, in their order; slices of :data:`ENQUEUE_BATCH`, one script each.

        When one slice fails the ones before it are in; calling again with the same ids adds the rest.
        """
        if len(new_messages) == 1:
            return self._enqueued(queue_name, new_messages, doing=f"enqueueing {new_messages[0].id} on {queue_name}")
        return [
            enqueued
            for batch in batches(new_messages, of=ENQUEUE_BATCH)
            for enqueued in self._enqueued(queue_name, batch, doing=f"enqueueing {len(batch)} on {queue_name}")
        ]

    def _enqueued(self, queue_name: str, batch: Sequence[NewMessage], *, doing: str) -> list[Enqueued]:
        fields: list[Any] = [b"0"]
        for new in batch:
            fields += self._fields(new)
        reply = self.scripts.run(
            *("enqueue", queue_name, *fields),
            doing=doing,
            more_keys=self._ticks,
            again=(b"1", *fields[1:]),
        )
        return [Enqueued(row[0].decode(), row[1].decode(), (row[2] or None) if row[2:] else None) for row in reply]

    def _fields(self, new: NewMessage) -> tuple[Any, ...]:
        # As bytes what most messages have: to write a number costs as much as to read a reply.
        if new.routing is NOWHERE and not new.tick and not new.delay_ms:
            return (new.id, new.body, b"0", b"", b"0", b"", b"0")
        where = new.routing.text()
        return (new.id, new.body, new.delay_ms, where, new.unique_for_ms, new.tick, self.memory.tick_ms)

    def fetch_call(self, queue_name: str, *, limit: int, lease_ms: int, owner: str) -> Call:
        """The call behind :meth:`fetch`, to be sent with others; :func:`fetch_of` reads its reply."""
        return Call("fetch", (queue_name,), (min(limit, MAX_BATCH), lease_ms, owner))

    def fetch(self, queue_name: str, *, limit: int, lease_ms: int, owner: str) -> Fetch:
        """Take up to ``limit`` messages, each under its own lease."""
        # Not repeated: what the lost reply handed out must be put back first (``disown``).
        call = self.fetch_call(queue_name, limit=limit, lease_ms=lease_ms, owner=owner)
        reply = self.scripts.run("fetch", queue_name, *call.args, doing=f"fetching from {queue_name}", repeat=False)
        return fetch_of(queue_name, reply)

    def fetch_first_call(self, queue_names: Sequence[str], *, lease_ms: int, owner: str) -> Call:
        """The call behind :meth:`fetch_first`, to be sent with a wait; :func:`first_of` reads its reply."""
        return Call("fetch_first", tuple(queue_names), (lease_ms, owner))

    def fetch_first(self, queue_names: Sequence[str], *, lease_ms: int, owner: str) -> tuple[str, Fetch] | None:
        """Take the first message that is ready in any of several queues, and say in which; nothing is promoted."""
        call = self.fetch_first_call(queue_names, lease_ms=lease_ms, owner=owner)
        doing = f"fetching from one of {', '.join(queue_names)}"
        return first_of(
            queue_names, self.scripts.run(call.name, call.queue_names, *call.args, doing=doing, repeat=False)
        )

    def disown_call(self, queue_name: str, *, owner: str, in_hand: Sequence[Lease]) -> Call:
        """The call behind :meth:`disown`, to be sent with others."""
        return Call("disown", (queue_name,), (owner, *(text for lease in in_hand for text in (lease.id, lease.token))))

    def disown(self, queue_name: str, *, owner: str, in_hand: Sequence[Lease]) -> int:
        """Put back what ``owner`` was handed in replies that it never got, uncounted; call it between two fetches."""
        call = self.disown_call(queue_name, owner=owner, in_hand=in_hand)
        return int(self.scripts.run("disown", queue_name, *call.args, doing=f"putting back from {queue_name}"))

    def finish_call(self, queue_name: str, settlements: Sequence[Settlement], *, repeated: bool = False) -> Call:
        """The call behind :meth:`finish`, to be sent with others; its reply has 1 (applied) or 0 (stale) for each."""
        fields = [field for settlement in settlements for field in settlement.args()]
        kept = self.memory
        return Call("finish", (queue_name,), (int(repeated), kept.dead_max_age_ms, kept.dead_max, *fields))

    def finish(self, lease: Lease, outcome: Outcome, *, body: bytes) -> bool:
        """Apply an outcome; False when the lease is another's by now and nothing was changed."""
        settlements = [Settlement(lease, outcome, body)]
        first = self.finish_call(lease.queue_name, settlements)
        again = self.finish_call(lease.queue_name, settlements, repeated=True)
        reply = self.scripts.run(
            *("finish", lease.queue_name, *first.args),
            doing=f"recording the outcome of {lease.id}",
            again=again.args,
        )
        return bool(reply[0])

    def release(self, queue_name: str, leases: Sequence[Lease], *, started: bool) -> int:
        """Give messages back to the head, in the order given; returns how many were still ours."""
        released = 0
        # From the back, so that a later batch ends up behind an earlier one.
        for batch in reversed(list(batches(leases))):
            pairs = [text for lease in batch for text in (lease.id, lease.token)]
            released += self.scripts.run(
                "release", queue_name, int(started), *pairs, doing=f"releasing {len(batch)} messages of {queue_name}"
            )
        return released

    def renew(self, queue_name: str, leases: Sequence[Lease], *, lease_ms: int) -> set[str]:
        """Prolong leases; returns ids that were lost to another worker."""
        lost: set[str] = set()
        for batch in batches(leases):
            pairs = [text for lease in batch for text in (lease.id, lease.token)]
            reply = self.scripts.run("renew", queue_name, lease_ms, *pairs, doing=f"renewing leases of {queue_name}")
            lost.update(id_.decode() for id_ in reply)
        return lost

    def tend(self, queue_names: Sequence[str], *, max_deliveries: int, sign: SignOfLife | None = None) -> list[Tended]:
        """Promote, reclaim, forget and trim, for all queues in one command, which also carries a worker's sign of life."""
        keys, kept = self.scripts.keys, self.memory
        who = ("", 0, "") if sign is None else (sign.worker_id, sign.alive_ms, sign.facts)
        reply = self.scripts.run(
            "tend",
            queue_names,
            *(max_deliveries, kept.dead_max_age_ms, kept.dead_max, kept.remember_ms, *who),
            doing="tending the queues",
            more_keys=(keys.workers, keys.worker_facts),
        )
        rows = zip(queue_names, *(reply[column::6] for column in range(6)), strict=True)
        return [
            Tended(name, reclaimed, buried, unannounced, due(next_due), dropped, ready)
            for name, reclaimed, buried, unannounced, next_due, dropped, ready in rows
        ]

    def purge(self, queue_name: str) -> int:
        """Drop every live message of a queue; dead letters stay."""
        return int(self.scripts.run("purge", queue_name, doing=f"purging {queue_name}"))
