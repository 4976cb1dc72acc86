"""Dead letters as values, and what an operator may do with them.

Read by the announcer, the ``dlq`` commands and the host's admin pages. A letter shows ids, the reason and the way there; message
text, numbers and keys are not in it, because they are not in the message either.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dramatiq.errors import DecodeError

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.scripts import translated
from middleware.brokers.redis.transitions import RawLetter

#: Options that describe the failed life; a redriven message starts without them.
LIFE_OPTIONS = (
    "retries",
    "failures",
    "first_failed_at_ms",
    "put_backs",
    "unknown_actor_waits",
    "traceback",
    "requeue_timestamp",
)
#: Letters read per round trip.
PAGE = 100
#: How long a redrive waits for a worker that is telling of its letter, in milliseconds: a little more than it may hold it.
ANNOUNCING_MS = 31_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was given up.

    ``id`` names the letter (and the message in Redis); ``job_id`` is Dramatiq's message id. ``actor`` is None when its
    bytes could not be read.
    """

    id: str
    queue: str
    reason: str
    died_at_ms: int
    deliveries: int
    #: Order of deaths within a queue, finer than their time.
    sequence: int = 0
    actor: str | None = None
    job_id: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    error_class: str | None = None
    attempts: int = 0
    first_failed_at_ms: int | None = None
    failures: tuple[dict[str, Any], ...] = ()
    lane: str | None = None
    group: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The public shape (``dlq list --json``)."""
        return {
            "id": self.id,
            "job_id": self.job_id,
            "queue": self.queue,
            "actor": self.actor,
            "reason": self.reason,
            "error": self.error,
            "error_class": self.error_class,
            "attempts": self.attempts,
            "first_failed_at": _iso(self.first_failed_at_ms),
            "died_at": _iso(self.died_at_ms),
            "kwargs": self.kwargs,
            "instance": self.group,
            "lane": self.lane,
            "failures": list(self.failures),
        }


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")


def read_letter(broker: CarrierBroker, raw: RawLetter) -> DeadLetter:
    """Letter of what Redis holds; bytes that are no message leave its actor and arguments unknown."""
    record, evidence, about = raw.record, raw.record.get("evidence") or {}, raw.record.get("about") or {}
    # cjson writes an empty table as {}, whatever it was.
    failures = evidence.get("failures") or []
    common: dict[str, Any] = {
        "id": raw.id,
        "queue": raw.queue_name,
        "reason": record.get("reason", "unknown"),
        "died_at_ms": int(record.get("died_at_ms", 0)),
        "deliveries": int(record.get("deliveries", 0)),
        "sequence": int(record.get("sequence", 0)),
        "error": evidence.get("error"),
        "error_class": evidence.get("class"),
        "attempts": int(evidence.get("attempts") or 0),
        "first_failed_at_ms": evidence.get("first_failed_at_ms"),
        "failures": tuple(failures),
        "lane": about.get("lane"),
        "group": about.get("group"),
    }
    try:
        message = broker.decode(raw.body)
    except DecodeError:
        return DeadLetter(**common)
    kwargs = {**{f"arg{index}": value for index, value in enumerate(message.args)}, **message.kwargs}
    return DeadLetter(
        **common, actor=message.actor_name, job_id=message.message_id, kwargs=kwargs, options=dict(message.options)
    )


class DeadLetters:
    """What an operator may do. All methods raise ``middleware.errors.PipelineError`` when Redis does not do its part."""

    def __init__(self, broker: CarrierBroker) -> None:
        self.broker = broker

    def newest(self, *, queue_names: Iterable[str] | None = None, limit: int = 100) -> list[DeadLetter]:
        """Up to ``limit`` letters of the queues (None: all declared), newest first."""
        names = sorted(self.broker.get_declared_queues() if queue_names is None else queue_names)
        letters = [letter for name in names for letter in self._page(name, first=0, count=limit)]
        return sorted(letters, key=lambda letter: (-letter.died_at_ms, -letter.sequence))[:limit]

    def all(self, queue_name: str) -> Iterator[DeadLetter]:
        """Every letter of a queue, newest first, page by page."""
        first = 0
        while page := self._page(queue_name, first=first, count=PAGE):
            yield from page
            first += PAGE

    def _page(self, queue_name: str, *, first: int, count: int) -> list[DeadLetter]:
        keys, client = self.broker.machinery.keys, self.broker.client
        with translated(f"reading dead letters of {queue_name}"):
            ids: Any = client.zrevrange(keys.of(queue_name, "dead"), first, first + count - 1)
            if not ids:
                return []
            records: Any = client.hmget(keys.of(queue_name, "letters"), ids)
            bodies: Any = client.hmget(keys.of(queue_name, "bodies"), ids)
        return [
            read_letter(self.broker, RawLetter(queue_name, id_.decode(), json.loads(record or b"{}"), body or b""))
            for id_, record, body in zip(ids, records, bodies, strict=True)
        ]

    def find(self, letter_id: str) -> DeadLetter | None:
        """The letter with this id (or this job id, among the newest thousand of each queue); None when there is none."""
        keys, client = self.broker.machinery.keys, self.broker.client
        for queue_name in sorted(self.broker.get_declared_queues()):
            with translated(f"reading dead letter {letter_id}"):
                record: Any = client.hget(keys.of(queue_name, "letters"), letter_id)
                body: Any = client.hget(keys.of(queue_name, "bodies"), letter_id)
            if record is not None:
                return read_letter(self.broker, RawLetter(queue_name, letter_id, json.loads(record), body or b""))
        return next((letter for letter in self.newest(limit=1000) if letter.job_id == letter_id), None)

    def redrive(self, letter: DeadLetter, *, prepare: Callable[[], object] | None = None) -> str:
        """Send a letter again at the end of its lane, with fresh attempts.

        ``prepare`` makes the host ready for it. It is called when nobody tells of the letter (any more): a telling that came
        after it would fail what the redrive revives.

        Returns:
            ``redriven`` · ``missing`` it is gone · ``duplicate`` a live message has its unique key, the letter stays ·
            ``undecodable`` its bytes are no message, it can only be discarded · ``announcing`` its telling does not end.
        """
        clock = self.broker.clock
        patience_ms = clock.boot_ms() + ANNOUNCING_MS
        while not self.broker.transitions.withhold(letter.queue, letter.id, hold_ms=ANNOUNCING_MS):
            if clock.boot_ms() >= patience_ms:
                return "announcing"
            clock.wait(0.05, until=self.broker.machinery.stopping)
        if prepare is not None:
            prepare()
        return self._redrive(letter)

    def _redrive(self, letter: DeadLetter) -> str:
        client, keys = self.broker.client, self.broker.machinery.keys
        with translated(f"reading dead letter {letter.id}"):
            body: Any = client.hget(keys.of(letter.queue, "bodies"), letter.id)
        if body is None:
            return "missing"
        try:
            message = self.broker.decode(body)
        except DecodeError:
            return "undecodable"
        options = {name: value for name, value in message.options.items() if name not in LIFE_OPTIONS}
        options["redrives"] = int(options.get("redrives", 0)) + 1
        # Whoever has a deadline counts it from here: a person has just said that it is still wanted.
        options["redriven_at_ms"] = self.broker.clock.now_ms()
        fresh = self.broker.encode(type(message)(**{**message.asdict(), "options": options}))
        state = self.broker.transitions.redrive(letter.queue, letter.id, body=fresh)
        self.broker.machinery.ring(letter.queue)
        return state

    def discard(self, letters: Iterable[DeadLetter]) -> int:
        """Delete letters for good; returns how many existed."""
        by_queue: dict[str, list[str]] = {}
        for letter in letters:
            by_queue.setdefault(letter.queue, []).append(letter.id)
        return sum(self.broker.transitions.discard(name, ids) for name, ids in by_queue.items())
