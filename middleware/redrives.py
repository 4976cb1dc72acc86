"""Send many dead letters again: oldest first, at a rate, and no further once those that went die of the same again.

``dlq redrive`` runs it over a search that is as long as the queue's dead letters; nothing is held but the ids of the last
:data:`WATCHED`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from middleware.brokers.redis.scripts import translated
from middleware.letters import DeadLetter, DeadLetters

#: Letters that were sent again and are looked after, the last ones.
WATCHED = 1_000
#: So many are sent between two looks at the ones before, and so long at most, in milliseconds.
LOOK_EVERY = 100
LOOK_EVERY_MS = 1_000

Prepare = Callable[[DeadLetter], object]


class Redrives:
    """One run over many letters.

    Args:
        per_s: how many a second at most; None = as fast as Redis takes them.
        stop_after: end once so many of those that went are dead letters again; None = never.
        changes: arguments that each gets a new value of.
        prepare: makes the host ready for one, see :meth:`DeadLetters.redrive`.
    """

    def __init__(
        self,
        dead: DeadLetters,
        *,
        per_s: float | None = None,
        stop_after: int | None = None,
        changes: Mapping[str, Any] | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self.dead = dead
        self.clock = dead.broker.clock
        self.per_s = per_s
        self.stop_after = stop_after
        self.changes = changes
        self.prepare = prepare
        #: What became of the letters, by the words of :meth:`DeadLetters.redrive`.
        self.states: Counter[str] = Counter()
        #: Those of the last ones that are dead letters again.
        self.died_again = 0
        self.is_stopped = False
        self._watched: deque[tuple[str, str]] = deque(maxlen=WATCHED)
        self._looked_boot_ms = self.clock.boot_ms()
        self._since_look = 0

    def run(self, letters: Iterable[DeadLetter]) -> Iterator[tuple[DeadLetter, str]]:
        """Send them in the order given, each to the end of its lane; yields each with what became of it.

        Stops when the caller stops asking, when the broker is closed, or when :attr:`stop_after` says so
        (:attr:`is_stopped`).
        """
        next_boot_ms = float(self.clock.boot_ms())
        for letter in letters:
            wait_ms = next_boot_ms - self.clock.boot_ms()
            if wait_ms > 0:
                self.clock.wait(wait_ms / 1000, until=self.dead.broker.machinery.stopping)
            if self._must_stop():
                return
            prepare = None if self.prepare is None else partial(self.prepare, letter)
            state = self.dead.redrive(letter, prepare=prepare, changes=self.changes)
            self.states[state] += 1
            if state == "redriven":
                self._watched.append((letter.queue, letter.id))
            yield letter, state
            if self.per_s is not None:
                next_boot_ms = max(next_boot_ms, float(self.clock.boot_ms())) + 1000 / self.per_s

    def look(self) -> int:
        """Count those of the last ones that are dead letters again, by now."""
        self._looked_boot_ms, self._since_look = self.clock.boot_ms(), 0
        by_queue: dict[str, list[str]] = {}
        for queue_name, id_ in self._watched:
            by_queue.setdefault(queue_name, []).append(id_)
        client, keys = self.dead.broker.client, self.dead.broker.machinery.keys
        self.died_again = 0
        for queue_name, ids in by_queue.items():
            with translated(f"looking after what was sent again on {queue_name}"):
                scores: Any = client.zmscore(keys.of(queue_name, "dead"), ids)
            self.died_again += sum(score is not None for score in scores)
        return self.died_again

    def _must_stop(self) -> bool:
        self._since_look += 1
        is_due = self.clock.boot_ms() - self._looked_boot_ms >= LOOK_EVERY_MS or self._since_look >= LOOK_EVERY
        if self.stop_after is not None and is_due:
            self.is_stopped = self.look() >= self.stop_after
        return self.is_stopped
