"""Read a webhook of Evolution API 2.3: what it says of messages that were sent, and of its sessions. Pure.

A view hands over the raw body, then applies what :func:`updates` gives. Hostile bodies give nothing; they never fail. The
body carries the instance's key: it is compared and never kept, nor is the body to be logged. Source: docs/whatsapp-cloud.md,
"Webhooks".
"""

import hmac
from collections.abc import Callable, Collection, Iterator
from typing import Any

from actors.errors import NotDelivered
from actors.gateways.webhook_values import decoded, items, table, text, time_ms, whole
from actors.updates import DeliveryStatus, InstanceUpdate, SentUpdate, SessionState, StatusUpdate, Update

#: Statuses as Evolution names them; PENDING and DELETED say nothing of the way to the phone.
_STATUSES = {
    "SERVER_ACK": DeliveryStatus.SENT,
    "DELIVERY_ACK": DeliveryStatus.DELIVERED,
    "READ": DeliveryStatus.READ,
    "PLAYED": DeliveryStatus.PLAYED,
    "ERROR": DeliveryStatus.FAILED,
}
_STATES = {str(state): state for state in (SessionState.OPEN, SessionState.CONNECTING, SessionState.CLOSE)}
#: What a search compares; the rest of a record is not carried on.
_COMPARED = ("key", "message", "messageType", "messageTimestamp", "contextInfo")


def has_key(raw: bytes, *, api_keys: Collection[str]) -> bool:
    """Whether the body names one of the keys: those of the instance and of its server. Evolution signs nothing."""
    given = table(decoded(raw)).get("apikey")
    if not isinstance(given, str) or not given:
        return False
    # Every key is compared, and in constant time: neither the place nor the length of the match shows.
    same = [hmac.compare_digest(given.encode("utf-8", "replace"), key.encode("utf-8", "replace")) for key in api_keys]
    return any(same)


def updates(raw: bytes) -> list[Update]:
    """What the body says, in its order; nothing where it is of no event that matters here."""
    envelope = table(decoded(raw))
    event, instance = envelope.get("event"), text(envelope.get("instance"))
    if not isinstance(event, str) or instance is None:
        return []
    read = _EVENTS.get(event[:40].lower().replace("_", "."))
    data = envelope.get("data")
    told = [data] if isinstance(data, dict) else list(items(data))
    return [] if read is None else [update for one in told for update in read(one, instance)]


def _sent(data: dict[str, Any], instance: str) -> Iterator[SentUpdate]:
    key = table(data.get("key"))
    message_id, jid = text(key.get("id")), text(key.get("remoteJid"))
    if message_id is not None and jid is not None and key.get("fromMe") is True:
        yield SentUpdate(
            instance_name=instance,
            jid=jid,
            provider_message_id=message_id,
            at_ms=time_ms(data.get("messageTimestamp")),
            record={name: data[name] for name in _COMPARED if name in data},
        )


def _status(data: dict[str, Any], instance: str) -> Iterator[StatusUpdate]:
    # Not ``messageId``: that is the row's in Evolution's database.
    message_id, said = text(data.get("keyId")), data.get("status")
    status = _STATUSES.get(said) if isinstance(said, str) else None
    # Of somebody else's message it says what we did with it.
    if message_id is None or status is None or data.get("fromMe") is not True:
        return
    yield StatusUpdate(
        provider_message_id=message_id,
        status=status,
        # The envelope's time is local and calls itself UTC.
        at_ms=0,
        instance_name=instance,
        recipient=text(data.get("remoteJid")),
        error_code=NotDelivered.code if status is DeliveryStatus.FAILED else None,
    )


def _connection(data: dict[str, Any], instance: str) -> Iterator[InstanceUpdate]:
    said = data.get("state")
    state = _STATES.get(said) if isinstance(said, str) else None
    if state is not None:
        yield InstanceUpdate(instance_name=instance, state=state, reason_code=whole(data.get("statusReason")))


def _closed(data: dict[str, Any], instance: str) -> Iterator[InstanceUpdate]:
    if data.get("status") == SessionState.CLOSED:
        reason = whole(data.get("disconnectionReasonCode"))
        yield InstanceUpdate(instance_name=instance, state=SessionState.CLOSED, reason_code=reason)


_EVENTS: dict[str, Callable[[dict[str, Any], str], Iterator[Update]]] = {
    "send.message": _sent,
    "messages.update": _status,
    "connection.update": _connection,
    "status.instance": _closed,
}
