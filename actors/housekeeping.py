"""Periodic actors: sample Redis' memory, and end every send that the queue does not know of.

``actors.schedule`` says when; they may be sent by hand too. Repeating one is harmless.
"""

import logging

import dramatiq
from dramatiq import Broker

from actors import services, wiring
from actors.domain import AttemptState, SendAttempt
from actors.errors import DeliveryUnknown, Expired, Permanent
from actors.services import Services
from middleware import memory
from middleware.actor import routed
from middleware.brokers.redis.broker import CarrierBroker

logger = logging.getLogger(__name__)

QUEUE = "housekeeping"
#: Longest wait of a failed run, in milliseconds: the next slot comes within minutes anyway.
MAX_BACKOFF_MS = 60_000
#: Rows asked for at a time.
PAGE = 500
#: A run ends by then and leaves the rest to a successor, in milliseconds: half of the shortest sensible time limit.
SWEEP_FOR_MS = 60_000
#: Name of the actor that delivers; it stands beside this module and is not imported.
SEND_ACTOR = "send_message"


@dramatiq.actor(
    broker=wiring.broker, queue_name=QUEUE, actor_class=routed(), max_attempts=3, max_backoff=MAX_BACKOFF_MS
)
def record_memory_usage() -> None:
    """Record one sample of Redis' memory and the queues' depths; a second one in a minute changes nothing."""
    broker = wiring.broker
    if not isinstance(broker, CarrierBroker):
        logger.info("memory.no_redis", extra={"broker": type(broker).__name__})
        return
    names, keys = sorted(broker.get_declared_queues()), broker.machinery.keys
    sample = memory.take_sample(
        broker.client,
        queues={stats.queue_name: stats.as_json() for stats in broker.transitions.stats(names)},
        keys=[key for name in names for key in keys.queue(name)],
    )
    # Also in the log: samples kept by Redis die with it, and a full Redis takes none.
    logger.info(
        "memory.sampled",
        extra={"used_memory_bytes": sample.used_memory_bytes, "maxmemory_bytes": sample.maxmemory_bytes},
    )
    memory.record(broker.client, keys.memory, sample)


@dramatiq.actor(broker=wiring.broker, queue_name=QUEUE, actor_class=routed(), max_backoff=MAX_BACKOFF_MS)
def sweep_pending(after_id: str | None = None) -> None:
    """End what is pending for too long: past the deadline it fails, before that it is sent again.

    Sending again is harmless while the message is still queued: its unique key finds it. Where Redis lost it, this brings it
    back. ``after_id``: go on behind this row, for a run that had more to do than time.
    """
    work = services.get()
    end_ms = work.clock.boot_ms() + SWEEP_FOR_MS
    if after_id is None:
        expire(work, wiring.broker, end_ms=end_ms)
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
        job = broker.get_actor(SEND_ACTOR).send(message_id)
    except Permanent:
        return False
    is_young = now_ms - job.message_timestamp < work.settings.sweep_after_s * 1000
    return is_young or now_ms - int(job.options.get("redriven_at_ms", 0)) < _patience_ms(work)


def _expire(work: Services, message_id: str) -> bool:
    attempts = work.store.attempts(message_id)
    states = {attempt.state for attempt in attempts}
    if any(_is_under_way(work, attempt) for attempt in attempts):
        return False
    if states & {AttemptState.SENDING, AttemptState.UNKNOWN}:
        # "Failed" alone would invite a second delivery.
        code, text = DeliveryUnknown.code, "given up past its deadline while a request may have been delivered"
    elif AttemptState.ACCEPTED in states:
        # Something is out and only the row does not say so: the actor records or finishes it.
        return False
    else:
        code, text = Expired.code, f"not sent within {work.settings.send_deadline_s} s"
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
    send = broker.get_actor(SEND_ACTOR).send
    before_ms, sent = work.clock.now_ms() - work.settings.sweep_after_s * 1000, 0
    while page := work.store.pending_messages(before_ms=before_ms, limit=PAGE, after_id=after_id):
        for message_id in page:
            try:
                send(message_id)
                sent += 1
            except Permanent as error:
                # One row that cannot be sent must not hide those behind it.
                logger.warning("sweep.refused", extra={"chat_message_id": message_id, "code": error.code})
        after_id = page[-1]
        if work.clock.boot_ms() >= end_ms:
            return after_id
    if sent:
        logger.info("sweep.sent", extra={"messages": sent})
    return None
