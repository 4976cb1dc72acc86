"""When to look at which queue though no token comes. Pure but for the clock; ``waiter`` asks it how long to block."""

import threading

from middleware.clock import Clock

#: Shortest block, in seconds; 0 would block for ever.
SHORTEST_S = 0.001


class Timetable:
    """Two times for each queue, in boot-clock milliseconds: when time brings something, when to try again. Safe to share."""

    def __init__(self, clock: Clock, *, horizon_s: float) -> None:
        """Nothing waits longer than ``horizon_s``."""
        self._clock = clock
        self._horizon_s = horizon_s
        self._due_boot_ms: dict[str, int] = {}
        self._again_boot_ms: dict[str, int] = {}
        self._lock = threading.Lock()

    def due(self, queue_name: str, in_ms: int | None) -> bool:
        """Time brings something to the queue in ``in_ms`` (None: never); True when that is nearer than what was known."""
        return self._set(self._due_boot_ms, queue_name, in_ms)

    def again(self, queue_name: str, in_ms: int) -> bool:
        """The queue is to be tried again in ``in_ms``, whatever comes due there; True as above."""
        return self._set(self._again_boot_ms, queue_name, in_ms)

    def _set(self, times: dict[str, int], queue_name: str, in_ms: int | None) -> bool:
        with self._lock:
            before = times.pop(queue_name, None)
            if in_ms is None:
                return False
            times[queue_name] = at_boot_ms = self._clock.boot_ms() + in_ms
            return in_ms < self._horizon_s * 1000 and (before is None or at_boot_ms < before)

    def block_s(self) -> float:
        """How long may be waited, in seconds."""
        with self._lock:
            now_ms = self._clock.boot_ms()
            times = (*self._due_boot_ms.values(), *self._again_boot_ms.values())
            nearest_ms = min(times, default=now_ms + int(self._horizon_s * 1000))
        return max(SHORTEST_S, min(self._horizon_s, (nearest_ms - now_ms) / 1000))

    def take_due(self) -> list[str]:
        """Queues whose time has come, each once."""
        with self._lock:
            now_ms = self._clock.boot_ms()
            due = set()
            for times in (self._due_boot_ms, self._again_boot_ms):
                passed = [name for name, at_ms in times.items() if at_ms <= now_ms]
                due.update(passed)
                for name in passed:
                    del times[name]
        return sorted(due)
