"""Send an actor's message when, and only when, the rows that it needs are committed.

Called by the host's views, services and consumers in place of ``actor.send``: a worker is faster than a commit, so a
message sent inside the transaction would find no row.
"""

import inspect
import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction
from dramatiq import Actor

from middleware.errors import Described, QueueUnavailable

logger = logging.getLogger(__name__)

#: Where a connection keeps what its open transaction shares.
_ATTRIBUTE = "_chat_actors_commit"


class _Commit:
    """What the messages of one transaction share: after one has waited for Redis in vain, none of the others does."""

    given_up = False


def send_on_commit(actor: Actor[..., Any], *args: Any, using: str | None = None, **kwargs: Any) -> None:
    """Send after the transaction of ``using`` commits; at once without one, never when it rolls back.

    What fails then fails after the commit, when no answer can take the row back, so it does not break the response: the
    row stays pending, ``message.enqueue_failed`` is logged with ids and the error's code, and the sweep sends it later
    (a fetch is not swept; its next trigger asks again). Redis that is down costs one connect timeout per transaction,
    however many messages wait for it. What no retry mends (settings, a bug) also goes to Django's own log of failed
    ``on_commit`` callbacks, with its traceback.

    Raises:
        TypeError: the actor takes no such arguments; at once, so that the caller's transaction rolls back.
    """
    inspect.signature(getattr(actor, "route", None) or actor.fn).bind(*args, **kwargs)
    connection = transaction.get_connection(using)
    commit: _Commit = getattr(connection, _ATTRIBUTE, None) or _Commit()
    if connection.in_atomic_block:
        setattr(connection, _ATTRIBUTE, commit)

    def send() -> None:
        if getattr(connection, _ATTRIBUTE, None) is commit:
            delattr(connection, _ATTRIBUTE)
        _send(commit, actor, args, kwargs)

    transaction.on_commit(send, using=using, robust=True)


async def asend(actor: Actor[..., Any], *args: Any, using: str | None = None, **kwargs: Any) -> None:
    """The same from async code, without blocking the event loop.

    It runs in the thread that Django gives to database work, so it sees that thread's transaction.
    """
    await sync_to_async(send_on_commit)(actor, *args, using=using, **kwargs)


def _send(commit: _Commit, actor: Actor[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if commit.given_up:
        _note_failure(actor, args, kwargs, code=QueueUnavailable.code)
        return
    try:
        actor.send(*args, **kwargs)
    except Described as error:
        _note_failure(actor, args, kwargs, code=error.code)
        commit.given_up = isinstance(error, QueueUnavailable)
        if error.permanent:
            raise


def _note_failure(actor: Actor[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, code: str) -> None:
    given = {**dict(zip(inspect.signature(actor.fn).parameters, args, strict=False)), **kwargs}
    ids = {"chat_message_id": given.get("message_id"), "conversation": given.get("conversation_id")}
    known = {name: str(value) for name, value in ids.items() if value is not None}
    logger.error("message.enqueue_failed", extra={"actor": actor.actor_name, "code": code, **known})
