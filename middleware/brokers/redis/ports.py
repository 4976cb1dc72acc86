"""What ``exchange`` is plugged into: who takes messages from it, and who has it asked later."""

from collections.abc import Sequence
from typing import Protocol

from middleware.brokers.redis.values import Fetched


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
