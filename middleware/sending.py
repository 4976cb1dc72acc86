"""One wish to send, and who decides when it is done.

``actor.py`` makes a :class:`Sending` of every call; a :class:`SendPolicy` carries it out. Here that is at once; a host with
transactions of its own installs another one (:func:`use_policy`).
"""

import asyncio
import contextvars
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import dramatiq
from dramatiq import Message

from middleware.errors import NotAllSent, PipelineError

logger = logging.getLogger(__name__)

T = TypeVar("T")
Messages = list["Message[Any]"]

#: Messages that are routed by one question to the store, and enqueued before the next ones are.
SLICE = 500
#: Sends of async code that run at the same time in one process; more of them wait.
ASYNC_THREADS = 8


@dataclass(slots=True, kw_only=True)
class Sending:
    """Messages of one call, not built yet.

    Attributes:
        actor: whose they are.
        named: gives what they are for, by argument name.
        build: routes and builds them; sets ``is_routed`` to False where the store does not know what they belong to.
        delay_ms: for all of them.
        on_commit: whether to wait for the commit of an open transaction; None = as the actor or the settings say.
        robust: whether a queue that cannot be reached is logged and answered with False; None = as the settings say.
        using: the transaction meant, where a host has several.
    """

    actor: "dramatiq.Actor[Any, Any]"
    build: "Callable[[Sending], Messages]"
    named: Callable[[], dict[str, Any]] = dict
    count: int = 1
    delay_ms: int | None = None
    on_commit: bool | None = None
    robust: bool | None = None
    using: str | None = None
    is_routed: bool = True

    @property
    def ids(self) -> dict[str, Any]:
        """What they are for, by argument name: for logs.

        Raises:
            TypeError: the actor takes no such arguments.
        """
        return self.named()

    def prepare(self) -> Messages:
        """Build the messages; asks the store, not the queue."""
        self.is_routed = True
        return self.build(self)

    def deliver(self, messages: Messages) -> Messages:
        """Enqueue them, in their order.

        Raises:
            QueueUnavailable, QueueFull, QueueRefused: the one message is not known to be enqueued.
            NotAllSent: of many, some are not.
        """
        broker = self.actor.broker
        if self.count == 1:
            return [broker.enqueue(message, delay=self.delay_ms) for message in messages]
        sent: Messages = []
        for part in slices(messages):
            try:
                sent += self._enqueue(part)
            except PipelineError as error:
                raise NotAllSent(
                    f"{len(sent)} of {len(messages)} are enqueued: send those of .unsent again ({error.code})",
                    sent=sent,
                    unsent=messages[len(sent) :],
                ) from error
        return sent

    def _enqueue(self, messages: Messages) -> Messages:
        broker: Any = self.actor.broker
        if hasattr(broker, "send_many"):
            sent: Messages = broker.send_many(messages, delay=self.delay_ms)
            return sent
        return [broker.enqueue(message, delay=self.delay_ms) for message in messages]


def slices(items: Sequence[T], size: int = SLICE) -> Iterator[list[T]]:
    """``items`` in their order, ``size`` at a time."""
    return (list(items[first : first + size]) for first in range(0, len(items), size))


class SendPolicy(Protocol):
    """Carries sendings out."""

    def send(self, sending: Sending) -> Messages | Literal[False]:
        """Send, or see to it that it is sent later; False when the queue could not be reached and that was to be quiet."""
        ...

    async def asend(self, call: Callable[[], T]) -> T:
        """Run a call that sends, without blocking the event loop."""
        ...


class AtOnce:
    """Sends now, and raises what fails."""

    def send(self, sending: Sending) -> Messages | Literal[False]:
        """See :meth:`SendPolicy.send`."""
        try:
            return sending.deliver(sending.prepare())
        except PipelineError as error:
            if not sending.robust:
                raise
            self.note_failure(sending, code=error.code)
            return False

    def note_failure(self, sending: Sending, *, code: str) -> None:
        """Say in the log that it was not enqueued."""
        extra = {"actor": sending.actor.actor_name, "code": code, "messages": sending.count}
        logger.error("messages.enqueue_failed", extra=extra)

    async def asend(self, call: Callable[[], T]) -> T:
        """See :meth:`SendPolicy.asend`; in a thread of a pool, with the context variables of the caller.

        A caller that is cancelled goes; what it began to send is sent.
        """
        future = _pool().submit(contextvars.copy_context().run, call)
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            # Nobody else asks how it ended, and asyncio would report an error that was never looked at.
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
            future.add_done_callback(_look_at)
            raise


def _look_at(future: "Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


_threads: ThreadPoolExecutor | None = None
_policy: SendPolicy = AtOnce()


def _pool() -> ThreadPoolExecutor:
    global _threads
    if _threads is None:
        _threads = ThreadPoolExecutor(ASYNC_THREADS, thread_name_prefix="chat-asend")
    return _threads


def _forget_pool() -> None:
    # A forked child has the pool without its threads.
    global _threads
    _threads = None


os.register_at_fork(after_in_child=_forget_pool)


def policy() -> SendPolicy:
    """The one of this process."""
    return _policy


def is_at_once() -> bool:
    """Whether nobody has installed another policy than :class:`AtOnce`."""
    return type(_policy) is AtOnce


def use_policy(chosen: SendPolicy) -> None:
    """Have every send of this process carried out by ``chosen``."""
    global _policy
    _policy = chosen
