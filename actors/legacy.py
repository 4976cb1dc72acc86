"""The old product's ways to enqueue, under their old names, so that its call sites can move one at a time.

Change the import and nothing else: ``from actors.legacy import send_message_to_evolution``. Every call warns
(``DeprecationWarning``) with the call that replaces it. Keys, addresses and numbers that are passed are dropped. Inside a
transaction the message is sent when it commits, also where the old call was not. Delete the import when the last site moved.
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from actors import chat, wiring
from actors.errors import SettingsError
from middleware.brokers.redis.broker import CarrierBroker
from middleware.errors import PipelineError
from middleware.stats import take_snapshot

logger = logging.getLogger(__name__)

__all__ = [
    "enqueue_send_message",
    "enqueue_send_message_batch",
    "fetch_group_info",
    "fetch_profile_pic",
    "get_queue_metrics",
    "send_message_to_evolution",
]

_NEW = {
    "send_message_to_evolution.delay": "send_on_commit(send_message, message_id)",
    "fetch_profile_pic.delay": "send_on_commit(fetch_profile_pic, conversation_id)",
    "fetch_group_info.delay": "send_on_commit(fetch_group_info, conversation_id)",
    "enqueue_send_message": "send_on_commit(send_message, message_id, use_fallback=…)",
    "enqueue_send_message_batch": "send_on_commit(send_message, message_id) for each",
    "get_queue_metrics": "middleware.stats.take_snapshot(broker)",
}


class Delayed:
    """Something with a ``delay``, as the old tasks were."""

    def __init__(self, enqueue: Callable[..., None]) -> None:
        self._enqueue = enqueue
        self.__doc__ = enqueue.__doc__

    def delay(self, *args: Any, **kwargs: Any) -> None:
        """Enqueue; returns nothing, as before."""
        self._enqueue(*args, **kwargs)


def _warn(name: str, *, stacklevel: int) -> None:
    warnings.warn(
        f"actors.legacy.{name}: call {_NEW[name]} instead (docs/migrating.md)",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


def _send(actor: Any, id_: object, **kwargs: Any) -> None:
    if wiring.host_settings() is None:
        actor.send(str(id_), **kwargs)
        return
    from actors.django_app.send import send_on_commit

    send_on_commit(actor, str(id_), **kwargs)


def _fetch(actor: Any, conversation_id: object) -> None:
    try:
        _send(actor, conversation_id)
    except PipelineError as error:
        # Nobody waits for a picture: it must not break a webhook, and the next trigger asks again.
        logger.warning("legacy.not_enqueued", extra={"actor": actor.actor_name, "code": error.code})


def _delay_send(message_id: object) -> None:
    """Send a chat message."""
    _warn("send_message_to_evolution.delay", stacklevel=3)
    _send(chat.send_message, message_id)


def _delay_picture(conversation_id: object, phone: object = None) -> None:
    """Fetch a person's picture."""
    _warn("fetch_profile_pic.delay", stacklevel=3)
    _fetch(chat.fetch_profile_pic, conversation_id)


def _delay_group(
    conversation_id: object,
    group_jid: object = None,
    instance_name: object = None,
    api_key: object = None,
    base_url: object = None,
) -> None:
    """Fetch what a group is called."""
    _warn("fetch_group_info.delay", stacklevel=3)
    _fetch(chat.fetch_group_info, conversation_id)


send_message_to_evolution = Delayed(_delay_send)
fetch_profile_pic = Delayed(_delay_picture)
fetch_group_info = Delayed(_delay_group)


def enqueue_send_message(message_id: object, retry: int = 0, extra: Mapping[str, Any] | None = None) -> None:
    """Send a chat message; of ``extra`` only ``use_fallback`` means something. Attempts are counted by the queue."""
    _warn("enqueue_send_message", stacklevel=2)
    _send(chat.send_message, message_id, **_fallback(extra))


def enqueue_send_message_batch(message_ids: Iterable[object], retry: int = 0) -> None:
    """Send chat messages, those of a conversation in this order."""
    _warn("enqueue_send_message_batch", stacklevel=2)
    for message_id in message_ids:
        _send(chat.send_message, message_id)


def _fallback(extra: Mapping[str, Any] | None) -> dict[str, bool]:
    return {"use_fallback": True} if extra and extra.get("use_fallback") else {}


def get_queue_metrics() -> dict[str, Any]:
    """``{queue: {"length", "name", …}, "total"}``: ``length`` is what is not finished; the rest is where it stands.

    Raises:
        SettingsError: another broker than Redis.
        QueueUnavailable, QueueRefused: Redis did not do its part.
    """
    _warn("get_queue_metrics", stacklevel=2)
    broker = wiring.broker
    if not isinstance(broker, CarrierBroker):
        raise SettingsError(["CHAT_BROKER: only the queues of the broker redis can be counted"])
    metrics: dict[str, Any] = {
        stats.queue_name: {
            "name": broker.machinery.keys.of(stats.queue_name, "ready"),
            "length": stats.unfinished,
            "ready": stats.ready,
            "delayed": stats.delayed,
            "in_flight": stats.in_flight,
            "dead": stats.dead,
        }
        for stats in take_snapshot(broker).queues
    }
    return {**metrics, "total": sum(queue["length"] for queue in metrics.values())}
