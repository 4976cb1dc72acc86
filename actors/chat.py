"""The three chat operations: send a message, fetch a profile picture, fetch a group's info.

Each actor has one shape: load → claim → deliver → record. They take ids only and return nothing; Django calls ``.send()``,
a worker runs them. What belongs together (conversation, instance) is looked up in one query when a message is sent.
"""

import logging
from typing import Any

from actors import services, wiring
from actors.delivery import Delivery
from actors.domain import (
    SENT_STATUSES,
    AttemptState,
    ChatMessage,
    Conversation,
    ConversationType,
    Instance,
    MessageStatus,
    SendAttempt,
    SendOptions,
)
from actors.endings import SEND_ACTOR, record_death, record_sent
from actors.errors import AuthConfig, BadPayload, Unsupported
from actors.gates import BULK_SUFFIX
from actors.gateways.base import Ability
from actors.pace import Kind
from actors.parts import is_all_out, outgoing_parts
from actors.sends import Id, route_send, route_sends, send_again
from actors.services import Services
from actors.steps import stop_after_mismatch
from actors.turns import MessageTurn, after_death, give_back_place
from middleware import metrics
from middleware.actor import Routed, actor, current_options, lease_left_ms
from middleware.errors import Snooze
from middleware.letters import DeadLetter

logger = logging.getLogger(__name__)

__all__ = ["fetch_group_info", "fetch_profile_pic", "send_message"]

#: Pause of a message that let an older one of its conversation go first, in milliseconds.
OLDER_FIRST_MS = 100
#: A picture or a group is fetched at most this often, in milliseconds, unless somebody insists.
FETCH_COOLDOWN_MS = 300_000


# -- where a message belongs; runs in the process that sends -------------------------------------------------------


def _route_fetch(conversation_id: Id, *, force: bool, operation: str) -> Routed:
    id_ = str(conversation_id)
    route = services.get().store.conversation_route(id_)
    return Routed(
        kwargs={"conversation_id": id_} | ({"force": True} if force else {}),
        group=route.instance_name if route else None,
        # Every inbound message asks for a fetch; one per conversation is enough for a while, unless somebody insists.
        unique_key=None if force else f"{operation}:{id_}",
        unique_for_ms=None if force else FETCH_COOLDOWN_MS,
        options={"tenant": route.tenant_id} if route else {},
    )


def _route_picture(conversation_id: Id, phone: str | None = None, *, force: bool = False) -> Routed:
    # Old callers pass the number; it is resolved in the worker, so that none lies in Redis.
    return _route_fetch(conversation_id, force=force, operation="picture")


def _route_group(
    conversation_id: Id, group_jid: str | None = None, instance_name: str | None = None, *, force: bool = False
) -> Routed:
    # As with the picture: what old callers pass is dropped and resolved in the worker.
    return _route_fetch(conversation_id, force=force, operation="group")


# -- the actors ----------------------------------------------------------------------------------------------------


@actor(route_send, route_many=route_sends, broker=wiring.broker, queue_name="send_message")
def send_message(message_id: str, *, use_fallback: bool = False, bulk: bool = False) -> None:
    """Deliver one chat message, once.

    Sends the first part that is not out yet; with more to come the message is put back in place at once, so that a crash
    repeats one part at most and other conversations get their turn. A message that was sent already is acknowledged.

    Raises:
        see :meth:`actors.delivery.Delivery.deliver`; and Permanent when it can never be sent as it is.
    """
    work = services.get()
    chat_message = work.store.load_message(message_id)
    if _nothing_to_send(work, chat_message):
        give_back_place(message_id)
        return
    attempts = {attempt.part: attempt for attempt in work.store.attempts(message_id)}
    if not attempts:
        _let_older_go_first(work, message_id)
    stop_after_mismatch(attempts.values(), redriven_at_ms=current_options().get("redriven_at_ms", 0))
    if is_all_out(chat_message, attempts.values()):
        # The worker died before it could say so. An instance or a number that went bad since does not unsend it.
        _record_at_last(work, chat_message, attempts)
        return
    parts = outgoing_parts(chat_message, _checked(work, chat_message))
    instance = _instance(work, chat_message, list(attempts.values()), use_fallback=use_fallback)
    delivery = Delivery(
        work,
        chat_message,
        instance,
        lease_left_ms=lease_left_ms,
        redriven_at_ms=current_options().get("redriven_at_ms", 0),
        turn=MessageTurn(work, instance, chat_message, Kind.BULK if bulk else Kind.SEND),
    )
    unsent = [part for part in parts if not _is_accepted(attempts.get(part.part))]
    if len(unsent) > 1:
        delivery.deliver(unsent[0], attempts.get(unsent[0].part))
        # Each part has attempts of its own: of many attachments some meet a bad moment.
        raise Snooze(f"message {message_id}: part {unsent[0].part} is out, the next follows", delay_ms=0, renews=True)
    delivery.deliver_last(unsent[0], attempts)
    metrics.accepted()
    logger.debug("message.sent", extra={"chat_message_id": chat_message.id, "instance": instance.name})


@actor(_route_picture, broker=wiring.broker, queue_name="fetch_profile_pic")
def fetch_profile_pic(conversation_id: str, *, force: bool = False) -> None:
    """Store the URL of a person's picture. "No picture" never clears a stored one: it may mean "could not ask"."""
    work = services.get()
    conversation = work.store.load_conversation(conversation_id)
    if conversation.conversation_type is not ConversationType.INDIVIDUAL:
        logger.info("picture.not_a_person", extra={"conversation": conversation_id})
        return
    instance = _instance_of(work, conversation)
    gateway = work.gateway(instance)
    if Ability.FETCH_PROFILE_PIC not in gateway.supports:
        logger.info("picture.unsupported", extra={"conversation": conversation_id, "gateway": gateway.name})
        return
    recipient = conversation.recipient(default_region=work.settings.default_region)
    with MessageTurn(work, instance, conversation, Kind.PICTURE)():
        url = gateway.fetch_profile_picture(recipient, instance=instance)
    if url is None or not work.store.save_picture(conversation_id, url):
        logger.info("picture.none", extra={"conversation": conversation_id})


@actor(_route_group, broker=wiring.broker, queue_name="fetch_group_info")
def fetch_group_info(conversation_id: str, *, force: bool = False) -> None:
    """Merge what the gateway knows of a group into its conversation; participants and foreign keys stay."""
    work = services.get()
    conversation = work.store.load_conversation(conversation_id)
    if conversation.conversation_type is not ConversationType.GROUP:
        logger.info("group.not_a_group", extra={"conversation": conversation_id})
        return
    instance = _instance_of(work, conversation)
    gateway = work.gateway(instance)
    try:
        with MessageTurn(work, instance, conversation, Kind.GROUP_INFO)():
            info = gateway.fetch_group_info(conversation.recipient(), instance=instance)
    except Unsupported:
        logger.info("group.unsupported", extra={"conversation": conversation_id, "gateway": gateway.name})
        return
    work.store.merge_group(conversation_id, info)


# -- steps ---------------------------------------------------------------------------------------------------------


def _record_at_last(work: Services, chat_message: ChatMessage, attempts: dict[int, SendAttempt]) -> None:
    record_sent(work, chat_message, attempts)
    metrics.accepted()
    give_back_place(chat_message.id)


def _nothing_to_send(work: Services, chat_message: ChatMessage) -> bool:
    if chat_message.status in SENT_STATUSES or chat_message.status is MessageStatus.FAILED:
        # Sent before, or a person was told that it failed: only a redrive, which makes it pending, may send it now.
        logger.info("message.already_ended", extra={"chat_message_id": chat_message.id})
        return True
    if chat_message.is_internal:
        work.store.mark_sent(chat_message.id, provider_message_id=None)
        return True
    return False


def _let_older_go_first(work: Services, message_id: str) -> None:
    """Keep the order of the rows where the queue's does not hold: Redis was emptied, or an older send never reached it.

    Raises:
        Snooze: an older message of the conversation is pending; it is sent (again, harmlessly) and this one goes behind it.
    """
    older_id = work.store.older_pending(message_id)
    if older_id is not None:
        send_again(send_message, older_id)
        # The older one needs the place that a run of this one, killed before its claim, may have had.
        give_back_place(message_id)
        raise Snooze(
            f"message {message_id}: {older_id} is older and still pending", delay_ms=OLDER_FIRST_MS, yields=True
        )


def _checked(work: Services, chat_message: ChatMessage) -> Any:
    """Recipient of a message that has something to say; every fault is found before any request."""
    if chat_message.announced_media > len(chat_message.media):
        raise BadPayload(
            f"message {chat_message.id} names {chat_message.announced_media} attachments and has {len(chat_message.media)}",
            code="attachment_missing",
        )
    if chat_message.extra is None and not chat_message.media and not chat_message.text.strip():
        raise BadPayload(f"message {chat_message.id} has neither text nor attachment", code="empty_message")
    return chat_message.recipient(default_region=work.settings.default_region)


def _instance(
    work: Services, chat_message: ChatMessage, attempts: list[SendAttempt], *, use_fallback: bool
) -> Instance:
    # Once something may be out through one instance, its fate is asked there and the rest follows the same way.
    bound = [row.instance_name for row in attempts if row.state is not AttemptState.RETRYABLE]
    name = bound[0] if bound else _fixed_name(chat_message)
    own = {"tenant_id": chat_message.tenant_id}
    instance = work.store.load_instance(name, **own, use_fallback=use_fallback and not bound)
    if instance is None and not bound and not use_fallback and _may_fall_back(work, chat_message.id):
        # Its first sending allowed it, and whoever sent it again did not say so.
        instance = work.store.load_instance(name, **own, use_fallback=True)
    if instance is None:
        raise AuthConfig(
            f"message {chat_message.id}: no active instance row of its tenant is named {name!r}; add or activate it, then redrive",
            code="no_instance",
        )
    return instance


def _fixed_name(chat_message: ChatMessage) -> str | None:
    """Instance that was named when the message was sent: who has it moved meanwhile speaks of the next ones.

    Where none was named, or a person redrives what was given up, its row says it.
    """
    options = current_options()
    group = options.get("group")
    if not isinstance(group, str) or options.get("redriven_at_ms"):
        return chat_message.instance_name
    return group.removesuffix(BULK_SUFFIX)


def _may_fall_back(work: Services, message_id: str) -> bool:
    return work.store.options_of([message_id]).get(message_id, SendOptions()).use_fallback


def _instance_of(work: Services, conversation: Conversation) -> Instance:
    instance = work.store.load_instance(conversation.instance_name, tenant_id=conversation.tenant_id)
    if instance is None:
        raise AuthConfig(
            f"conversation {conversation.id}: no active instance row of its tenant is named "
            f"{conversation.instance_name!r}; add or activate it, then redrive",
            code="no_instance",
        )
    return instance


def _is_accepted(attempt: SendAttempt | None) -> bool:
    return attempt is not None and attempt.state is AttemptState.ACCEPTED


def prepare_redrive(letter: DeadLetter) -> None:
    """Make the row of a given-up send pending again; call it before the letter is redriven, whose actor skips failed rows.

    Should the redrive then not come, the sweep fails the row again, by its letter.
    """
    message_id = letter.kwargs.get("message_id")
    if letter.actor == SEND_ACTOR and isinstance(message_id, str):
        services.get().store.mark_pending(message_id)


wiring.on_dead_letter(record_death)
wiring.on_dead_letter(after_death)
