"""When an alert is raised, when it is cleared, and that each is told once. Pure.

A *rule* has two lines, so that a value that hovers around one does not raise and clear in turn, and times for which a value must
stay beyond a line before it counts. A *fact* is a value of a rule's subject (a queue, an instance). What stands is a *book*:
one :class:`Standing` for each subject that is raised, is about to be, or has something left to be told.

    quiet ──≥ raise_at for for_ms──► raised ──< clear_below for clear_for_ms──► cleared ──told──► (forgotten)

``alert_book`` keeps one book for all processes and tells what :func:`claim` gives it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

#: Most standings in a book: what is more is not noted until others are over.
MAX_STANDINGS = 200
#: Longest detail, in characters.
MAX_DETAIL = 120

Key = tuple[str, str]
Book = dict[Key, "Standing"]


class State(StrEnum):
    """How a subject stands."""

    #: Below its line, or not for long enough beyond it.
    QUIET = "quiet"
    #: A person shall look.
    RAISED = "raised"
    #: It is over, and that is still to be told.
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Lines and times of one kind of alert; ``clear_below`` is not above ``raise_at``."""

    name: str
    raise_at: float
    clear_below: float
    for_ms: int = 0
    clear_for_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A value now. ``detail`` says more in ids, codes and numbers; None for what cannot be known now, which changes nothing."""

    rule: str
    subject: str
    value: float | None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one subject of one rule stands.

    Attributes:
        crossed_at_ms: since when its value is beyond the line that ends its state; None while it is not.
        raised_at_ms: when it was raised; names the alert.
        is_told: whether its state was told.
        telling_until_ms: until then somebody is telling it.
    """

    rule: str
    subject: str
    state: State = State.QUIET
    value: float = 0.0
    detail: str = ""
    crossed_at_ms: int | None = None
    raised_at_ms: int = 0
    is_told: bool = True
    telling_until_ms: int = 0

    @property
    def key(self) -> Key:
        """Whose standing it is."""
        return self.rule, self.subject


def advance(
    book: Mapping[Key, Standing],
    facts: Iterable[Fact],
    rules: Mapping[str, Rule],
    *,
    now_ms: int,
    whole: Iterable[str] = (),
) -> Book:
    """The book after these facts.

    ``whole``: rules whose facts are all there, so that a subject without one is at 0. Of other rules only the subjects named
    are touched. What stands under a rule that is no more is cleared.
    """
    known = {(fact.rule, fact.subject): fact for fact in facts}
    after: Book = {}
    for key in [*book, *(key for key in known if key not in book)]:
        standing = book.get(key, Standing(rule=key[0], subject=key[1]))
        rule = rules.get(standing.rule)
        if rule is None:
            moved = _over(standing)
        else:
            fact = known.get(key)
            if fact is None and rule.name in whole:
                fact = Fact(rule=rule.name, subject=standing.subject, value=0.0)
            moved = standing if fact is None or fact.value is None else _moved(standing, fact, rule, now_ms)
        if moved.crossed_at_ms is not None or moved.state is not State.QUIET:
            after[key] = moved
    return _capped(after)


def _moved(standing: Standing, fact: Fact, rule: Rule, now_ms: int) -> Standing:
    value = fact.value or 0.0
    seen = replace(standing, value=value, detail=fact.detail[:MAX_DETAIL] or standing.detail)
    if standing.state is State.CLEARED:
        # What was raised was told; its end comes before a new beginning.
        return standing
    is_raised = standing.state is State.RAISED
    if not (value < rule.clear_below if is_raised else value >= rule.raise_at):
        return replace(seen, crossed_at_ms=None)
    since_ms = now_ms if standing.crossed_at_ms is None else standing.crossed_at_ms
    if now_ms - since_ms < (rule.clear_for_ms if is_raised else rule.for_ms):
        return replace(seen, crossed_at_ms=since_ms)
    if is_raised:
        return _over(seen)
    return replace(seen, state=State.RAISED, crossed_at_ms=None, raised_at_ms=now_ms, is_told=False, telling_until_ms=0)


def _over(standing: Standing) -> Standing:
    if standing.state is not State.RAISED:
        return standing if standing.state is State.CLEARED else replace(standing, crossed_at_ms=None)
    return replace(standing, state=State.CLEARED, crossed_at_ms=None, is_told=False, telling_until_ms=0)


def _capped(book: Book) -> Book:
    if len(book) <= MAX_STANDINGS:
        return book
    # Those that were told of first: forgetting one of them would tell it again.
    first = sorted(book.values(), key=lambda one: (one.state is State.QUIET, one.raised_at_ms))[:MAX_STANDINGS]
    return {one.key: one for one in first}


def claim(book: Mapping[Key, Standing], *, now_ms: int, hold_ms: int) -> tuple[Book, list[Standing]]:
    """What is to be told now, and the book in which that is noted; whoever does not say so in time leaves it to another."""
    due = [one for one in book.values() if not one.is_told and one.telling_until_ms <= now_ms]
    held = {one.key: replace(one, telling_until_ms=now_ms + hold_ms) for one in due}
    return {**book, **held}, due


def told(book: Mapping[Key, Standing], notices: Iterable[Standing]) -> Book:
    """The book when these were told. What has changed since is still to be told."""
    after = dict(book)
    for notice in notices:
        now = after.get(notice.key)
        if now is None or (now.state, now.raised_at_ms) != (notice.state, notice.raised_at_ms):
            continue
        if now.state is State.CLEARED:
            del after[notice.key]
        else:
            after[notice.key] = replace(now, is_told=True, telling_until_ms=0)
    return after


def to_text(book: Mapping[Key, Standing]) -> str:
    """The book as it is kept; the same book is the same text."""
    return json.dumps([asdict(one) for one in sorted(book.values(), key=lambda one: one.key)], separators=(",", ":"))


def from_text(text: str) -> Book:
    """A kept book; one that cannot be read is empty: what is still so is raised again."""
    try:
        return {one.key: one for one in map(_standing, json.loads(text or "[]"))}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _standing(kept: dict[str, Any]) -> Standing:
    # In a rolling deploy a newer process may have written more.
    known = {one.name: kept[one.name] for one in fields(Standing) if one.name in kept}
    return Standing(**{**known, "state": State(kept["state"])})
