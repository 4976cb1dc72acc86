"""Dead letters as values, and what an operator may do with them.

Read by the announcer, the ``dlq`` commands and the host's admin pages. A letter shows ids, the reason and the way there; message
text, numbers and keys are not in it, because they are not in the message either.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dramatiq.errors import DecodeError

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.scripts import translated
from middleware.brokers.redis.values import RawLetter
from middleware.clock import iso
from middleware.letter_search import LetterGroup, LetterIndex, LetterQuery
from middleware.outcomes import STEP_OPTIONS

#: Options that describe the failed life; a redriven message starts without them.
LIFE_OPTIONS = (
    *STEP_OPTIONS,
    "failures",
    "first_failed_at_ms",
    "put_backs",
    "unknown_actor_waits",
    "traceback",
    "requeue_timestamp",
    "due_at_ms",
)
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
    #: Letters that have the same one died of the same.
    fingerprint: str | None = None
    #: Id of the worker process in whose hands it died, where one had it.
    worker: str | None = None

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
            "fingerprint": self.fingerprint,
            "worker": self.worker,
            "failures": list(self.failures),
        }


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms, to="milliseconds")


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
        "fingerprint": record.get("fingerprint"),
        "worker": record.get("worker"),
    }
    try:
        message = broker.decode(raw.body)
    except DecodeError:
        return DeadLetter(**common)
    kwargs = {**{f"arg{index}": value for index, value in enumerate(message.args)}, **message.kwargs}
    return DeadLetter(
        **common, actor=message.actor_name, job_id=message.message_id, kwargs=kwargs, options=dict(message.options)
    )


@dataclass(frozen=True, slots=True)
class LetterPage:
    """Part of a search: what was found, where to go on, how many were looked at."""

    letters: tuple[DeadLetter, ...]
    after: str
    looked_at: int


class DeadLetters:
    """What an operator may do. All methods raise ``middleware.errors.PipelineError`` when Redis does not do its part."""

    def __init__(self, broker: CarrierBroker) -> None:
        self.broker = broker

    def newest(self, *, queue_names: Iterable[str] | None = None, limit: int = 100) -> list[DeadLetter]:
        """Up to ``limit`` letters of the queues (None: all declared), newest first."""
        letters = [letter for name in self._names(queue_names) for letter in islice(self.all(name), limit)]
        return sorted(letters, key=lambda letter: (-letter.died_at_ms, -letter.sequence))[:limit]

    def all(
        self, queue_name: str, query: LetterQuery | None = None, *, oldest_first: bool = False
    ) -> Iterator[DeadLetter]:
        """Letters of a queue in the order of their deaths, the newest first unless asked otherwise, read page by page."""
        for page in self.pages(queue_name, query, oldest_first=oldest_first):
            yield from page.letters

    def pages(
        self,
        queue_name: str,
        query: LetterQuery | None = None,
        *,
        matches: Callable[[DeadLetter], bool] = lambda _: True,
        oldest_first: bool = False,
        after: str | None = None,
    ) -> Iterator["LetterPage"]:
        """The same with where each page ends, to go on later; ``matches`` is asked of each letter that is looked at."""
        query = query or LetterQuery()
        for end, ids in self.index.ids(queue_name, query, oldest_first=oldest_first, after=after):
            raw_letters = [raw for raw in self.raw(queue_name, ids) if query.matches(raw.record)]
            letters = [letter for raw in raw_letters if matches(letter := read_letter(self.broker, raw))]
            if query.index() is None:
                # By age those of one millisecond come in the order of their ids.
                letters.sort(key=lambda letter: (letter.died_at_ms, letter.sequence), reverse=not oldest_first)
            yield LetterPage(tuple(letters), after=end, looked_at=len(ids))

    def groups(self, queue_names: Iterable[str] | None = None, *, limit: int = 100) -> list[LetterGroup]:
        """Letters that died of the same, of the queues (None: all declared), the ``limit`` most frequent first."""
        groups = [group for name in self._names(queue_names) for group in self.index.groups(name, limit=limit)]
        return sorted(groups, key=lambda group: -group.count)[:limit]

    def now_ms(self) -> int:
        """Redis' own time, by which letters died; milliseconds since 1970."""
        with translated("asking Redis for its time"):
            seconds, microseconds = self.broker.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    @property
    def index(self) -> LetterIndex:
        """Where their ids are found."""
        return LetterIndex(self.broker.client, self.broker.machinery.keys)

    def _names(self, queue_names: Iterable[str] | None) -> list[str]:
        return sorted(self.broker.get_declared_queues() if queue_names is None else queue_names)

    def raw(self, queue_name: str, ids: list[str]) -> list[RawLetter]:
        """Those of the letters with these ids that are there, as Redis holds them; one round trip."""
        keys, client = self.broker.machinery.keys, self.broker.client
        with translated(f"reading dead letters of {queue_name}"):
            pipeline = client.pipeline(transaction=False)
            pipeline.hmget(keys.of(queue_name, "letters"), ids)
            pipeline.hmget(keys.of(queue_name, "bodies"), ids)
            records, bodies = pipeline.execute()
        # One that was redriven or trimmed meanwhile is left out.
        return [
            RawLetter(queue_name, id_, json.loads(record), body or b"")
            for id_, record, body in zip(ids, records, bodies, strict=True)
            if record is not None
        ]

    def named(self, queue_name: str, ids: Iterable[str]) -> list[DeadLetter]:
        """Those of the letters with these ids that are there, in their order; one round trip."""
        wanted = list(dict.fromkeys(ids))
        return [read_letter(self.broker, raw) for raw in self.raw(queue_name, wanted)] if wanted else []

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

    def redrive(
        self,
        letter: DeadLetter,
        *,
        prepare: Callable[[], object] | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> str:
        """Send a letter again at the end of its lane, with fresh attempts and ``changes`` of its arguments.

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
        return self._redrive(letter, changes or {})

    def _redrive(self, letter: DeadLetter, changes: Mapping[str, Any]) -> str:
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
        kwargs = {**message.kwargs, **changes}
        fresh = self.broker.encode(type(message)(**{**message.asdict(), "kwargs": kwargs, "options": options}))
        state = self.broker.transitions.redrive(letter.queue, letter.id, body=fresh)
        self.broker.machinery.ring(letter.queue)
        return state

    def place(self, queue_name: str, name: str) -> str | None:
        """Where a search under this name ended, see :meth:`keep_place`; None = at the end, or never begun."""
        with translated(f"reading the place of {name} in {queue_name}"):
            found: Any = self.broker.client.hget(self.broker.machinery.keys.of(queue_name, "control"), name)
        return None if found is None else str(found.decode())

    def keep_place(self, queue_name: str, name: str, after: str | None) -> None:
        """Remember where a search ended, for whoever goes on with it."""
        control, client = self.broker.machinery.keys.of(queue_name, "control"), self.broker.client
        with translated(f"keeping the place of {name} in {queue_name}"):
            if after is None:
                client.hdel(control, name)
            else:
                client.hset(control, name, after)

    def discard(self, letters: Iterable[DeadLetter]) -> int:
        """Delete letters for good; returns how many existed."""
        by_queue: dict[str, list[str]] = {}
        for letter in letters:
            by_queue.setdefault(letter.queue, []).append(letter.id)
        return sum(self.broker.transitions.discard(name, ids) for name, ids in by_queue.items())
