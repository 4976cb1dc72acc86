"""Our Actor class: it decides at ``send`` where a message belongs, and never in a hook.

Dramatiq logs and swallows the errors of hooks, so a lane computed there could silently be missing. ``actors.chat`` declares
its actors with :func:`routed`.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast

import dramatiq
from dramatiq import Message
from dramatiq.middleware import CurrentMessage

from middleware.brokers.redis.consumer import CarriedMessage
from middleware.brokers.redis.wire import random_uuid
from middleware.sending import Sending, is_at_once, policy, slices
from middleware.slots import slot_of, tick_options

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What a message shall carry: ids only, by name, and where it belongs.

    Attributes:
        kwargs: arguments for the worker.
        lane: messages with the same one run one at a time, in the order of their enqueues.
        group: messages with the same one share a pace.
        unique_key: while a message with it is unfinished, another send returns that one.
        unique_for_ms: the key stays taken for so long from the send on, also when the message is over.
        is_known: False when the store does not know (yet) what it belongs to.
    """

    kwargs: dict[str, Any]
    lane: str | None = None
    group: str | None = None
    unique_key: str | None = None
    unique_for_ms: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    is_known: bool = True


#: To read a signature costs a tenth of a send.
_signature = functools.lru_cache(maxsize=256)(inspect.signature)

#: Options of an actor that its messages carry to the broker (``CarrierBroker.enqueue``).
CARRIED = ("unique_until", "dead_holds_lane")
#: Takes what the caller gave to ``send``.
Route = Callable[..., Routed]
#: Takes ids and what they share; one :class:`Routed` each, in their order.
RouteMany = Callable[..., list[Routed]]
#: Options that say how a message gets to the queue.
WAY = frozenset({"on_commit", "robust", "using"})


class RoutedActor(dramatiq.Actor[P, R]):
    """An actor whose messages are routed when they are built.

    Attributes:
        on_commit: whether ``send`` waits for the commit of an open transaction; None = as the settings say.
    """

    def __init__(
        self,
        fn: Callable[..., R],
        *,
        route: Callable[P, Routed] | None = None,
        route_many: RouteMany | None = None,
        on_commit: bool | None = None,
        **options: Any,
    ) -> None:
        # Dramatiq logs every other failure with its traceback, whose text may quote a row; ours is logged by Retries. A time
        # limit and a shutdown are no Exception.
        options["options"] = {"throws": (BaseException,), **options["options"]}
        super().__init__(fn, **options)
        self.route = route
        self.route_many = route_many
        self.on_commit = on_commit

    def message_with_options(
        self, *, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, **options: Any
    ) -> "Message[R]":
        """Build a message; see :meth:`dramatiq.Actor.message_with_options`. Options given by the caller win."""
        kwargs = kwargs or {}
        if self.route is None:
            return self._message(args, kwargs, options)
        return self._routed(self.route(*args, **kwargs), options)

    def send_with_options(
        self,
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        delay: timedelta | int | None = None,
        **options: Any,
    ) -> "Message[R]":
        """Send; see :meth:`dramatiq.Actor.send_with_options`.

        ``delay`` in milliseconds. Of the options ``on_commit``, ``robust`` and ``using`` are for the way there
        (:class:`middleware.sending.Sending`), the others for the message. With ``on_commit`` inside a transaction the message
        returned is not enqueued yet; with ``robust`` the answer is False when the queue cannot be reached.

        Raises:
            QueueUnavailable, QueueFull, QueueRefused: it is not known to be enqueued; within 5 s.
        """
        if self.route is not None and is_at_once() and WAY.isdisjoint(options):
            # Nothing is put off and nothing reported: what is to be sent need not be written down first.
            message = self.message_with_options(args=args, kwargs=kwargs, **options)
            return self.broker.enqueue(message, delay=_ms(delay))
        sent = policy().send(self.sending(args, kwargs or {}, delay=delay, **options))
        return sent and sent[0]  # type: ignore[return-value]  # False only for who asked for it

    def try_send(self, *args: P.args, **kwargs: P.kwargs) -> "Message[R] | Literal[False]":
        """Send; False, and ``message.enqueue_failed`` in the log, when the queue cannot be reached."""
        return self.send_with_options(args=args, kwargs=kwargs, robust=True)

    async def asend(self, *args: P.args, **kwargs: P.kwargs) -> "Message[R]":
        """``send`` for async code: it runs in a thread of a pool, and the event loop goes on.

        A caller that is cancelled meanwhile goes; what it began to send is sent.

        Raises:
            InsideTransaction: its thread for the database has a transaction open, of which another thread sees nothing.
        """
        return await policy().asend(lambda: self.send(*args, **kwargs))

    def send_many(self, ids: Iterable[Any], **shared: Any) -> "list[Message[R]]":
        """Send one message per id, in their order, ``shared`` being the same for all; of 10,000 in less than a second.

        Of an id that comes twice, or is in the queue already, the message that has it is returned again. The options of
        :meth:`send_with_options` are taken too: ``delay``, ``on_commit``, ``robust``, ``using``.

        Raises:
            NotAllSent: some are not known to be enqueued, and it says which; sending them again is harmless.
        """
        return policy().send(self.many(list(ids), **shared))  # type: ignore[return-value]  # False only for who asked for it

    def sending(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, delay: timedelta | int | None = None, **options: Any
    ) -> Sending:
        """What :meth:`send_with_options` hands to the policy."""
        way = {name: options.pop(name) for name in WAY & options.keys()}

        def build(sending: Sending) -> "list[Message[Any]]":
            if self.route is None:
                return [self._message(args, kwargs, options)]
            routed = self.route(*args, **kwargs)
            sending.is_routed = routed.is_known
            return [self._routed(routed, options)]

        named = functools.partial(self.bound, self.route or self.fn, args, kwargs)
        if self.route is None:
            # Nothing else would look at the arguments before the worker does.
            named()
        return Sending(actor=self, build=build, named=named, delay_ms=_ms(delay), **way)

    def many(self, ids: Sequence[Any], *, delay: timedelta | int | None = None, **shared: Any) -> Sending:
        """What :meth:`send_many` hands to the policy."""
        way = {name: shared.pop(name) for name in WAY & shared.keys()}
        if ids:
            self.bound(self.route or self.fn, (ids[0],), shared)

        def build(sending: Sending) -> "list[Message[Any]]":
            messages: list[Message[Any]] = []
            for part in slices(ids):
                every = (
                    self.route_many(part, **shared) if self.route_many else [self._route(id_, shared) for id_ in part]
                )
                sending.is_routed &= all(routed.is_known for routed in every)
                messages += [self._routed(routed, {}) for routed in every]
            return messages

        # One is not "many" for the broker, but an error must still tell which.
        return Sending(actor=self, build=build, count=max(2, len(ids)), delay_ms=_ms(delay), **way)

    @staticmethod
    def bound(taker: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments of a call by name.

        Raises:
            TypeError: ``taker`` takes no such ones; told at once, so that the caller's transaction rolls back.
        """
        return dict(_signature(taker).bind(*args, **kwargs).arguments)

    def _route(self, id_: Any, shared: dict[str, Any]) -> Routed:
        if self.route is None:
            return Routed(kwargs={next(iter(_signature(self.fn).parameters)): id_, **shared})
        return self.route(id_, **shared)

    def _routed(self, routed: Routed, options: dict[str, Any]) -> "Message[R]":
        where: dict[str, Any] = {}
        # One by one: to sort out what is None costs a plain message a fiftieth of its send.
        if routed.lane is not None:
            where["lane"] = routed.lane
        if routed.group is not None:
            where["group"] = routed.group
        if routed.unique_key is not None:
            where["unique_key"] = routed.unique_key
        if routed.unique_for_ms is not None:
            where["unique_for"] = routed.unique_for_ms
        if routed.options:
            where |= {name: value for name, value in routed.options.items() if value is not None}
        return self._message((), routed.kwargs, where | options)

    def _message(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> "Message[R]":
        # A copy: one wish may be built twice, and Dramatiq's hooks add to a message's options.
        options = {**options}
        for name in CARRIED:
            if name in self.options:
                options.setdefault(name, self.options[name])
        if "scheduled_at" in options:
            # periodiq sends from as many processes as run it; one slot is one message (middleware/ticks.py).
            options = {**tick_options(self.actor_name, slot_of(options["scheduled_at"])), **options}
        if "on_success" in options or "on_failure" in options:
            # Dramatiq makes names of the actors that they may be.
            return super().message_with_options(args=args, kwargs=kwargs, **options)
        return Message(self.queue_name, self.actor_name, args, kwargs, options, random_uuid())


def _ms(delay: timedelta | int | None) -> int | None:
    return int(delay.total_seconds() * 1000) if isinstance(delay, timedelta) else delay


class Declare(Protocol[P]):
    """Makes an actor of a function; what is sent is what its route takes."""

    def __call__(self, fn: Callable[..., R]) -> RoutedActor[P, R]:
        """Declare it."""
        ...


def actor(
    route: Callable[P, Routed], *, route_many: RouteMany | None = None, on_commit: bool | None = None, **options: Any
) -> Declare[P]:
    """``@dramatiq.actor`` for a routed actor, with the types of its route."""
    make = functools.partial(RoutedActor, route=route, route_many=route_many, on_commit=on_commit)
    return cast("Declare[P]", dramatiq.actor(actor_class=make, **options))


def routed(route: Route | None = None, **how: Any) -> Callable[..., RoutedActor[..., Any]]:
    """``actor_class`` for ``@dramatiq.actor``; ``how`` as in :func:`actor`."""

    def make(fn: Callable[..., Any], **options: Any) -> RoutedActor[..., Any]:
        return RoutedActor(fn, route=route, **how, **options)

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


def current_job_id() -> str | None:
    """Dramatiq's id of the message that runs in this thread; None when called as a plain function."""
    message = CurrentMessage.get_current_message()
    return message.message_id if message is not None else None
