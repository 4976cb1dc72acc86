"""Tell browsers over Channels what became of messages, pictures and groups: the ready receiver of ``signals``.

On with ``CHAT_ACTORS["BROADCAST"] = True`` and the extra ``channels``. Groups are ``chat_tenant_<tenant>`` and
``chat_tenant_<tenant>_conversation_<conversation>``; what each gets stands in docs/django.md. A browser that was not told sees
it at its next load: a channel layer that is away costs a worker :data:`TIMEOUT_S` every :data:`PAUSE_MS`, and nothing else.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import cache
from threading import Lock
from typing import Any, Protocol

from asgiref.sync import async_to_sync
from django.db import router
from django.utils.module_loading import import_string

from actors import services
from actors.django_app import signals
from actors.domain import MessageStatus
from actors.stores.django_host import find_host
from middleware.errors import Described

logger = logging.getLogger(__name__)

#: One event is given up after so long, in seconds.
TIMEOUT_S = 2.0
#: After a failure nobody is told for so long, in milliseconds: a worker must not wait for a layer that is down at every message.
PAUSE_MS = 10_000

Payload = dict[str, Any]


class Serializer(Protocol):
    """Makes what browsers are shown of the host's rows; called in the worker, built once without arguments."""

    def message(self, message_id: str) -> Mapping[str, Any] | None:
        """The message as ``message_received`` carries it; None leaves that event out."""
        ...

    def conversation(self, conversation_id: str) -> Mapping[str, Any] | None:
        """The conversation as ``conversation_updated`` carries it; None leaves that event out."""
        ...


class StoredOnly:
    """What this package itself knows of; without a serializer of the host's own."""

    #: Columns of a conversation that a fetch changes, or that say what it is.
    shown = ("conversation_type", "contact_name", "profile_pic_url", "group_metadata")

    def __init__(self) -> None:
        settings = services.settings()
        self._conversation = find_host(settings.models, settings.field_map)[0]["conversation"]

    def message(self, message_id: str) -> Mapping[str, Any] | None:
        """Nothing: a page that has the message needs no more than its status."""
        return None

    def conversation(self, conversation_id: str) -> Mapping[str, Any] | None:
        """The id and what a fetch may have changed, for a page to merge into what it has; one query."""
        host = self._conversation
        every = host.rows(router.db_for_read(host.model))
        found = host.find(every, conversation_id).values_list(*(host.paths[name] for name in self.shown)).first()
        return None if found is None else {"id": conversation_id, **dict(zip(self.shown, found, strict=True))}


class _Pause:
    """Until when nobody is told, on the boot-time clock."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._until_ms = 0

    def is_over(self) -> bool:
        with self._lock:
            return services.get().clock.boot_ms() >= self._until_ms

    def begin(self) -> None:
        with self._lock:
            self._until_ms = services.get().clock.boot_ms() + PAUSE_MS

    def end(self) -> None:
        with self._lock:
            self._until_ms = 0


pause = _Pause()


def connect() -> None:
    """Listen from now on. Repeatable."""
    receivers = (
        (signals.message_sent, _on_sent),
        (signals.message_advanced, _on_advanced),
        (signals.message_failed, _on_failed),
        (signals.picture_updated, _on_picture),
        (signals.group_updated, _on_group),
    )
    for signal, receiver in receivers:
        signal.connect(receiver, dispatch_uid="chat_actors.sockets")


def disconnect() -> None:
    """Listen no more."""
    for signal in (
        signals.message_sent,
        signals.message_advanced,
        signals.message_failed,
        signals.picture_updated,
        signals.group_updated,
    ):
        signal.disconnect(dispatch_uid="chat_actors.sockets")


def _on_sent(message_id: str, conversation_id: str, tenant_id: str | None, **_: Any) -> None:
    if _is_off(tenant_id):
        return
    tenant, room = _groups(tenant_id, conversation_id)
    update = _status_update(message_id, conversation_id, MessageStatus.SENT)
    told = [(tenant, update), (room, update)]
    message = _made("message", message_id)
    if message is not None:
        told.append((tenant, {"type": "message_received", "message": message, "conversation_id": conversation_id}))
        told += _conversation_updated(conversation_id, tenant)
    _send(told)


def _on_advanced(message_id: str, conversation_id: str, tenant_id: str | None, status: str, **_: Any) -> None:
    if not _is_off(tenant_id):
        update = _status_update(message_id, conversation_id, status)
        _send((group, update) for group in _groups(tenant_id, conversation_id))


def _on_failed(message_id: str, conversation_id: str, tenant_id: str | None, code: str, **_: Any) -> None:
    if not _is_off(tenant_id):
        update = _status_update(message_id, conversation_id, MessageStatus.FAILED)
        update["send_error_meta"] = {"send_error": code}
        _send((group, update) for group in _groups(tenant_id, conversation_id))


def _on_picture(conversation_id: str, tenant_id: str | None, **_: Any) -> None:
    if not _is_off(tenant_id):
        tenant, _room = _groups(tenant_id, conversation_id)
        _send(_conversation_updated(conversation_id, tenant))


def _on_group(conversation_id: str, tenant_id: str | None, **_: Any) -> None:
    if not _is_off(tenant_id):
        tenant, room = _groups(tenant_id, conversation_id)
        _send(_conversation_updated(conversation_id, room, tenant))


def _is_off(tenant_id: str | None) -> bool:
    """Nobody listens for rows of no tenant."""
    return tenant_id is None or not services.settings().broadcast or not pause.is_over()


def _groups(tenant_id: str | None, conversation_id: str) -> tuple[str, str]:
    tenant = f"chat_tenant_{tenant_id}"
    return tenant, f"{tenant}_conversation_{conversation_id}"


def _status_update(message_id: str, conversation_id: str, status: str) -> Payload:
    return {
        "type": "message_status_update",
        "message_id": message_id,
        "conversation_id": conversation_id,
        "status": str(status),
        "evolution_status": str(status),
    }


def _conversation_updated(conversation_id: str, *groups: str) -> list[tuple[str, Payload]]:
    conversation = _made("conversation", conversation_id)
    if conversation is None:
        return []
    return [(group, {"type": "conversation_updated", "conversation": conversation}) for group in groups]


def _made(what: str, row_id: str) -> dict[str, Any] | None:
    """What the serializer makes of a row; one that fails leaves its event out and no other."""
    try:
        made: Mapping[str, Any] | None = getattr(_serializer(services.settings().broadcast_serializer), what)(row_id)
    except Exception as error:
        logger.warning("broadcast.not_made", extra={"code": _code(error), "part": what})
        return None
    return None if made is None else dict(made)


@cache
def _serializer(path: str | None) -> Serializer:
    made: Serializer = StoredOnly() if path is None else import_string(path)()
    return made


def _send(told: Iterable[tuple[str, Payload]]) -> None:
    try:
        async_to_sync(_send_all)(list(told))
    except Exception as error:
        if not isinstance(error, TypeError):
            # That is a tenant or id of which no group can be named, and the layer's answer to it came at once.
            pause.begin()
        logger.warning("broadcast.failed", extra={"code": _code(error), "pause_ms": PAUSE_MS})


async def _send_all(told: list[tuple[str, Payload]]) -> None:
    from channels.layers import get_channel_layer

    layer = get_channel_layer()
    if layer is None:
        raise LookupError("CHANNEL_LAYERS names no default layer")
    async with asyncio.timeout(TIMEOUT_S):
        for group, payload in told:
            await layer.group_send(group, dict(payload))


def _code(error: Exception) -> str:
    return error.code if isinstance(error, Described) else type(error).__name__
