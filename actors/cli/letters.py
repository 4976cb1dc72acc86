"""Which dead letters a command means, and what must happen before one is sent again.

``dlq`` and ``dlq_changes`` use it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from actors.cli import terminal

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker
    from middleware.letters import DeadLetter, DeadLetters

Reason = Annotated[str | None, typer.Option(help="Only those given up for this reason.")]
Actor = Annotated[str | None, typer.Option(help="Only those of this actor.")]
Instance = Annotated[str | None, typer.Option(help="Only those of this instance.")]
Queue = Annotated[str | None, typer.Option(help="Only those of this queue.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What letters must be like; None = whatever."""

    reason: str | None = None
    actor: str | None = None
    instance: str | None = None
    queue: str | None = None

    def __bool__(self) -> bool:
        return any((self.reason, self.actor, self.instance, self.queue))

    def has(self, letter: "DeadLetter") -> bool:
        """Whether a letter is meant."""
        wanted = ((self.reason, letter.reason), (self.actor, letter.actor), (self.instance, letter.group))
        return all(want is None or want == found for want, found in wanted)

    def letters(self, broker: "CarrierBroker", *, most: int | None = None) -> "Iterator[DeadLetter]":
        """The letters that are meant, by queue, newest first; of each queue the newest ``most``.

        Raises:
            Refused: there is no such queue.
        """
        from middleware.letters import DeadLetters

        names = sorted(broker.get_declared_queues())
        if self.queue is not None and self.queue not in names:
            raise terminal.Refused(f"no queue {self.queue!r}; there are {', '.join(names)}")
        dead = DeadLetters(broker)
        for name in names if self.queue is None else [self.queue]:
            yield from islice((letter for letter in dead.all(name) if self.has(letter)), most)


def find(dead: "DeadLetters", letter_id: str) -> "DeadLetter":
    """The letter with this id, or this job id.

    Raises:
        Refused: there is none.
    """
    letter = dead.find(letter_id)
    if letter is None:
        raise terminal.Refused(f"no dead letter {letter_id!r}; see: chat-actors dlq list")
    return letter


def summary(letters: "Sequence[DeadLetter]") -> list[tuple[str, str, str, int]]:
    """Reason, actor, instance and how many, the most frequent first."""
    counts = Counter((letter.reason, letter.actor or "-", letter.group or "-") for letter in letters)
    return [(*group, count) for group, count in counts.most_common()]
