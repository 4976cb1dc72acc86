"""Send an actor's message when, and only when, the rows that it needs are committed.

Called by the host's views, services and consumers in place of ``actor.send`` (docs/sending.md).
"""

from collections.abc import Iterable
from typing import Any, Literal, ParamSpec, TypeVar

import dramatiq
from dramatiq import Message

from actors.django_app.commits import Commits, SentInTransaction
from middleware.actor import RoutedActor
from middleware.sending import Sending, policy

__all__ = ["SentInTransaction", "asend", "send_many_on_commit", "send_on_commit"]

P = ParamSpec("P")
R = TypeVar("R")


def send_on_commit(
    actor: "dramatiq.Actor[..., Any]", *args: Any, using: str | None = None, robust: bool | None = None, **kwargs: Any
) -> None:
    """Send after the transaction of ``using`` commits; at once without one, never when it rolls back.

    Where it belongs is looked up inside the transaction, so that what the sender allows (``use_fallback``, ``bulk``) is
    committed with the row. What fails then fails after the commit, when no answer can take the row back: with ``robust``
    (``CHAT_ON_QUEUE_DOWN`` where it is None) it does not break the response, the row stays pending, ``message.enqueue_failed``
    is logged with ids and the error's code, and the sweep sends it later (a fetch is not swept; its next trigger asks again).
    Redis that is down costs less than 5 s per transaction, however many messages wait for it. What no retry mends (settings,
    a bug) also goes to Django's own log of failed ``on_commit`` callbacks, with its traceback.

    ``actor`` is ours, or any other of Dramatiq's. ``using`` is the alias of the database, None that of the chat rows.
    ``robust=False`` raises what fails, out of the ``atomic()`` block that has committed.

    Raises:
        TypeError: the actor takes no such arguments; at once, so that the caller's transaction rolls back.
        QueueUnavailable, QueueFull, QueueRefused: only without ``robust``, and after the commit.
    """
    if isinstance(actor, RoutedActor):
        actor.send_with_options(args=args, kwargs=kwargs, on_commit=True, robust=robust, using=using)
    else:
        Commits().send(_foreign(actor, args, kwargs, using=using, robust=robust))


def send_many_on_commit(
    actor: "RoutedActor[..., Any]",
    ids: Iterable[Any],
    *,
    using: str | None = None,
    robust: bool | None = None,
    **shared: Any,
) -> None:
    """The same for a campaign: one message per id, in their order; ``shared`` as for ``actor.send_many``.

    One query per 500 inside the transaction, one round trip per 100 after it. What is not enqueued is logged as one event
    with its number, stays pending and is swept.

    Raises:
        TypeError: the actor takes no such arguments.
        NotAllSent: only without ``robust``, and after the commit.
    """
    actor.send_many(ids, on_commit=True, robust=robust, using=using, **shared)


async def asend(
    actor: "dramatiq.Actor[..., R]", *args: Any, robust: bool | None = True, **kwargs: Any
) -> "Message[R] | Literal[False]":
    """Send from async code without blocking its event loop; False when the queue cannot be reached (with ``robust``).

    It runs in a pool of threads, with the caller's context variables. A caller that is cancelled goes; what it began to send
    is sent.

    Raises:
        InsideTransaction: a transaction is open in the thread of this code's database connections.
        QueueUnavailable, QueueFull, QueueRefused: only without ``robust``; within 5 s.
    """

    def send() -> "Message[R] | Literal[False]":
        if isinstance(actor, RoutedActor):
            return actor.send_with_options(args=args, kwargs=kwargs, robust=robust)
        sent = Commits().send(_foreign(actor, args, kwargs, on_commit=False, robust=robust))
        return False if sent is False else sent[0]

    return await policy().asend(send)


def _foreign(actor: "dramatiq.Actor[..., Any]", args: tuple[Any, ...], kwargs: dict[str, Any], **way: Any) -> Sending:
    """What a routed actor makes of a call, for one that is not ours."""
    ids = RoutedActor.bound(actor.fn, args, kwargs)
    way = {"on_commit": True, **way}
    return Sending(
        actor=actor,
        build=lambda _: [actor.message_with_options(args=args, kwargs=kwargs)],
        named=lambda: ids,
        **way,
    )
