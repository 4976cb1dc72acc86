"""What ``exchange`` and ``waiter`` are plugged into: who takes messages, who has a fetch made later, and each other."""

import threading
from collections.abc import Sequence
from typing import Any, Protocol

from middleware.brokers.redis.values import Fetch, Fetched


class Sink(Protocol):
    """Takes the messages of one queue; must not settle anything within :meth:`accept`, but may :meth:`Exchange.post`."""

    queue_name: str

    def room(self) -> int:
        """How many more it would take where the process sets no bound."""
        ...

    def accept(self, messages: Sequence[Fetched]) -> None:
        """Have messages; called from the thread that makes the round."""
        ...


class Alarm(Protocol):
    """Has :meth:`Exchange.ring` called later; see :class:`middleware.brokers.redis.waiter.Waiter`."""

    def due(self, queue_name: str, in_ms: int | None) -> None:
        """When time brings something to the queue; None = never."""
        ...

    def widen(self) -> None:
        """A place for a message of a slow queue has become free."""
        ...

    def again(self, queue_name: str, in_ms: int) -> None:
        """When to try again after a failure."""
        ...

    def poke(self) -> None:
        """End the wait under way."""
        ...


class Door(Protocol):
    """Fetches; see :class:`middleware.brokers.redis.exchange.Exchange`."""

    def ring(self, *queue_names: str) -> bool:
        """Fetch from queues; False when there is no place."""
        ...

    def deliver(self, queue_name: str, messages: Sequence[Fetched]) -> None:
        """Hand on what came with the wait."""
        ...


class Standing(Protocol):
    """The fetch that is sent with a wait; see :class:`middleware.brokers.redis.standing.StandingFetch`."""

    def ask(self, queue_names: Sequence[str]) -> bytes:
        """The command to send behind the wait; empty for none."""
        ...

    def take(self, reply: Any) -> tuple[str, Fetch] | None:
        """What its reply brought, and from which queue."""
        ...

    def lose(self) -> None:
        """Its reply does not come any more."""
        ...


class Places(Protocol):
    """Places for messages in this process; see :class:`middleware.brokers.redis.inflight.InFlight`."""

    #: Set whenever one becomes free.
    place_is_free: threading.Event

    def room(self) -> int | None:
        """How many are free; None = no bound."""
        ...

    def takes(self, queue_name: str) -> bool:
        """Whether a message of this queue may be fetched as far as slow queues go."""
        ...
