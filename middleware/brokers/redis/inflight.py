"""What this process has in its hands: leases, free threads, and who waits for one.

Filled by consumers, emptied by acknowledgements, renewed by the keeper. Prefetch equals idle threads: what was fetched has
a thread to run on, so a crash counts only messages that ran.
"""

import threading
from dataclasses import dataclass

from middleware.brokers.redis.transitions import Lease
from middleware.clock import Clock
from middleware.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a message, decided and not yet written."""

    outcome: Outcome
    body: bytes


@dataclass(slots=True)
class Held:
    """One message in hand. Times are boot-clock milliseconds; ``lost`` = another worker has it by now."""

    lease: Lease
    expires_boot_ms: int
    lost: bool = False
    settlement: Settlement | None = None


class InFlight:
    """Leases of this process. Safe to share between threads."""

    def __init__(self, clock: Clock, *, lease_ms: int) -> None:
        self.clock = clock
        self.lease_ms = lease_ms
        #: Most messages in hand, over all queues; None until a worker says how many threads it has.
        self.capacity: int | None = None
        self._held: dict[str, Held] = {}
        self._reserved = 0
        self._waiting: set[threading.Event] = set()
        self._lock = threading.Lock()

    def reserve(self, wanted: int, *, bell: threading.Event) -> int:
        """Set aside up to ``wanted`` places for a fetch; with none free, ``bell`` is rung when one is."""
        with self._lock:
            free = wanted if self.capacity is None else self.capacity - len(self._held) - self._reserved
            granted = max(0, min(wanted, free))
            if granted == 0:
                self._waiting.add(bell)
            self._reserved += granted
            return granted

    def fill(self, leases: list[Lease], *, reserved: int, asked_boot_ms: int) -> None:
        """Turn a reservation into leases in hand; places that stayed empty are free again.

        ``asked_boot_ms`` is when the fetch was asked for: the server counts from later, so the lease surely lasts that long.
        """
        expires_boot_ms = asked_boot_ms + self.lease_ms
        with self._lock:
            self._reserved -= reserved
            for lease in leases:
                self._held[lease.id] = Held(lease, expires_boot_ms)
            spare = reserved > len(leases)
        if spare:
            self._ring()

    def settle(self, lease: Lease, settlement: Settlement) -> None:
        """Note what became of a message; it stays in hand, and its lease is renewed, until that is written."""
        with self._lock:
            held = self._held.get(lease.id)
            if held is not None and held.lease.token == lease.token:
                held.settlement = settlement

    def settlement(self, id_: str) -> tuple[Lease, Settlement] | None:
        """What is to be written for a message; None when it is not in hand (any more) or nothing is decided."""
        with self._lock:
            held = self._held.get(id_)
            return (held.lease, held.settlement) if held is not None and held.settlement is not None else None

    def drop(self, lease: Lease) -> None:
        """Let go of a message whose outcome is written (or which is another's)."""
        with self._lock:
            held = self._held.get(lease.id)
            if held is not None and held.lease.token == lease.token:
                del self._held[lease.id]
        self._ring()

    def _ring(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for bell in waiting:
            bell.set()

    def leases(self) -> dict[str, list[Lease]]:
        """Leases in hand that are still ours, by queue, in the order in which they were taken."""
        by_queue: dict[str, list[Lease]] = {}
        with self._lock:
            for held in self._held.values():
                if not held.lost:
                    by_queue.setdefault(held.lease.queue_name, []).append(held.lease)
        return by_queue

    def renewed(self, leases: list[Lease], *, lost: set[str], asked_boot_ms: int) -> None:
        """Note a renewal that was asked for at ``asked_boot_ms`` (the server counts from later, so this is safe)."""
        with self._lock:
            for lease in leases:
                held = self._held.get(lease.id)
                if held is None or held.lease.token != lease.token:
                    continue
                if lease.id in lost:
                    held.lost = True
                else:
                    held.expires_boot_ms = asked_boot_ms + self.lease_ms

    def left_ms(self, lease: Lease) -> int:
        """How long the lease is still surely ours; 0 when it is lost or unknown."""
        with self._lock:
            held = self._held.get(lease.id)
            if held is None or held.lost or held.lease.token != lease.token:
                return 0
            return max(0, held.expires_boot_ms - self.clock.boot_ms())

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)
