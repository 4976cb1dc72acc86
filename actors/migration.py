"""Move what the old product queued into this project's queues, so that it may be interrupted anywhere and repeated.

``chat-actors migrate-legacy`` runs it. An entry is sent first and leaves its list in the step after: repeated, it meets its
unique key in the queue, or a row that says what has become of it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, cast

import redis
from dramatiq import Message

from actors import chat, services
from actors.domain import KnownMessage, MessageStatus, Route
from actors.legacy_jobs import GROUP, PICTURE, SEND, LegacyEntry, LegacyJob, shown
from actors.legacy_queues import ASIDE, DEAD, LEDGER, OldQueue, Slice
from actors.services import Services
from actors.stores.base import Store
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.wire import new_id

_ACTORS: Mapping[str, Any] = {
    SEND: chat.send_message,
    PICTURE: chat.fetch_profile_pic,
    GROUP: chat.fetch_group_info,
}
#: Rows looked at together.
PAGE = 1_000


class Outcome(StrEnum):
    """What an entry came to. The first that holds for one of its jobs is that of the entry."""

    #: A new message is in the queue.
    ENQUEUED = "enqueued"
    #: The queue had it already, or has just done it.
    REPEATED = "repeated"
    #: Its row does not exist, or it names none: kept, without what is secret in it.
    ASIDE = "aside"
    #: The row is sent or failed, or has a provider's id.
    ENDED = "ended"
    #: An old dead letter: kept likewise.
    KEPT = "kept"


#: Ids of this project that stood among the old entries: back in their list.
OWN = "own"
#: Of a stream only: entries that its consumers had acknowledged.
FINISHED = "finished"
#: Owed by a group and not in the stream any more; they were not counted when it was taken.
TRIMMED = "trimmed"


@dataclass
class Tally:
    """What became of the entries of one queue; ``secrets`` of them held a key, a number or an address."""

    outcomes: Counter[str] = field(default_factory=Counter)
    secrets: int = 0


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the store knows of the rows that a slice names."""

    messages: Mapping[str, KnownMessage]
    homes: Mapping[str, Route]

    def route(self, job: LegacyJob) -> Route | None:
        if job.operation != SEND:
            return self.homes.get(job.row_id)
        known = self.messages.get(job.row_id)
        return None if known is None else known.route

    def has_ended(self, job: LegacyJob) -> bool:
        known = self.messages.get(job.row_id) if job.operation == SEND else None
        # The old product wrote the provider's id first and the status afterwards.
        return known is not None and (known.status != MessageStatus.PENDING or known.provider_message_id is not None)


class _Seen:
    """The store while messages of a slice are built: it was asked once where all of them belong."""

    def __init__(self, store: Store, rows: _Rows) -> None:
        self._store = store
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def route(self, message_id: str) -> Route | None:
        return self._rows.messages[message_id].route

    def routes(self, message_ids: Sequence[str]) -> dict[str, Route]:
        return {id_: self._rows.messages[id_].route for id_ in message_ids}

    def conversation_route(self, conversation_id: str) -> Route | None:
        return self._rows.homes[conversation_id]


class Migration:
    """Moves old queues. ``sends_dead``: what the old product gave up is sent too, where the row still waits."""

    def __init__(self, work: Services, broker: CarrierBroker, *, sends_dead: bool = False) -> None:
        self.work = work
        self.broker = broker
        self.sends_dead = sends_dead

    def preview(self, queue: OldQueue) -> Tally:
        """What :meth:`move` would do now, without doing it. What is queued twice counts twice."""
        tally = Tally()
        for found in queue.peek():
            rows = self._rows(found.entries)
            planned = [self._foresee(queue, entry, rows) for entry in found.entries]
            tally.outcomes.update(planned)
            tally.outcomes.update({TRIMMED: found.gone} if found.gone else {})
            tally.secrets += sum(entry.has_secrets for entry in found.entries)
        return tally

    def move(self, queue: OldQueue) -> Tally:
        """Move all that is there and all that an interrupted run has left.

        Raises:
            QueueUnavailable, QueueFull, QueueRefused, Transient: call it again, nothing is lost.
        """
        tally = Tally()
        while True:
            try:
                while self._move_slice(queue, tally):
                    pass
                if not queue.take():
                    return tally
            except redis.WatchError:
                # An old producer, or another migration: look again.
                continue

    def _move_slice(self, queue: OldQueue, tally: Tally) -> bool:
        with queue.slice() as found:
            if found is None:
                return False
            if found.counts is None:
                outcomes, kept = self._carry_out(queue, found)
                also = Counter({TRIMMED: found.gone, OWN: len(found.own_ids)})
                is_dead = queue.is_dead_letters and not self.sends_dead
                found.settle(Counter(outcomes) + also, kept, keep_in=DEAD if is_dead else ASIDE)
        tally.outcomes.update(found.counts or {})
        tally.secrets += sum(entry.has_secrets for entry in found.entries)
        return True

    def _rows(self, entries: Iterable[LegacyEntry]) -> _Rows:
        jobs = [job for entry in entries for job in entry.jobs]
        store = self.work.store
        return _Rows(
            store.known_messages(list({job.row_id for job in jobs if job.operation == SEND})),
            store.conversation_routes(list({job.row_id for job in jobs if job.operation != SEND})),
        )

    def _foresee(self, queue: OldQueue, entry: LegacyEntry, rows: _Rows) -> Outcome:
        if queue.is_dead_letters and not self.sends_dead:
            return Outcome.KEPT
        states = {self._state(job, rows) for job in entry.jobs} | ({Outcome.ASIDE} if entry.fault else set())
        return _first(states)

    def _state(self, job: LegacyJob, rows: _Rows) -> Outcome:
        if rows.route(job) is None:
            return Outcome.ASIDE
        return Outcome.ENDED if rows.has_ended(job) else Outcome.ENQUEUED

    def _carry_out(self, queue: OldQueue, found: Slice) -> tuple[list[Outcome], list[dict[str, Any]]]:
        if queue.is_dead_letters and not self.sends_dead:
            return [Outcome.KEPT] * len(found.entries), [_record(entry) for entry in found.entries]
        rows = self._rows(found.entries)
        wanted = [
            (place, job)
            for place, entry in enumerate(found.entries)
            for job in entry.jobs
            if self._state(job, rows) is Outcome.ENQUEUED
        ]
        reached = [{self._state(job, rows) for job in entry.jobs} - {Outcome.ENQUEUED} for entry in found.entries]
        messages = self._messages([job for _, job in wanted], rows)
        sent = self.broker.send_many(messages)
        for (place, _), message, back in zip(wanted, messages, sent, strict=True):
            is_new = back.options["redis_message_id"] == message.options["enqueue_id"]
            reached[place].add(Outcome.ENQUEUED if is_new else Outcome.REPEATED)
        kept = [
            _record(entry, gone)
            for entry in found.entries
            if (gone := [job.row_id for job in entry.jobs if rows.route(job) is None]) or entry.fault
        ]
        faulty = [
            states | ({Outcome.ASIDE} if entry.fault else set())
            for states, entry in zip(reached, found.entries, strict=True)
        ]
        return [_first(states) for states in faulty], kept

    def _messages(self, jobs: Sequence[LegacyJob], rows: _Rows) -> "list[Message[Any]]":
        services.install(replace(self.work, store=cast("Store", _Seen(self.work.store, rows))))
        try:
            return [_message(job) for job in jobs]
        finally:
            services.install(self.work)

    def adopt_sent(self, *, dry_run: bool) -> int:
        """Mark rows sent that wait although they have a provider's id, and that were never tried from here; how many.

        The old product wrote the id first: one that died then would be sent a second time by the sweep.
        """
        store, after_id, adopted = self.work.store, None, 0
        while page := store.pending_messages(before_ms=self.work.clock.now_ms(), limit=PAGE, after_id=after_id):
            for id_, known in store.known_messages(page).items():
                if known.provider_message_id is not None and not store.attempts(id_):
                    adopted += dry_run or store.mark_sent(id_, provider_message_id=known.provider_message_id)
            after_id = page[-1]
        return adopted


def unaccounted(queue: OldQueue) -> int:
    """Entries that were taken and are neither settled nor left; anything but 0 is a loss (or, below 0, a doubling)."""
    prefix = f"{queue.label}."
    ledger = {name.decode(): int(amount) for name, amount in queue.client.hgetall(LEDGER).items()}
    counts = {name.removeprefix(prefix): amount for name, amount in ledger.items() if name.startswith(prefix)}
    settled = sum(counts.get(what, 0) for what in (*Outcome, OWN, FINISHED))
    return counts.get("taken", 0) - settled - queue.left()


def _message(job: LegacyJob) -> "Message[Any]":
    kwargs = {"use_fallback": True} if job.use_fallback else {}
    message: Message[Any] = _ACTORS[job.operation].message_with_options(
        args=(job.row_id,), kwargs=kwargs, enqueue_id=new_id()
    )
    return message


def _first(states: Iterable[Outcome]) -> Outcome:
    reached = set(states)
    return next((outcome for outcome in Outcome if outcome in reached), Outcome.ASIDE)


def _record(entry: LegacyEntry, missing: Iterable[str] = ()) -> dict[str, Any]:
    operation = entry.jobs[0].operation if entry.jobs else None
    ids = shown(missing) or entry.ids
    return {"operation": operation, "ids": list(ids), "why": entry.fault or ("no_row" if missing else "dead_letter")}
