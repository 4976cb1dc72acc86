"""Our Actor class: it decides at ``send`` where a message belongs, and never in a hook.

Dramatiq logs and swallows the errors of hooks, so a lane computed there could silently be missing. ``actors.chat`` declares
its actors with :func:`routed`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dramatiq
from dramatiq import Message
from dramatiq.middleware import CurrentMessage

from middleware.brokers.redis.consumer import CarriedMessage
from middleware.slots import slot_of, tick_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What a message shall carry: ids only, by name, and where it belongs.

    Attributes:
        kwargs: arguments for the worker.
        lane: messages with the same one run one at a time, in the order of their enqueues.
        group: messages with the same one share a pace.
        unique_key: while a message with it is unfinished, another send returns that one.
    """

    kwargs: dict[str, Any]
    lane: str | None = None
    group: str | None = None
    unique_key: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


#: Takes what the caller gave to ``send``.
Route = Callable[..., Routed]


class RoutedActor(dramatiq.Actor[..., Any]):
    """An actor whose messages are routed when they are built."""

    def __init__(self, fn: Callable[..., Any], *, route: Route | None = None, **options: Any) -> None:
        # Dramatiq logs every other failure with its traceback, whose text may quote a row; ours is logged by Retries. A time
        # limit and a shutdown are no Exception.
        options["options"] = {"throws": (BaseException,), **options["options"]}
        super().__init__(fn, **options)
        self.route = route

    def message_with_options(
        self, *, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, **options: Any
    ) -> "Message[Any]":
        """Build a message; see :meth:`dramatiq.Actor.message_with_options`. Options given by the caller win."""
        kwargs = kwargs or {}
        if self.route is not None:
            routed = self.route(*args, **kwargs)
            where = {"lane": routed.lane, "group": routed.group, "unique_key": routed.unique_key, **routed.options}
            options = {**{name: value for name, value in where.items() if value is not None}, **options}
            args, kwargs = (), routed.kwargs
        if "scheduled_at" in options:
            # periodiq sends from as many processes as run it; one slot is one message (middleware/ticks.py).
            options = {**tick_options(self.actor_name, slot_of(options["scheduled_at"])), **options}
        return super().message_with_options(args=args, kwargs=kwargs, **options)


def routed(route: Route | None = None) -> Callable[..., RoutedActor]:
    """``actor_class`` for ``@dramatiq.actor``."""

    def make(fn: Callable[..., Any], **options: Any) -> RoutedActor:
        return RoutedActor(fn, route=route, **options)

    return make


def lease_left_ms() -> int | None:
    """How long the message that runs in this thread is surely still ours; None where nothing is leased (stub broker)."""
    message: object = CurrentMessage.get_current_message()
    if not isinstance(message, CarriedMessage):
        return None
    return message.machinery.in_flight.left_ms(message.lease)


def current_options() -> dict[str, Any]:
    """Options of the message that runs in this thread; empty when called as a plain function."""
    message = CurrentMessage.get_current_message()
    return message.options if message is not None else {}
