"""The three chat operations: send a message, fetch a profile picture, fetch a group's info.

Each actor has one shape: load → claim → deliver → record. They take ids only and return nothing; Django calls ``.send()``,
a worker runs them. What belongs together (conversation, instance) is looked up in one query when a message is sent.
"""

import logging
from typing import Any

import dramatiq

from actors import services, wiring
from actors.delivery import Delivery, is_all_out, outgoing_parts
from actors.domain import (
    SENT_STATUSES,
    AttemptState,
    ChatMessage,
    Conversation,
    ConversationType,
    GroupJid,
    Instance,
    MessageStatus,
    SendAttempt,
)
from actors.errors import AuthConfig, BadPayload, DeliveryUnknown, Permanent
from actors.gateways.base import Ability
from actors.services import Services
from middleware.actor import Routed, current_options, lease_left_ms, routed
from middleware.errors import Snooze
from middleware.letters import DeadLetter

logger = logging.getLogger(__name__)

__all__ = ["fetch_group_info", "fetch_profile_pic", "send_message"]


#: Pause of a message that let an older one of its conversation go first, in milliseconds.
OLDER_FIRST_MS = 100


# -- where a message belongs; runs in the process that sends -------------------------------------------------------


def _route_send(
    message_id: object, *, conversation_id: object = None, use_fallback: bool = False, bulk: bool = False
) -> Routed:
    id_ = str(message_id)
    route = services.get().store.route(id_)
    kwargs: dict[str, Any] = {"message_id": id_}
    kwargs |= {"use_fallback": True} if use_fallback else {}
    kwargs |= {"bulk": True} if bulk else {}
    lane = route.conversation_id if route else conversation_id
    return Routed(
        kwargs=kwargs,
        lane=str(lane) if lane else None,
        group=route.instance_name if route else None,
        # Until it is finished a second send returns the first: the sweep may send again at any time.
        unique_key=id_,
        options={"tenant": route.tenant_id} if route else {},
    )


def _route_fetch(conversation_id: object, *, force: bool, operation: str) -> Routed:
    id_ = str(conversation_id)
    route = services.get().store.conversation_route(id_)
    return Routed(
        kwargs={"conversation_id": id_} | ({"force": True} if force else {}),
        group=route.instance_name if route else None,
        # Every inbound message asks for a fetch; one per conversation is enough at a time, unless somebody insists.
        unique_key=None if force else f"{operation}:{id_}",
        options={"tenant": route.tenant_id} if route else {},
    )


def _route_picture(conversation_id: object, phone: object = None, *, force: bool = False) -> Routed:
    # Old callers pass the number; it is resolved in the worker, so that none lies in Redis.
    return _route_fetch(conversation_id, force=force, operation="picture")


def _route_group(
    conversation_id: object, group_jid: object = None, instance_name: object = None, *, force: bool = False
) -> Routed:
    # As with the picture: what old callers pass is dropped and resolved in the worker.
    return _route_fetch(conversation_id, force=force, operation="group")


# -- the actors ----------------------------------------------------------------------------------------------------


@dramatiq.actor(broker=wiring.broker, queue_name="send_message", actor_class=routed(_route_send))
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
        return
    attempts = {attempt.part: attempt for attempt in work.store.attempts(message_id)}
    if not attempts:
        _let_older_go_first(work, message_id)
    if is_all_out(chat_message, attempts.values()):
        # The worker died before it could say so. An instance or a number that went bad since does not unsend it.
        _record_sent(work, chat_message)
        return
    parts = outgoing_parts(chat_message, _checked(work, chat_message))
    instance = _instance(work, chat_message, list(attempts.values()), use_fallback=use_fallback)
    delivery = Delivery(
        work,
        chat_message,
        instance,
        lease_left_ms=lease_left_ms,
        redriven_at_ms=current_options().get("redriven_at_ms", 0),
    )
    unsent = [part for part in parts if not _is_accepted(attempts.get(part.part))]
    if unsent:
        delivery.deliver(unsent[0], attempts.get(unsent[0].part))
    if len(unsent) > 1:
        raise Snooze(f"message {message_id}: part {unsent[0].part} is out, the next follows", delay_ms=0)
    _record_sent(work, chat_message)


@dramatiq.actor(broker=wiring.broker, queue_name="fetch_profile_pic", actor_class=routed(_route_picture))
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
    url = gateway.fetch_profile_picture(recipient, instance=instance)
    if url is None or not work.store.save_picture(conversation_id, url):
        logger.info("picture.none", extra={"conversation": conversation_id})


@dramatiq.actor(broker=wiring.broker, queue_name="fetch_group_info", actor_class=routed(_route_group))
def fetch_group_info(conversation_id: str, *, force: bool = False) -> None:
    """Merge what the gateway knows of a group into its conversation; participants and foreign keys stay."""
    work = services.get()
    conversation = work.store.load_conversation(conversation_id)
    if conversation.conversation_type is not ConversationType.GROUP:
        logger.info("group.not_a_group", extra={"conversation": conversation_id})
        return
    instance = _instance_of(work, conversation)
    gateway = work.gateway(instance)
    recipient = conversation.recipient()
    if Ability.FETCH_GROUP_INFO not in gateway.supports or not isinstance(recipient, GroupJid):
        logger.info("group.unsupported", extra={"conversation": conversation_id, "gateway": gateway.name})
        return
    work.store.merge_group(conversation_id, gateway.fetch_group_info(recipient, instance=instance))


# -- steps ---------------------------------------------------------------------------------------------------------


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
        send_message.send(older_id)
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
    if not chat_message.media and not chat_message.text.strip():
        raise BadPayload(f"message {chat_message.id} has neither text nor attachment", code="empty_message")
    return chat_message.recipient(default_region=work.settings.default_region)


def _instance(
    work: Services, chat_message: ChatMessage, attempts: list[SendAttempt], *, use_fallback: bool
) -> Instance:
    # Once something may be out through one instance, its fate is asked there and the rest follows the same way.
    bound = [row.instance_name for row in attempts if row.state is not AttemptState.RETRYABLE]
    name = bound[0] if bound else chat_message.instance_name
    instance = work.store.load_instance(name, tenant_id=chat_message.tenant_id, use_fallback=use_fallback and not bound)
    if instance is None:
        raise AuthConfig(
            f"message {chat_message.id}: no active instance row of its tenant is named {name!r}; add or activate it, then redrive",
            code="no_instance",
        )
    return instance


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


def _record_sent(work: Services, chat_message: ChatMessage) -> None:
    # The first part carries the caption and is what a reply quotes, so its id is the row's.
    first = work.store.attempts(chat_message.id)[0]
    work.store.mark_sent(chat_message.id, provider_message_id=first.provider_message_id)
    logger.info("message.sent", extra={"chat_message_id": chat_message.id, "instance": first.instance_name})


def record_death(letter: DeadLetter) -> None:
    """A send was given up: its row fails, with the reason that an operator sees. Heard once or twice, the same.

    Where everything is out and only the row could not say so, it says so now: "failed" would invite a second delivery.
    """
    message_id = letter.kwargs.get("message_id")
    if letter.actor != send_message.actor_name or not isinstance(message_id, str):
        return
    work = services.get()
    store, attempts = work.store, work.store.attempts(message_id)
    if any(_is_accepted(row) for row in attempts):
        try:
            chat_message = store.load_message(message_id)
        except Permanent:
            # Deleted or unreadable by now: the reason below is all that can be said.
            chat_message = None
        if chat_message is not None and is_all_out(chat_message, attempts):
            _record_sent(work, chat_message)
            return
    if any(row.state in (AttemptState.SENDING, AttemptState.UNKNOWN) for row in attempts):
        # It died while a request was unaccounted for: "failed" alone would invite a second delivery.
        text = f"given up ({letter.reason}) while a request may have been delivered; look at the phone before sending again"
        store.mark_failed(message_id, code=DeliveryUnknown.code, text=text)
    else:
        store.mark_failed(message_id, code=letter.reason, text=letter.error or f"given up: {letter.reason}")


def prepare_redrive(letter: DeadLetter) -> None:
    """Make the row of a given-up send pending again; call it before the letter is redriven, whose actor skips failed rows.

    Should the redrive then not come, the sweep sends what is pending.
    """
    message_id = letter.kwargs.get("message_id")
    if letter.actor == send_message.actor_name and isinstance(message_id, str):
        services.get().store.mark_pending(message_id)


wiring.on_dead_letter(record_death)
