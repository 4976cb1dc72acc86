"""Time from outside: everything that needs the time or a wait takes a clock.

The carrier's own times (eta, lease, death) come from Redis; this clock serves what happens outside it.
"""

import threading
import time
from datetime import UTC, datetime
from typing import Literal, Protocol


class Clock(Protocol):
    """Wall and boot time. Safe to call from many threads."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; for storing, never for subtracting."""
        ...

    def boot_ms(self) -> int:
        """Milliseconds since the machine booted, sleep included; for subtracting, never for storing."""
        ...

    def wait(self, seconds: float, *, until: threading.Event) -> bool:
        """Wait at most ``seconds`` or until the event is set; True when it was set."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """See :meth:`Clock.now_ms`."""
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        """See :meth:`Clock.boot_ms`; CLOCK_BOOTTIME, because a lease runs on while a virtual machine is paused."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wait(self, seconds: float, *, until: threading.Event) -> bool:
        """See :meth:`Clock.wait`."""
        return until.wait(seconds)


def iso(at_ms: int, *, to: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """A time as JSON shows it: ``2026-11-26T14:00:00+00:00``; ``at_ms`` is milliseconds since 1970."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec=to)
