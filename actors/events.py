"""What became of messages, pictures and groups, told to whoever listens in this process.

The stores announce, each change once and after its commit; hosts subscribe (Django signals and Channels are built on it).
A process that dies between commit and announcement loses the event and nothing else: the row says what happened, so nothing
may depend on hearing of it. A page that was not told shows it at its next load.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from middleware.errors import Described

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent:
    """A row became sent: every part of it is out. ``instance_name`` is the one that it left through, where that is known."""

    message_id: str
    conversation_id: str
    tenant_id: str | None
    instance_name: str | None
    provider_message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFailed:
    """A row became failed. ``code`` is a row of docs/errors.md."""

    message_id: str
    conversation_id: str
    tenant_id: str | None
    instance_name: str | None
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdvanced:
    """A sent message came further, as its provider says. ``status`` is ``delivered`` or ``seen``."""

    message_id: str
    conversation_id: str
    tenant_id: str | None
    instance_name: str | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureUpdated:
    """A conversation has another picture."""

    conversation_id: str
    tenant_id: str | None
    instance_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupUpdated:
    """What is known of a group changed."""

    conversation_id: str
    tenant_id: str | None
    instance_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceChanged:
    """The session of an instance changed, as its provider says. ``state`` is one of ``actors.updates.SessionState``."""

    instance_name: str
    state: str
    needs_a_person: bool = False


Event = MessageSent | MessageFailed | MessageAdvanced | PictureUpdated | GroupUpdated | InstanceChanged
Listener = Callable[[Event], None]

_lock = threading.Lock()
_listeners: tuple[Listener, ...] = ()


def subscribe(listener: Listener) -> Callable[[], None]:
    """Call ``listener`` with every event of this process from now on, in the thread that caused it; returns how to stop.

    What it raises is logged by class and code and changes nothing. Be quick: a worker's thread waits.
    """
    global _listeners
    with _lock:
        _listeners = (*_listeners, listener)

    def unsubscribe() -> None:
        global _listeners
        with _lock:
            _listeners = tuple(one for one in _listeners if one is not listener)

    return unsubscribe


def announce(make: Callable[[], Event | None]) -> None:
    """Tell every listener; ``make`` gives the event, or None when there is nothing to say. It is called only if one listens.

    Raises nothing: what happened is committed, and stays.
    """
    listeners = _listeners
    if not listeners:
        return
    try:
        event = make()
    except Exception as error:
        logger.warning("event.lost", extra={"code": _code(error)})
        return
    if event is None:
        return
    for listener in listeners:
        try:
            listener(event)
        except Exception as error:
            logger.warning("event.listener_failed", extra={"code": _code(error), **_ids(event)})


def _code(error: Exception) -> str:
    return error.code if isinstance(error, Described) else type(error).__name__


def _ids(event: Event) -> dict[str, str]:
    message_id, conversation_id = getattr(event, "message_id", None), getattr(event, "conversation_id", None)
    ids = {"chat_message_id": message_id, "conversation": conversation_id}
    return {"event": type(event).__name__, **{name: value for name, value in ids.items() if value is not None}}
