"""Which dead letters a command means.

The ``dlq`` commands take their options with :func:`filtered` and look with :meth:`Filter.search` or :meth:`Filter.each`.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli import terminal, times

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker
    from middleware.letter_search import LetterQuery
    from middleware.letters import DeadLetter, DeadLetters

Reason = Annotated[str | None, typer.Option(help="Only those given up for this reason.")]
Actor = Annotated[str | None, typer.Option(help="Only those of this actor.")]
Instance = Annotated[str | None, typer.Option(help="Only those of this instance.")]
Queue = Annotated[str | None, typer.Option(help="Only those of this queue.")]
Fingerprint = Annotated[str | None, typer.Option(help="Only those that died of the same; see dlq groups.")]
Conversation = Annotated[str | None, typer.Option(help="Only those of this conversation (lane).")]
Since = Annotated[str | None, typer.Option(help="Only those that died since: 90m, 2h, 7d or a time.")]
Until = Annotated[str | None, typer.Option(help="Only those that died until: 90m (ago), 2h, 7d or a time.")]
Args = Annotated[list[str] | None, typer.Option("--arg", metavar="NAME=VALUE", help="Only those with this argument.")]
Text = Annotated[
    str | None, typer.Option("--text", help="Only those whose error, code or arguments have this in them.")
]

#: What :func:`filtered` adds: field of :class:`Filter` → type.
_OPTIONS: dict[str, Any] = {
    "reason": Reason,
    "actor": Actor,
    "instance": Instance,
    "queue": Queue,
    "fingerprint": Fingerprint,
    "conversation": Conversation,
    "since": Since,
    "until": Until,
    "args": Args,
    "text": Text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Part of a search. ``after`` is where it goes on, None when that was all."""

    letters: "list[DeadLetter]"
    looked_at: int
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What letters must be like; None = whatever. Times are milliseconds since 1970."""

    reason: str | None = None
    actor: str | None = None
    instance: str | None = None
    queue: str | None = None
    fingerprint: str | None = None
    conversation: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    args: tuple[tuple[str, str], ...] = ()
    text: str | None = None

    def __bool__(self) -> bool:
        return any(value not in (None, ()) for value in self.as_facts().values())

    def as_facts(self) -> dict[str, Any]:
        """What is asked for, for the audit trail."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) not in (None, ())}

    def query(self) -> "LetterQuery":
        """The part that an index answers."""
        from middleware.letter_search import LetterQuery

        return LetterQuery(
            fingerprint=self.fingerprint,
            reason=self.reason,
            group=self.instance,
            lane=self.conversation,
            died_from_ms=self.since_ms,
            died_until_ms=self.until_ms,
        )

    def has(self, letter: "DeadLetter") -> bool:
        """Whether a letter is meant, as far as no index tells."""
        return (
            self.actor in (None, letter.actor)
            and all(str(letter.kwargs.get(name)) == value for name, value in self.args)
            and (self.text is None or any(self.text.lower() in word.lower() for word in _words(letter)))
        )

    def queues(self, broker: "CarrierBroker") -> list[str]:
        """The queues that are meant.

        Raises:
            Refused: there is no such queue.
        """
        names = sorted(broker.get_declared_queues())
        if self.queue is not None and self.queue not in names:
            raise terminal.Refused(f"no queue {self.queue!r}; there are {', '.join(names)}")
        return names if self.queue is None else [self.queue]

    def search(
        self, broker: "CarrierBroker", queue_name: str, *, enough: int, look_at: int, after: str | None = None
    ) -> Found:
        """Letters of a queue, newest first, until ``enough`` are found or ``look_at`` were looked at (to the page's end)."""
        from middleware.letters import DeadLetters

        found: list[DeadLetter] = []
        looked_at = 0
        for page in DeadLetters(broker).pages(queue_name, self.query(), matches=self.has, after=after):
            found += page.letters
            looked_at += page.looked_at
            if len(found) >= enough or looked_at >= look_at:
                return Found(letters=found, looked_at=looked_at, after=page.after)
        return Found(letters=found, looked_at=looked_at, after=None)

    def each(self, broker: "CarrierBroker") -> "Iterator[DeadLetter]":
        """All letters that are meant, by queue, the first to die first: as each must go to the end of its conversation."""
        from middleware.letters import DeadLetters

        dead = DeadLetters(broker)
        for name in self.queues(broker):
            for page in dead.pages(name, self.query(), matches=self.has, oldest_first=True):
                yield from page.letters

    def before(self, now_ms: int) -> "Filter":
        """The same of those that are dead by now: what is sent again and dies meanwhile is not met twice."""
        return replace(self, until_ms=now_ms if self.until_ms is None else min(self.until_ms, now_ms))


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of :class:`Filter`; it gets ``chosen``."""
    own = inspect.signature(command)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _OPTIONS.items()
    ]

    @wraps(command)
    def call(*args: Any, **given: Any) -> Any:
        values = {name: given.pop(name) for name in _OPTIONS}
        return command(*args, chosen=_read(values), **given)

    kept = [one for one in own.parameters.values() if one.name != "chosen"]
    positional = [one for one in kept if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    named = [one for one in kept if one.kind is inspect.Parameter.KEYWORD_ONLY]
    call.__signature__ = own.replace(parameters=[*positional, *added, *named])  # type: ignore[attr-defined]
    call.__annotations__ = {**{one.name: one.annotation for one in (*kept, *added)}, "return": own.return_annotation}
    return call


def _read(values: dict[str, Any]) -> Filter:
    now_ms = times.now_ms()
    given = {name: value for name, value in values.items() if name not in ("since", "until", "args")}
    pairs = []
    for text in values["args"] or ():
        name, separator, value = text.partition("=")
        if not separator:
            raise terminal.Refused(f"--arg {text!r} names no value; write --arg name=value")
        pairs.append((name, value))
    since, until = (times.read_ms(values[name], now_ms=now_ms) for name in ("since", "until"))
    return Filter(**given, args=tuple(pairs), since_ms=since, until_ms=until)


def _words(letter: "DeadLetter") -> list[str]:
    told = [letter.reason, letter.error, letter.error_class, letter.group, letter.lane, *letter.kwargs.values()]
    return [str(word) for word in told if word is not None]


def find(dead: "DeadLetters", letter_id: str) -> "DeadLetter":
    """The letter with this id, or this job id.

    Raises:
        Refused: there is none.
    """
    letter = dead.find(letter_id)
    if letter is None:
        raise terminal.Refused(f"no dead letter {letter_id!r}; see: chat-actors dlq list")
    return letter


@dataclass(slots=True)
class Tally:
    """Letters counted by reason, actor and instance, without keeping them."""

    counts: "Counter[tuple[str, str, str]]" = field(default_factory=Counter)
    oldest_ms: int | None = None
    newest_ms: int | None = None

    def add(self, letters: "Iterable[DeadLetter]") -> "Tally":
        """Count these, too."""
        for letter in letters:
            self.counts[(letter.reason, letter.actor or "-", letter.group or "-")] += 1
            self.oldest_ms = min(self.oldest_ms or letter.died_at_ms, letter.died_at_ms)
            self.newest_ms = max(self.newest_ms or letter.died_at_ms, letter.died_at_ms)
        return self

    @property
    def total(self) -> int:
        """All of them."""
        return self.counts.total()

    def of(self, reason: str) -> int:
        """Those with this reason."""
        return sum(count for (one, _, _), count in self.counts.items() if one == reason)

    def rows(self) -> list[tuple[str, str, str, int]]:
        """Reason, actor, instance and how many, the most frequent first."""
        return [(*group, count) for group, count in self.counts.most_common()]
