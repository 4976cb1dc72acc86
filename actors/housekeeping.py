"""Periodic actors: sample Redis' memory, and end every send that the queue does not know of.

``actors.schedule`` says when; they may be sent by hand too. Repeating one is harmless.
"""

import logging
from collections.abc import Sequence
from itertools import islice

import dramatiq
from dramatiq import Broker

from actors import sampling, services, wiring
from actors.domain import AttemptState, SendAttempt, SendOptions
from actors.endings import SEND_ACTOR, record_death, sent_after_all
from actors.errors import DeliveryUnknown, Expired, Permanent
from actors.resolving import resolve_letters
from actors.sends import send_again as send_as_before
from actors.services import Services
from middleware.actor import routed
from middleware.brokers.redis.broker import CarrierBroker
from middleware.letter_search import LetterQuery
from middleware.letters import DeadLetter, DeadLetters

logger = logging.getLogger(__name__)

QUEUE = "housekeeping"
#: Longest wait of a failed run, in milliseconds: the next slot comes within minutes anyway.
MAX_BACKOFF_MS = 60_000
#: Rows asked for at a time.
PAGE = 500
#: A run ends by then and leaves the rest to a successor, in milliseconds: half of the shortest sensible time limit.
SWEEP_FOR_MS = 60_000
#: A dead letter is told of within seconds; one this old whose row is pending still was not heard, in milliseconds.
UNHEARD_MS = 60_000
#: Dead letters of one conversation that are looked at for the one of a row.
MAX_LETTERS = 200


@dramatiq.actor(
    broker=wiring.broker, queue_name=QUEUE, actor_class=routed(), max_attempts=3, max_backoff=MAX_BACKOFF_MS
)
def record_memory_usage() -> None:
    """Record one sample of Redis' memory and the queues' depths; a second one in its slot changes nothing.

    A Redis that takes no sample is logged, and is no failure of this actor: absent samples are an alert of their own.
    """
    watch = sampling.watch()
    if watch is None:
        logger.info("memory.no_redis", extra={"broker": type(wiring.broker).__name__})
        return
    watch.sample(taken_by="actor")


@dramatiq.actor(broker=wiring.broker, queue_name=QUEUE, actor_class=routed(), max_backoff=MAX_BACKOFF_MS)
def sweep_pending(after_id: str | None = None) -> None:
    """End what is pending for too long: past the deadline it fails, before that it is sent again.

    Sending again is harmless while the message is still queued: its unique key finds it. Where Redis lost it, this brings it
    back: also where only the list of the ready ones was evicted. A row that is pending although its send was given up fails
    with that reason, in place of a second life. ``after_id``: go on behind this row, for a run that had more to do than time.
    """
    work = services.get()
    end_ms = work.clock.boot_ms() + SWEEP_FOR_MS
    if after_id is None:
        expire(work, wiring.broker, end_ms=end_ms)
        resolve_letters(work, wiring.broker)
    last_id = send_again(work, wiring.broker, after_id=after_id, end_ms=end_ms)
    if last_id is not None:
        sweep_pending.send_with_options(args=(last_id,), unique_key=f"sweep:{last_id}")


def expire(work: Services, broker: Broker, *, end_ms: int) -> int:
    """Fail rows that nobody ended by the send deadline and one sweep's time after; returns how many.

    The time after is for the actor, which alone can ask the gateway what became of a request and leaves a dead letter with
    the whole story; this is for messages that it never gets, because their instance is parked or always put back. Stops at
    ``end_ms`` of the boot clock; the next sweep goes on.
    """
    now_ms, failed, after_id = work.clock.now_ms(), 0, None
    before_ms = now_ms - _patience_ms(work)
    while page := work.store.pending_messages(before_ms=before_ms, limit=PAGE, after_id=after_id):
        for message_id in page:
            if not _may_still_end(work, broker, message_id, now_ms=now_ms):
                failed += _expire(work, message_id)
        after_id = page[-1]
        if work.clock.boot_ms() >= end_ms:
            break
    return failed


def _patience_ms(work: Services) -> int:
    return (work.settings.send_deadline_s + work.settings.sweep_after_s) * 1000


def _may_still_end(work: Services, broker: Broker, message_id: str, *, now_ms: int) -> bool:
    """Whether its job is younger than the row: new, because Redis had lost it, or redriven by a person."""
    try:
        job = send_as_before(broker.get_actor(SEND_ACTOR), message_id)
    except Permanent:
        return False
    is_young = now_ms - job.message_timestamp < work.settings.sweep_after_s * 1000
    return is_young or now_ms - int(job.options.get("redriven_at_ms", 0)) < _patience_ms(work)


def _expire(work: Services, message_id: str) -> bool:
    attempts = work.store.attempts(message_id)
    states = {attempt.state for attempt in attempts}
    if any(_is_under_way(work, attempt) for attempt in attempts):
        return False
    if sent_after_all(work, message_id, attempts):
        return False
    if states & {AttemptState.SENDING, AttemptState.UNKNOWN}:
        # "Failed" alone would invite a second delivery.
        code, text = DeliveryUnknown.code, "given up past its deadline while a request may have been delivered"
    else:
        code, text = Expired.code, f"not sent within {work.settings.send_deadline_s} s"
        if out := sum(attempt.state is AttemptState.ACCEPTED for attempt in attempts):
            text += f"; {out} of its parts went out before"
    failed = work.store.mark_failed(message_id, code=code, text=text)
    if failed:
        logger.warning("message.expired", extra={"chat_message_id": message_id, "code": code})
    return failed


def _is_under_way(work: Services, attempt: SendAttempt) -> bool:
    age_ms = work.clock.now_ms() - attempt.started_at_ms
    return attempt.state is AttemptState.SENDING and age_ms < work.settings.time_limit_ms


def send_again(work: Services, broker: Broker, *, end_ms: int, after_id: str | None = None) -> str | None:
    """Send every row that is pending for longer than ``sweep_after_s``; returns where to go on when time is over.

    All of them, page by page: with a limit from the oldest on, rows that wait for a gateway that is down would hide those
    that Redis lost.
    """
    actor = broker.get_actor(SEND_ACTOR)
    before_ms, sent = work.clock.now_ms() - work.settings.sweep_after_s * 1000, 0
    while page := work.store.pending_messages(before_ms=before_ms, limit=PAGE, after_id=after_id):
        unheard, allowed = repair(work, broker, page), work.store.options_of(page)
        for message_id in page:
            if message_id in unheard:
                continue
            try:
                send_as_before(actor, message_id, allowed.get(message_id, SendOptions()))
                sent += 1
            except Permanent as error:
                # One row that cannot be sent must not hide those behind it.
                logger.warning("sweep.refused", extra={"chat_message_id": message_id, "code": error.code})
        recover(broker, page)
        after_id = page[-1]
        if work.clock.boot_ms() >= end_ms:
            return after_id
    if sent:
        logger.info("sweep.sent", extra={"messages": sent})
    return None


def repair(work: Services, broker: Broker, message_ids: Sequence[str]) -> set[str]:
    """End rows whose send was given up and that nobody failed, because the telling was lost; returns which.

    Only those that no live message stands for: a person may have sent one again, and its old letter is still there.
    """
    if not isinstance(broker, CarrierBroker):
        return set()
    transitions, queue = broker.transitions, broker.get_actor(SEND_ACTOR).queue_name
    if not transitions.stats([queue])[0].dead:
        return set()
    live = transitions.holders_of_keys(queue, message_ids)
    letters = (_letter_of(work, broker, queue, id_) for id_ in message_ids if id_ not in live)
    ended = set()
    for letter in letters:
        if letter is not None:
            record_death(letter)
            ended.add(letter.kwargs["message_id"])
            logger.warning(
                "sweep.repaired", extra={"chat_message_id": letter.kwargs["message_id"], "code": letter.reason}
            )
    return ended


def _letter_of(work: Services, broker: CarrierBroker, queue: str, message_id: str) -> DeadLetter | None:
    route = work.store.route(message_id)
    if route is None:
        return None
    of_lane = LetterQuery(lane=route.conversation_id, died_until_ms=work.clock.now_ms() - UNHEARD_MS)
    letters = islice(DeadLetters(broker).all(queue, of_lane), MAX_LETTERS)
    return next((letter for letter in letters if letter.kwargs.get("message_id") == message_id), None)


def recover(broker: Broker, message_ids: Sequence[str]) -> None:
    """Put jobs of these rows back among the ready ones that an eviction has left nowhere: their unique keys hide that."""
    if isinstance(broker, CarrierBroker):
        queue = broker.get_actor(SEND_ACTOR).queue_name
        jobs = list(broker.transitions.holders_of_keys(queue, message_ids).values())
        recovered = broker.transitions.recover(queue, jobs)
        if recovered:
            logger.warning("sweep.recovered", extra={"queue": queue, "messages": len(recovered)})
