"""Keep what this process holds, and what nobody holds, in order.

One thread per worker process: every two seconds it renews the leases in hand of which a third is over by its next round, and
lets Redis promote, reclaim and trim (``tend.lua``), on every process alike: no leader, no dice. It never runs an actor or a
callback.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from middleware.brokers.redis.inflight import InFlight
from middleware.brokers.redis.roster import SIGN_EVERY_MS, SignOfLife
from middleware.brokers.redis.stock import adopt_stock
from middleware.brokers.redis.transitions import Transitions
from middleware.brokers.redis.values import Tended
from middleware.clock import Clock
from middleware.errors import PipelineError

logger = logging.getLogger(__name__)

#: A dead worker's messages are back at most this long after their lease ended, in milliseconds.
TEND_EVERY_MS = 2_000
#: How often it looks for stock workers that are gone, in milliseconds.
ADOPT_EVERY_MS = 60_000


@dataclass(frozen=True, slots=True)
class CarePolicy:
    """Limits that the keeper applies."""

    lease_ms: int
    max_deliveries: int


class Keeper:
    """The care thread. ``on_tended`` is told what each round found."""

    def __init__(
        self,
        transitions: Transitions,
        in_flight: InFlight,
        *,
        policy: CarePolicy,
        clock: Clock,
        queue_names: Callable[[], set[str]],
        on_tended: Callable[[Tended], None],
    ) -> None:
        self.transitions = transitions
        self.in_flight = in_flight
        self.policy = policy
        self.clock = clock
        self.queue_names = queue_names
        self.on_tended = on_tended
        #: Who serves queues in this process; None while nobody does.
        self.sign: Callable[[], SignOfLife | None] = lambda: None
        self._next_sign_boot_ms = 0
        self._next_adoption_boot_ms = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        #: Boot-clock time of the last successful round, and of the last one at all; health reads them.
        self.last_round_boot_ms = 0
        self.last_turn_boot_ms = 0

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it is gone or after 3 s."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(3)

    def _run(self) -> None:
        pause_s = self._pause_ms / 1000
        while not self._stopping.is_set():
            self.last_turn_boot_ms = self.clock.boot_ms()
            try:
                self.renew()
                self.tend()
                if self.clock.boot_ms() >= self._next_adoption_boot_ms:
                    self._next_adoption_boot_ms = self.clock.boot_ms() + ADOPT_EVERY_MS
                    adopt_stock(self.transitions, sorted(self.queue_names()))
                self.last_round_boot_ms = self.clock.boot_ms()
            except PipelineError as error:
                logger.warning("keeper.round_failed", extra={"code": error.code})
            except Exception as error:
                # This thread must outlive every surprise: without it leases run out under a healthy worker.
                logger.critical("keeper.round_broken", extra={"code": type(error).__name__})
            self.clock.wait(pause_s, until=self._stopping)

    @property
    def _pause_ms(self) -> int:
        # Renewals set the pace when leases are short (tests, demo).
        return min(TEND_EVERY_MS, self.policy.lease_ms // 3)

    def renew(self) -> None:
        """Prolong the leases in hand of which less than two thirds would be left at the next round; note which were lost."""
        below_ms = self.policy.lease_ms * 2 // 3 + self._pause_ms
        for queue_name, leases in self.in_flight.leases(below_ms=below_ms).items():
            asked_boot_ms = self.clock.boot_ms()
            lost = self.transitions.renew(queue_name, leases, lease_ms=self.policy.lease_ms)
            for lease in self.in_flight.renewed(leases, lost=lost, asked_boot_ms=asked_boot_ms):
                logger.warning("lease.lost", extra={"redis_message_id": lease.id, "queue": queue_name})

    def tend(self) -> None:
        """Let Redis promote, reclaim and trim all declared queues."""
        names = sorted(self.queue_names())
        if not names:
            return
        for tended in self.transitions.tend(names, max_deliveries=self.policy.max_deliveries, sign=self._due_sign()):
            if tended.reclaimed or tended.buried:
                logger.warning(
                    "messages.reclaimed",
                    extra={"queue": tended.queue_name, "reclaimed": tended.reclaimed, "buried": tended.buried},
                )
            self.on_tended(tended)

    def _due_sign(self) -> SignOfLife | None:
        now_ms = self.clock.boot_ms()
        if now_ms < self._next_sign_boot_ms:
            return None
        sign = self.sign()
        if sign is not None:
            self._next_sign_boot_ms = now_ms + SIGN_EVERY_MS
        return sign
