"""Outcomes as Django signals: ids and codes, never a text or a number.

    message_sent      message_id, conversation_id, tenant_id, instance_name, provider_message_id
    message_advanced  message_id, conversation_id, tenant_id, instance_name, status
    message_failed    message_id, conversation_id, tenant_id, instance_name, code
    picture_updated   conversation_id, tenant_id, instance_name
    group_updated     conversation_id, tenant_id, instance_name

Each comes after the commit of what it tells, in the process and thread that wrote it: a worker's, or that of a webhook's view.
``sender`` is the class of the event (``actors.events``). A receiver that fails changes no outcome and keeps no other from
hearing; it is logged by its class. One that is told in a worker holds up that worker's thread: be quick.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from threading import Lock
from typing import Any

from django.dispatch import Signal

from actors import events

logger = logging.getLogger(__name__)

_is_telling: ContextVar[bool] = ContextVar("chat_actors_is_telling", default=False)
_lock = Lock()
_unsubscribe: Callable[[], None] | None = None


class OutcomeSignal(Signal):  # type: ignore[misc]  # Django brings no types
    """A signal that asks for outcomes once somebody listens: each costs its process a query then."""

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """See Django's documentation."""
        super().connect(*args, **kwargs)
        _listen()

    def disconnect(self, *args: Any, **kwargs: Any) -> bool:
        """See Django's documentation."""
        gone = bool(super().disconnect(*args, **kwargs))
        _stop_listening()
        return gone


message_sent = OutcomeSignal()
message_advanced = OutcomeSignal()
message_failed = OutcomeSignal()
picture_updated = OutcomeSignal()
group_updated = OutcomeSignal()

_SIGNALS: dict[type[Any], OutcomeSignal] = {
    events.MessageSent: message_sent,
    events.MessageAdvanced: message_advanced,
    events.MessageFailed: message_failed,
    events.PictureUpdated: picture_updated,
    events.GroupUpdated: group_updated,
}


def _listen() -> None:
    global _unsubscribe
    with _lock:
        if _unsubscribe is None:
            _unsubscribe = events.subscribe(_tell)


def _stop_listening() -> None:
    """Ask for outcomes no more once nobody is left who listens."""
    global _unsubscribe
    with _lock:
        if _unsubscribe is not None and not any(signal.has_listeners() for signal in _SIGNALS.values()):
            _unsubscribe()
            _unsubscribe = None


def _tell(event: events.Event) -> None:
    signal = _SIGNALS.get(type(event))
    if signal is None:
        return
    told = {field.name: getattr(event, field.name) for field in fields(event)}
    with _quiet():
        results = signal.send_robust(sender=type(event), **told)
    for receiver, result in results:
        if isinstance(result, Exception):
            extra = {"event": type(event).__name__, "code": type(result).__name__, "receiver": _name_of(receiver)}
            ids = {"chat_message_id": told.get("message_id"), "conversation": told["conversation_id"]}
            known = {name: value for name, value in ids.items() if value is not None}
            logger.warning("event.receiver_failed", extra={**extra, **known})


def _name_of(receiver: Any) -> str:
    return f"{getattr(receiver, '__module__', '?')}.{getattr(receiver, '__qualname__', type(receiver).__qualname__)}"


# -- Django logs the text of a receiver's error, which may quote a row -----------------------------------------------------


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not _is_telling.get()


logging.getLogger("django.dispatch").addFilter(_is_not_ours)


@contextmanager
def _quiet() -> Iterator[None]:
    token = _is_telling.set(True)
    try:
        yield
    finally:
        _is_telling.reset(token)
