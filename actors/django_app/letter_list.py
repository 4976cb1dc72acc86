"""One page of dead letters as the admin lists them: what was asked for, what was found, where to go on."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from actors.django_app.admin_pages import moment
from actors.endings import SEND_ACTOR
from middleware.brokers.redis.broker import CarrierBroker
from middleware.letter_search import LetterQuery
from middleware.letters import DeadLetter, DeadLetters

#: A page ends with the round trip that brings it to so many letters.
ENOUGH = 50
#: A page looks at so many, whatever it finds among them.
LOOKED_AT = 1_000
#: Longest value of the form, in characters. A cursor has the ids that died in one millisecond; servers take no longer URLs.
MAX_CHARS = 6_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterForm:
    """Which letters are asked for; "" = whatever. ``after`` is where the page before ended, for a URL."""

    queue: str = ""
    actor: str = ""
    reason: str = ""
    instance: str = ""
    fingerprint: str = ""
    after: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "LetterForm":
        """Of a request's GET or POST."""
        values = {one.name: str(given.get(one.name, "")).strip() for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if len(value) <= MAX_CHARS})

    def query(self, **changes: str) -> dict[str, str]:
        """The same as a URL's query, without what is empty."""
        return {name: value for name, value in {**asdict(self), **changes}.items() if value}

    @property
    def is_narrowed(self) -> bool:
        """Whether it asks for some letters of a queue only."""
        return any((self.actor, self.reason, self.instance, self.fingerprint))

    def letters(self) -> LetterQuery:
        """The part that an index answers."""
        return LetterQuery(
            reason=self.reason or None, group=self.instance or None, fingerprint=self.fingerprint or None
        )

    def cursor(self) -> str | None:
        """Where to go on, as the search wants it; None = from the newest, also where it cannot be read."""
        try:
            return urlsafe_b64decode(self.after.encode()).decode("utf-8", "surrogatepass") or None
        except (binascii.Error, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterList:
    """What a page shows. ``more`` is the query of the next one, None when that was all; ``queues`` is queue → dead there."""

    queues: dict[str, int] = field(default_factory=dict)
    queue: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    looked_at: int = 0
    more: dict[str, str] | None = None


def read_list(broker: CarrierBroker, form: LetterForm) -> LetterList:
    """Ask Redis for one page: two round trips, and two per hundred letters looked at.

    Raises:
        PipelineError: Redis did not do its part.
    """
    names = sorted(broker.get_declared_queues())
    queues = {stats.queue_name: stats.dead for stats in broker.transitions.stats(names)}
    queue = form.queue if form.queue in queues else SEND_ACTOR
    rows: list[dict[str, Any]] = []
    looked_at, after = 0, None
    pages = DeadLetters(broker).pages(
        queue,
        form.letters(),
        matches=lambda letter: form.actor in ("", letter.actor),
        after=_own_cursor(form),
    )
    for page in pages:
        rows += [_row(letter) for letter in page.letters]
        looked_at += page.looked_at
        after = page.after
        if len(rows) >= ENOUGH or looked_at >= LOOKED_AT:
            break
    else:
        after = None
    place = "" if after is None else urlsafe_b64encode(after.encode("utf-8", "surrogatepass")).decode()
    more = form.query(queue=queue, after=place) if 0 < len(place) <= MAX_CHARS else None
    return LetterList(queues=queues, queue=queue, rows=rows, looked_at=looked_at, more=more)


def _own_cursor(form: LetterForm) -> str | None:
    cursor = form.cursor()
    return cursor if cursor is not None and form.letters().is_place(cursor) else None


def _row(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "died_at": moment(letter.died_at_ms),
        "actor": letter.actor or "unreadable",
        "reason": letter.reason,
        "attempts": letter.attempts,
        "instance": letter.group,
        "lane": letter.lane,
        "error": letter.error,
        "fingerprint": letter.fingerprint,
    }
