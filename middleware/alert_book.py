"""One book of alerts for all processes, and what is told of it.

Kept in one hash beside the queues: the book is replaced only if it is still what was read, so of all replicas one tells a change.
Should that one die before it has told, another does a minute later. Where Redis cannot keep it (away, read-only, full before
Redis 7), a process keeps a book of its own until Redis is back.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis

from middleware import alerts
from middleware.alerts import Book, Fact, Rule, Standing, State
from middleware.brokers.redis.scripts import translated
from middleware.clock import Clock
from middleware.errors import PipelineError

logger = logging.getLogger(__name__)

#: Whoever has claimed a change tells it within this time, in milliseconds, or another does.
HOLD_MS = 60_000
#: Tries against others who change the book at the same time.
TRIES = 8
#: Processes that cannot see each other name an alert by the hour of its beginning, in milliseconds.
ALIKE_MS = 60 * 60 * 1000

#: A full Redis must still take down that it is full; before 7 a script cannot ask for that.
_ALLOW_OOM = "#!lua flags=allow-oom\n"

#: Told of a change; ``key`` is the same for whoever tells the same change. Raises nothing.
Tell = Callable[[Standing, str], None]


@cache
def _source() -> str:
    return (files("middleware") / "alert_book.lua").read_text(encoding="utf-8")


class AlertBook:
    """Advances the book and has changes told. Safe to share between threads and processes."""

    def __init__(self, client: Callable[[], "redis.Redis"], key: str, *, tell: Tell, clock: Clock) -> None:
        self._client = client
        self.key = key
        self.tell = tell
        self.clock = clock
        self._local: Book = {}
        self._is_flagged = True

    def advance(
        self, facts: Sequence[Fact], rules: Mapping[str, Rule], *, whole: Collection[str] = ()
    ) -> list[Standing]:
        """Take in facts, see :func:`middleware.alerts.advance`, and tell what changed; returns what this call has told."""
        try:
            notices = self._claimed(facts, rules, whole)
        except PipelineError as error:
            logger.warning("alerts.kept_in_process", extra={"code": error.code})
            return self.advance_here(facts, rules)
        for notice in notices:
            self.tell(notice, f"{notice.rule}:{notice.subject}:{notice.raised_at_ms}:{notice.state}")
        if notices:
            self._note_told(notices)
        if self._local:
            self._end_local(facts, rules, whole)
        return notices

    def standing(self) -> list[Standing]:
        """What is raised now.

        Raises: see :func:`middleware.brokers.redis.scripts.translated`.
        """
        _, text, _ = self._read()
        return [one for one in alerts.from_text(text).values() if one.state is State.RAISED]

    def age_ms(self) -> int | None:
        """How long ago somebody looked at all facts; None when nobody has.

        Raises: see :func:`middleware.brokers.redis.scripts.translated`.
        """
        now_ms, _, looked_at_ms = self._read()
        return None if looked_at_ms is None else max(0, now_ms - looked_at_ms)

    # -- for all processes ----------------------------------------------------------------------------------------

    def _claimed(self, facts: Sequence[Fact], rules: Mapping[str, Rule], whole: Collection[str]) -> list[Standing]:
        for _ in range(TRIES):
            now_ms, text, _ = self._read()
            book = alerts.advance(alerts.from_text(text), facts, rules, now_ms=now_ms, whole=whole)
            book, notices = alerts.claim(book, now_ms=now_ms, hold_ms=HOLD_MS)
            if self._swap(text, alerts.to_text(book), looked=bool(whole)):
                return notices
        # So many others look at the same time; what is left is told by the next look.
        return []

    def _note_told(self, notices: Sequence[Standing]) -> None:
        try:
            for _ in range(TRIES):
                _, text, _ = self._read()
                if self._swap(text, alerts.to_text(alerts.told(alerts.from_text(text), notices)), looked=False):
                    return
        except PipelineError as error:
            # Told once more later, under the same name.
            logger.warning("alerts.not_noted", extra={"code": error.code})

    def _read(self) -> tuple[int, str, int | None]:
        with translated("reading the alerts"):
            pipeline = self._client().pipeline(transaction=False)
            pipeline.time()
            pipeline.hmget(self.key, ["book", "looked_at_ms"])
            (seconds, microseconds), (book, looked_at_ms) = pipeline.execute()
        text = "" if book is None else book.decode()
        return seconds * 1000 + microseconds // 1000, text, None if looked_at_ms is None else int(looked_at_ms)

    def _swap(self, seen: str, new: str, *, looked: bool) -> bool:
        if seen == new and not looked:
            return True
        args = (seen, new, "1" if looked else "0")
        with translated("keeping the alerts"):
            if self._is_flagged:
                try:
                    return bool(self._eval(_ALLOW_OOM + _source(), args))
                except redis.ResponseError as error:
                    if "near '#'" not in str(error):
                        raise
                    self._is_flagged = False
            return bool(self._eval(_source(), args))

    def _eval(self, script: str, args: Sequence[str]) -> Any:
        return self._client().eval(script, 1, self.key, *args)

    # -- without Redis --------------------------------------------------------------------------------------------

    def advance_here(self, facts: Sequence[Fact], rules: Mapping[str, Rule]) -> list[Standing]:
        """The same in the book of this process alone: Redis cannot keep it, or is what it is about."""
        now_ms = self.clock.now_ms()
        self._local = alerts.advance(self._local, facts, rules, now_ms=now_ms)
        return self._tell_local(now_ms)

    def _end_local(self, facts: Sequence[Fact], rules: Mapping[str, Rule], whole: Collection[str]) -> None:
        """What was raised while Redis was away is cleared as its facts say; nothing new is raised here."""
        now_ms = self.clock.now_ms()
        known = [fact for fact in facts if (fact.rule, fact.subject) in self._local]
        raised = {key: one for key, one in self._local.items() if one.state is not State.QUIET}
        self._local = alerts.advance(raised, known, rules, now_ms=now_ms, whole=whole)
        self._tell_local(now_ms)

    def _tell_local(self, now_ms: int) -> list[Standing]:
        self._local, notices = alerts.claim(self._local, now_ms=now_ms, hold_ms=HOLD_MS)
        for notice in notices:
            self.tell(notice, f"{notice.rule}:{notice.subject}:{notice.raised_at_ms // ALIKE_MS}:{notice.state}")
        self._local = alerts.told(self._local, notices)
        return notices
