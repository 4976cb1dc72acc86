"""Apply what providers tell by webhook: bind sends whose answer was lost, move rows forward, fail what will not arrive.

A host's view calls :func:`apply` with the values of ``actors.updates``. Updates repeat, overtake each other and speak of
messages that are not ours: none of it raises. A database that is down does (``Transient``): answer the provider with 503, so
that it tells again.

What is bound is recorded on its row at once when it was the last part. With more to come its job, which waits for the gateway
anyway, finds the part out and goes on; if Redis lost it, the sweep brings one.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from actors import events, instances, services
from actors.domain import SENT_STATUSES, AttemptState, ChatMessage, MessageStatus, SendAttempt
from actors.errors import Permanent, SettingsError
from actors.gateways.base import KnowsRecords
from actors.parts import is_all_out, outgoing_parts
from actors.services import Services
from actors.updates import DeliveryStatus, InstanceUpdate, SentUpdate, StatusUpdate, Update

logger = logging.getLogger(__name__)

#: Clocks of a provider and of this machine may differ by this much.
SKEW_MS = 60_000
#: Sends without an answer that one update is compared with.
MAX_CANDIDATES = 50

_ROW_STATUS = {
    DeliveryStatus.DELIVERED: MessageStatus.DELIVERED,
    DeliveryStatus.READ: MessageStatus.SEEN,
    DeliveryStatus.PLAYED: MessageStatus.SEEN,
}


class Applied(StrEnum):
    """What an update came to."""

    #: It told of a send whose answer was lost: that part is out.
    BOUND = "bound"
    #: A row moved forward.
    MOVED = "moved"
    #: A row failed: the provider will not deliver what it took.
    FAILED = "failed"
    #: Nothing that is not known: a repeat, an older status, a row that is further.
    KNOWN = "known"
    #: The message went out a second time, under another id.
    DUPLICATE = "duplicate"
    #: Of no message that this store has sent.
    UNKNOWN = "unknown"
    #: Of an instance's session; its circuit heard of it, and listeners do.
    SESSION = "session"


def apply_all(updates: Iterable[Update]) -> Counter[Applied]:
    """:meth:`apply` each, in order; how many came to what."""
    return Counter(apply(update) for update in updates)


def apply(update: Update) -> Applied:
    """Apply one update; idempotent, from any process and in any order.

    Raises:
        Transient: the store is down; the update is not applied, or to be applied again.
        QueueUnavailable, QueueFull, QueueRefused: the same of Redis, for the state of a session.
    """
    work = services.get()
    if isinstance(update, InstanceUpdate):
        instances.heard(update)
        events.announce(lambda: _session(update))
        return Applied.SESSION
    applied = _sent(work, update) if isinstance(update, SentUpdate) else _status(work, update)
    if applied is Applied.UNKNOWN:
        logger.info("update.unmatched", extra={"code": type(update).__name__})
    return applied


def _session(update: InstanceUpdate) -> events.Event:
    return events.InstanceChanged(
        instance_name=update.instance_name, state=update.state, needs_a_person=update.needs_a_person
    )


# -- a status of a message -----------------------------------------------------------------------------------------


def _status(work: Services, update: StatusUpdate) -> Applied:
    attempt = _attempt_of(work, update)
    if attempt is None:
        return Applied.UNKNOWN
    id_ = update.provider_message_id
    is_its_own = attempt.provider_message_id == id_
    if update.status is DeliveryStatus.FAILED:
        return _fail(work, attempt, update, is_its_own=is_its_own)
    if is_its_own and attempt.state is not AttemptState.ACCEPTED and update.status is DeliveryStatus.SENT:
        # It was refused later; that it had been taken before is no news.
        return Applied.KNOWN
    applied = Applied.KNOWN
    if not is_its_own or attempt.state is not AttemptState.ACCEPTED:
        applied = _bind(work, attempt, id_)
    if applied in (Applied.BOUND, Applied.KNOWN) and _advance(work, attempt, update.status):
        applied = Applied.BOUND if applied is Applied.BOUND else Applied.MOVED
    return applied


def _attempt_of(work: Services, update: StatusUpdate) -> SendAttempt | None:
    """The part that an update is about: by our reference, else by the provider's id within its instance."""
    if update.reference is not None:
        message_id, _, part = update.reference.rpartition(":")
        rows = work.store.attempts(message_id) if message_id and part.isdecimal() else []
        found = next((row for row in rows if str(row.part) == part), None)
        return found if found is not None and _is_from(work, found, update) else None
    if update.instance_name is None:
        return None
    return work.store.attempt_of(update.instance_name, update.provider_message_id)


def _is_from(work: Services, attempt: SendAttempt, update: StatusUpdate) -> bool:
    """Whether the number that the update names is the one that the part left through; a known id need not be asked."""
    if attempt.provider_message_id == update.provider_message_id:
        return True
    if update.instance_name is not None:
        return attempt.instance_name == update.instance_name
    route = work.store.route(attempt.message_id)
    if route is None or not update.phone_number_id:
        return False
    instance = work.store.load_instance(attempt.instance_name, tenant_id=route.tenant_id)
    return instance is not None and instance.phone_number_id == update.phone_number_id


def _bind(work: Services, attempt: SendAttempt, provider_message_id: str) -> Applied:
    bound = work.store.bind(attempt.message_id, attempt.part, provider_message_id=provider_message_id)
    if bound is not None:
        ids = {"chat_message_id": attempt.message_id, "instance": attempt.instance_name}
        logger.info("attempt.bound", extra={**ids, "attempt": bound.number})
        _finish(work, attempt.message_id)
        return Applied.BOUND
    now = next((row for row in work.store.attempts(attempt.message_id) if row.part == attempt.part), attempt)
    if now.provider_message_id == provider_message_id:
        return Applied.KNOWN
    if now.state is AttemptState.ACCEPTED and now.provider_message_id is not None:
        logger.error(
            "attempt.sent_twice",
            extra={"chat_message_id": attempt.message_id, "instance": attempt.instance_name, "attempt": now.number},
        )
        return Applied.DUPLICATE
    return Applied.KNOWN


def _finish(work: Services, message_id: str) -> bool:
    """Record the row as sent when its last part is known to be out."""
    chat_message = _load(work, message_id)
    attempts = {row.part: row for row in work.store.attempts(message_id)}
    if chat_message is None or not is_all_out(chat_message, attempts.values()):
        return False
    first = attempts[min(attempts)]
    return work.store.mark_sent(message_id, provider_message_id=first.provider_message_id)


def _advance(work: Services, attempt: SendAttempt, status: DeliveryStatus) -> bool:
    """Move the row as far as its first part came; it carries the caption and is what a reply quotes."""
    wanted = _ROW_STATUS.get(status)
    if wanted is None or attempt.part != 0:
        return False
    if work.store.advance(attempt.message_id, wanted):
        events.announce(lambda: _advanced(work, attempt, wanted))
        return True
    chat_message = _load(work, attempt.message_id)
    if chat_message is None or chat_message.status in SENT_STATUSES:
        return False
    # Out, and its row does not say so yet: the run that sent it has yet to record it, or never will.
    _finish(work, attempt.message_id)
    moved = work.store.advance(attempt.message_id, wanted)
    if moved:
        events.announce(lambda: _advanced(work, attempt, wanted))
    return moved


def _advanced(work: Services, attempt: SendAttempt, status: MessageStatus) -> events.Event | None:
    route = work.store.route(attempt.message_id)
    if route is None:
        return None
    return events.MessageAdvanced(
        message_id=attempt.message_id,
        conversation_id=route.conversation_id,
        tenant_id=route.tenant_id,
        instance_name=attempt.instance_name,
        status=status,
    )


def _fail(work: Services, attempt: SendAttempt, update: StatusUpdate, *, is_its_own: bool) -> Applied:
    open_states = (AttemptState.SENDING, AttemptState.UNKNOWN)
    if not (is_its_own and attempt.state is AttemptState.ACCEPTED) and not (
        attempt.provider_message_id is None and attempt.state in (*open_states, AttemptState.ACCEPTED)
    ):
        return Applied.KNOWN
    code = update.error_code or "undeliverable"
    failed = work.store.record_failed(
        attempt,
        provider_message_id=update.provider_message_id,
        code=code,
        text="the provider took it and could not deliver it; redrive or write again",
    )
    if failed:
        level = logging.ERROR if update.alert else logging.WARNING
        extra = {"chat_message_id": attempt.message_id, "instance": attempt.instance_name, "code": code}
        logger.log(level, "message.undelivered", extra=extra)
    return Applied.FAILED if failed else Applied.KNOWN


# -- a message that went out ---------------------------------------------------------------------------------------


def _sent(work: Services, update: SentUpdate) -> Applied:
    """Match by chat and content, as a look would: the earliest send without an answer gets it."""
    if work.store.attempt_of(update.instance_name, update.provider_message_id) is not None:
        return Applied.KNOWN
    at_ms = update.at_ms or work.clock.now_ms()
    found = work.store.unaccounted(
        update.instance_name,
        since_ms=at_ms - work.settings.time_limit_ms - SKEW_MS,
        until_ms=at_ms + SKEW_MS,
        limit=MAX_CANDIDATES,
    )
    for attempt in found:
        if _is_record_of(work, attempt, update):
            return _bind(work, attempt, update.provider_message_id)
    return Applied.UNKNOWN


def _is_record_of(work: Services, attempt: SendAttempt, update: SentUpdate) -> bool:
    try:
        chat_message = work.store.load_message(attempt.message_id)
        instance = work.store.load_instance(attempt.instance_name, tenant_id=chat_message.tenant_id)
        gateway = None if instance is None else work.gateway(instance)
        recipient = chat_message.recipient(default_region=work.settings.default_region)
    except (Permanent, SettingsError):
        # Deleted, another number by now, a gateway that is gone: what the event tells of may be the next one.
        return False
    if not isinstance(gateway, KnowsRecords):
        return False
    part = next((one for one in outgoing_parts(chat_message, recipient) if one.part == attempt.part), None)
    return part is not None and gateway.is_record_of(part, update)


def _load(work: Services, message_id: str) -> ChatMessage | None:
    try:
        return work.store.load_message(message_id)
    except Permanent:
        # Deleted or unreadable by now; what is known of its parts stays.
        return None
