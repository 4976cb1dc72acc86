"""Sends of a Django process keep to its transactions.

A worker is faster than a commit: what is sent inside a transaction finds no row. The app installs :class:`Commits` as the
policy of every ``.send()``, when it is ready.
"""

import logging
import sys
import warnings
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

import dramatiq
from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections, transaction

import middleware
from actors import services
from actors.errors import ChatError, InsideTransaction
from actors.settings import OnQueueDown, Settings
from middleware.errors import Described, PipelineError, QueueUnavailable
from middleware.sending import AtOnce, Messages, Sending

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Where a connection keeps what the sends of its open transaction share.
_ATTRIBUTE = "_chat_actors_commit"
#: Sends that the settings ``ON_COMMIT`` and ``ON_QUEUE_DOWN`` are about; those of housekeeping go their own way.
HOST_ACTORS = frozenset({"send_message", "fetch_profile_pic", "fetch_group_info"})
#: Code that is on the way of a send, and never the place that a warning is about.
_OURS = tuple(str(Path(module.__file__ or "").parent) + "/" for module in (middleware, dramatiq, sys.modules["actors"]))


class SentInTransaction(RuntimeWarning):
    """``.send()`` was called inside a transaction: the worker may be faster than the commit, and a rollback comes too late."""


class State(Enum):
    """What the connections of a thread are in."""

    #: Every statement commits by itself.
    AUTOCOMMIT = "autocommit"
    #: A transaction of a ``TestCase`` and nothing else.
    TEST = "test"
    #: A transaction that may still be undone.
    OPEN = "open"


class _Commit:
    """What the messages of one transaction share: after one has waited for Redis in vain, none of the others does."""

    given_up = False


class Commits(AtOnce):
    """Sends after the commit where that is asked for, and warns where it is not."""

    def send(self, sending: Sending) -> Messages | Literal[False]:
        """See :meth:`middleware.sending.SendPolicy.send`."""
        waits = _waits(sending)
        if sending.robust is None:
            sending.robust = _is_robust(sending, waits=waits)
        if waits:
            # Arguments that the actor does not take are told at once, so that the caller's transaction rolls back.
            _ = sending.ids
            return self._after_commit(sending)
        if sending.on_commit is None and state(_databases()) is State.OPEN:
            _warn(sending)
        return super().send(sending)

    async def asend(self, call: Callable[[], T]) -> T:
        """See :meth:`middleware.sending.SendPolicy.asend`.

        Raises:
            InsideTransaction: the thread that has the database connections of this code has a transaction open.
        """
        found = await sync_to_async(lambda: state(_databases()))()
        if found is State.OPEN:
            raise InsideTransaction(
                "asend inside transaction.atomic(): its thread sees nothing of it; "
                "call send_on_commit in the function that opens the transaction"
            )
        if found is State.TEST:
            # Only the thread that opened the test's transaction sees its rows.
            return await sync_to_async(call)()
        return await super().asend(lambda: _with_fresh_connections(call))

    def note_failure(self, sending: Sending, *, code: str) -> None:
        """See :meth:`AtOnce.note_failure`; of one message its ids, and nothing else of what was given."""
        if sending.count > 1:
            super().note_failure(sending, code=code)
            return
        ids = {"chat_message_id": sending.ids.get("message_id"), "conversation": sending.ids.get("conversation_id")}
        known = {name: str(value) for name, value in ids.items() if value is not None}
        logger.error("message.enqueue_failed", extra={"actor": sending.actor.actor_name, "code": code, **known})

    def _after_commit(self, sending: Sending) -> Messages | Literal[False]:
        connection = transaction.get_connection(sending.using or _databases()[0])
        commit = _commit_of(connection)
        prepared = _prepared(sending) if connection.in_atomic_block else None
        sent: list[Messages | Literal[False]] = []

        def send() -> None:
            if getattr(connection, _ATTRIBUTE, None) is commit:
                delattr(connection, _ATTRIBUTE)
            sent.append(self._send(sending, commit, prepared))

        transaction.on_commit(send, using=connection.alias, robust=bool(sending.robust))
        return sent[0] if sent else prepared or False

    def _send(self, sending: Sending, commit: _Commit, prepared: Messages | None) -> Messages | Literal[False]:
        try:
            if commit.given_up:
                raise QueueUnavailable("the queue could not be reached for another message of the same transaction")
            if prepared is None or not sending.is_routed:
                prepared = _same_ids(prepared, sending.prepare())
            return sending.deliver(prepared)
        except Described as error:
            if not sending.robust:
                raise
            self.note_failure(sending, code=error.code)
            commit.given_up |= any(isinstance(one, QueueUnavailable) for one in (error, error.__cause__))
            if not isinstance(error, PipelineError) and error.permanent:
                # No sweep mends it: Django logs it with its traceback.
                raise
            return False


def _waits(sending: Sending) -> bool:
    actor = sending.actor
    for said in (sending.on_commit, getattr(actor, "on_commit", None)):
        if said is not None:
            return bool(said)
    chosen = _chosen(actor.actor_name, lambda settings: settings.on_commit)
    return chosen == "all" or (chosen is not None and actor.actor_name in {name.strip() for name in chosen.split(",")})


def _is_robust(sending: Sending, *, waits: bool) -> bool:
    chosen = _chosen(sending.actor.actor_name, lambda settings: settings.on_queue_down)
    return chosen == OnQueueDown.QUIET or (waits and chosen in (OnQueueDown.QUIET_AFTER_COMMIT, None))


def _chosen(actor_name: str, read: Callable[[Settings], str | None]) -> str | None:
    if actor_name not in HOST_ACTORS:
        return None
    try:
        return read(services.settings())
    except ChatError:
        # Whoever needs the settings says what is wrong with them.
        return None


def _databases() -> tuple[str, ...]:
    """Aliases of the databases that hold the chat rows."""
    try:
        return services.get().store.databases or ("default",)
    except ChatError:
        return ("default",)


def state(databases: tuple[str, ...]) -> State:
    """What this thread's connections to them are in; connects to nothing."""
    states = [_state_of(connections[alias]) for alias in databases if alias in connections]
    return next((one for one in (State.OPEN, State.TEST) if one in states), State.AUTOCOMMIT)


def _state_of(connection: Any) -> State:
    if not connection.in_atomic_block:
        # A connection that is not open yet says that it does not commit by itself.
        return State.OPEN if connection.connection is not None and not connection.autocommit else State.AUTOCOMMIT
    blocks = connection.atomic_blocks
    return State.TEST if blocks and all(block._from_testcase for block in blocks) else State.OPEN


def _commit_of(connection: Any) -> _Commit:
    commit: _Commit = getattr(connection, _ATTRIBUTE, None) or _Commit()
    if connection.in_atomic_block:
        setattr(connection, _ATTRIBUTE, commit)
    return commit


def _prepared(sending: Sending) -> Messages | None:
    """Messages built inside the transaction, so that what they allow commits with their rows; None = not possible now."""
    try:
        return sending.prepare()
    except ChatError:
        # It is tried again after the commit, where it is logged and breaks no answer.
        return None


def _same_ids(before: Messages | None, now: Messages) -> Messages:
    """``now``, known by the ids that the caller was told."""
    if before is None:
        return now
    return [new.copy(message_id=old.message_id) for old, new in zip(before, now, strict=True)]


def _with_fresh_connections(call: Callable[[], T]) -> T:
    """A thread of a pool outlives its database connections, and a request's end does not close them."""
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()


def _warn(sending: Sending) -> None:
    """Tell the line that called, once."""
    name = sending.actor.actor_name
    frame = _caller()
    warnings.warn_explicit(
        f"{name}.send() inside transaction.atomic(): a worker may look for the row before it is committed, and a rollback "
        f"does not take the message back. Call send_on_commit({name}, …), or set CHAT_ACTORS['ON_COMMIT']",
        category=SentInTransaction,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _caller() -> FrameType:
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return frame
