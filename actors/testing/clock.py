"""A clock that skips waits: what is put back for an hour runs at once, and to the code an hour has passed."""

import threading

from middleware.clock import SystemClock


class SkippingClock(SystemClock):
    """The machine's clocks, moved forward by whoever calls :meth:`skip`. Safe to call from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._skipped_ms = 0

    def skip(self, ms: int) -> None:
        """Move both clocks forward."""
        with self._lock:
            self._skipped_ms += max(0, ms)

    def now_ms(self) -> int:
        """See :meth:`middleware.clock.Clock.now_ms`."""
        return super().now_ms() + self._skipped_ms

    def boot_ms(self) -> int:
        """See :meth:`middleware.clock.Clock.boot_ms`."""
        return super().boot_ms() + self._skipped_ms
