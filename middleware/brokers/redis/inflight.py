"""What this process has in its hands: leases, and how many more messages it has threads for.

Filled and emptied by ``exchange``, renewed by the keeper. Prefetch equals idle threads: what was fetched has a thread to run
on, so a crash counts only messages that ran.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from middleware.brokers.redis.transitions import Settlement
from middleware.brokers.redis.values import Fetched, Lease
from middleware.clock import Clock


@dataclass(slots=True)
class Held:
    """One message in hand. Times are boot-clock milliseconds; ``lost`` = another worker has it by now."""

    lease: Lease
    expires_boot_ms: int
    lost: bool = False
    settlement: Settlement | None = None
    is_handed_over: bool = False


class InFlight:
    """Leases of this process. Safe to share between threads."""

    def __init__(self, clock: Clock, *, lease_ms: int) -> None:
        self.clock = clock
        self.lease_ms = lease_ms
        #: Most messages in hand, over all queues; None until a worker says how many threads it has.
        self.capacity: int | None = None
        #: Set whenever a place becomes free; who waits for one clears it first.
        self.place_is_free = threading.Event()
        #: Queues whose messages are slow, and how many of them together may be in hand; None = no bound of their own.
        self.slow_queues: frozenset[str] = frozenset()
        self.slow_capacity: int | None = None
        #: Places that are kept for what was asked for and has not come yet (:mod:`middleware.brokers.redis.standing`).
        self.kept = 0
        self._slow = 0
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()

    def room(self, *, leaving: int = 0) -> int | None:
        """How many more it can take once ``leaving`` of them are gone; None = no bound."""
        # Without the lock: one look at a number that may be another one right after.
        return None if self.capacity is None else max(0, self.capacity - len(self._held) - self.kept + leaving)

    def slow_room(self, *, leaving: int = 0) -> int | None:
        """The same for slow queues alone; None = what :meth:`room` says."""
        return None if self.slow_capacity is None else max(0, self.slow_capacity - self._slow + leaving)

    def takes(self, queue_name: str) -> bool:
        """Whether a message of this queue may be fetched as far as slow queues go."""
        return queue_name not in self.slow_queues or self.slow_room() != 0

    def keep(self, places: int) -> None:
        """Keep places for what is asked for, or, with a number below zero, keep them no longer."""
        with self._lock:
            self.kept += places

    def take(self, messages: Iterable[Fetched], *, asked_boot_ms: int, kept: int = 0) -> None:
        """Have messages in hand; ``kept``: so many places were kept for them.

        ``asked_boot_ms`` is when they were asked for: the server counts from later, so the lease surely lasts that long.
        """
        expires_boot_ms = asked_boot_ms + self.lease_ms
        with self._lock:
            self.kept -= kept
            for one in messages:
                self._held[one.lease.id] = Held(one.lease, expires_boot_ms)
                self._slow += one.lease.queue_name in self.slow_queues

    def settle(self, lease: Lease, settlement: Settlement) -> None:
        """Note what became of a message; it stays in hand, and its lease is renewed, until that is written."""
        with self._lock:
            held = self._held.get(lease.id)
            if held is not None and held.lease.token == lease.token:
                held.settlement = settlement

    def settlement(self, id_: str, *, hands_over: bool = False) -> Settlement | None:
        """What is to be written for a message; None when it is not in hand (any more) or nothing is decided.

        ``hands_over``: whoever asks has it written, so the next to ask is told None.
        """
        with self._lock:
            held = self._held.get(id_)
            if held is None or held.is_handed_over:
                return None
            held.is_handed_over = hands_over and held.settlement is not None
            return held.settlement

    def drop(self, leases: Sequence[Lease], *, tells: bool = True) -> None:
        """Let go of messages whose outcome is written (or which are another's); ``tells`` False: the places are taken next."""
        with self._lock:
            for lease in leases:
                held = self._held.get(lease.id)
                if held is not None and held.lease.token == lease.token:
                    del self._held[lease.id]
                    self._slow -= lease.queue_name in self.slow_queues
        if tells:
            self.tell_of_place()

    def tell_of_place(self) -> None:
        """Wake who waits for a place."""
        # To set it again costs six times as much as to look.
        if not self.place_is_free.is_set():
            self.place_is_free.set()

    def leases(self, *, unsettled: bool = False, below_ms: int | None = None) -> dict[str, list[Lease]]:
        """Leases in hand that are still ours, by queue, in the order in which they were taken.

        ``unsettled``: only of messages whose outcome is not decided. ``below_ms``: only those of which so much or less is left.
        """
        until_boot_ms = None if below_ms is None else self.clock.boot_ms() + below_ms
        by_queue: dict[str, list[Lease]] = {}
        with self._lock:
            for held in self._held.values():
                if held.lost or (unsettled and held.settlement is not None):
                    continue
                if until_boot_ms is None or held.expires_boot_ms <= until_boot_ms:
                    by_queue.setdefault(held.lease.queue_name, []).append(held.lease)
        return by_queue

    def renewed(self, leases: list[Lease], *, lost: set[str], asked_boot_ms: int) -> list[Lease]:
        """Note a renewal that was asked for at ``asked_boot_ms`` (the server counts from later, so this is safe).

        Returns those of the ``lost`` that are another's now; one whose outcome was being written meanwhile is not.
        """
        robbed = []
        with self._lock:
            for lease in leases:
                held = self._held.get(lease.id)
                if held is None or held.lease.token != lease.token:
                    continue
                if lease.id not in lost:
                    held.expires_boot_ms = asked_boot_ms + self.lease_ms
                elif held.settlement is None:
                    held.lost = True
                    robbed.append(lease)
        return robbed

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
