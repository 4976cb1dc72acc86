"""Take the vitals of a worker process: threads, attempts past their limit, the care of leases, what it depends on.

Stands in the stack of our broker; ``reporter`` and the process's own exposition ask it. Taking them asks nobody and waits for
nothing: what lies outside is asked by probes, each in a thread of its own, and only their last answer is told.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

import dramatiq
from dramatiq import Broker, MessageProxy, Middleware
from dramatiq.middleware import TimeLimit

from middleware.brokers.redis.broker import CarrierBroker
from middleware.clock import Clock, SystemClock
from middleware.errors import Described
from middleware.rss import rss_bytes
from middleware.vitals import Probed, Vitals

logger = logging.getLogger(__name__)

#: An attempt whose time limit has passed so long ago does not hear of it: its thread hangs outside the interpreter.
GRACE_MS = 30_000
#: Time between two questions of a probe, in seconds.
PROBE_EVERY_S = 10.0


class Probe:
    """Asks ``check`` again and again in a thread of its own; what it raises is a no. One that hangs makes its answer old."""

    def __init__(self, check: Callable[[], object], *, clock: Clock, every_s: float = PROBE_EVERY_S) -> None:
        self.check = check
        self.clock = clock
        self.every_s = every_s
        self._last: tuple[bool, str, int] | None = None
        self._stopping = threading.Event()

    def start(self, name: str) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name=f"probe-{name}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; returns at once."""
        self._stopping.set()

    def last(self) -> Probed:
        """The last answer."""
        if self._last is None:
            return Probed(is_well=False, found="", age_ms=None)
        is_well, found, at_ms = self._last
        return Probed(is_well=is_well, found=found, age_ms=self.clock.boot_ms() - at_ms)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.check()
            except Exception as error:
                # Only the text of our own errors may be shown, and of those the code says enough.
                code = error.code if isinstance(error, Described) else type(error).__name__
                self._last = (False, code, self.clock.boot_ms())
            else:
                self._last = (True, "answers", self.clock.boot_ms())
            self.clock.wait(self.every_s, until=self._stopping)


class Health(Middleware):
    """Notes which attempts run since when, and takes the vitals. ``is_gathered``: a launcher is told and shows them."""

    def __init__(self, *, clock: Clock | None = None, grace_ms: int = GRACE_MS) -> None:
        self.clock = clock or SystemClock()
        self.grace_ms = grace_ms
        self.is_gathered = False
        self.probes: dict[str, Probe] = {}
        self.state = "starting"
        self._began_boot_ms = self.clock.boot_ms()
        self._worker: dramatiq.Worker | None = None
        #: Thread → actor, its message's own limit, when the attempt began.
        self._running: dict[int, tuple[str, int | None, int]] = {}

    def after_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Its threads run."""
        self._worker, self.state = worker, "serving"

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """It takes no more."""
        self.state = "draining"

    def after_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """It is over."""
        for probe in self.probes.values():
            probe.stop()
        self.probes.clear()
        self._worker = None

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """An attempt begins."""
        inner = message._message
        limit_ms = inner.options.get("time_limit")
        self._running[threading.get_ident()] = (inner.actor_name, limit_ms, self.clock.boot_ms())

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: object = None, exception: BaseException | None = None
    ) -> None:
        """It ended."""
        self._running.pop(threading.get_ident(), None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """It ended."""
        self._running.pop(threading.get_ident(), None)

    def probe(self, name: str, check: Callable[[], object]) -> None:
        """Ask ``check`` from now on, until the worker stops."""
        self.probes[name] = Probe(check, clock=self.clock)
        self.probes[name].start(name)

    def vitals(self, broker: Broker) -> Vitals:
        """Facts of this moment."""
        worker, now_ms = self._worker, self.clock.boot_ms()
        running = list(self._running.values())
        carrier = broker.machinery if isinstance(broker, CarrierBroker) and worker is not None else None
        return Vitals(
            pid=os.getpid(),
            state=self.state,
            up_ms=now_ms - self._began_boot_ms,
            threads=worker.worker_threads if worker is not None else 0,
            busy=len(running),
            gone=tuple(self._gone(broker)),
            overdue=tuple(self._overdue(broker, running, now_ms=now_ms)),
            has_queue=carrier is not None,
            lease_ms=carrier.options.lease_ms if carrier else 0,
            round_age_ms=_age(carrier.keeper.last_round_boot_ms, now_ms) if carrier else None,
            turn_age_ms=_age(carrier.keeper.last_turn_boot_ms, now_ms) if carrier else None,
            fetch_age_ms=_age(carrier.waiter.last_turn_boot_ms, now_ms) if carrier else None,
            probes={name: probe.last() for name, probe in list(self.probes.items())},
            resident_bytes=rss_bytes(),
            cpu_s=time.process_time(),
        )

    def _gone(self, broker: Broker) -> Iterator[str]:
        worker = self._worker
        if worker is None or self.state != "serving":
            return
        yield from ("worker" for thread in worker.workers if not thread.is_alive())
        yield from (f"consumer of {name}" for name, thread in list(worker.consumers.items()) if not thread.is_alive())
        if isinstance(broker, CarrierBroker):
            machinery = broker.machinery
            keeper, waiter, exchange = machinery.keeper, machinery.waiter, machinery.exchange
            parts = {"lease keeper": keeper.is_alive, "fetching": waiter.is_alive, "exchange": exchange.is_alive}
            yield from (name for name, is_alive in parts.items() if not is_alive)

    def _overdue(
        self, broker: Broker, running: "list[tuple[str, int | None, int]]", *, now_ms: int
    ) -> Iterator[tuple[str, int]]:
        for actor_name, own_ms, began_ms in running:
            limit_ms = own_ms or _limit_ms(broker, actor_name)
            if limit_ms is not None and now_ms - began_ms > limit_ms + self.grace_ms:
                yield actor_name, (now_ms - began_ms) // 1000


def _limit_ms(broker: Broker, actor_name: str) -> int | None:
    actor = broker.actors.get(actor_name)
    own = actor.options.get("time_limit") if actor is not None else None
    limits = (one.time_limit for one in broker.middleware if isinstance(one, TimeLimit))
    found = own or next(limits, None)
    return None if found is None else int(found)


def _age(at_boot_ms: int, now_ms: int) -> int | None:
    return None if at_boot_ms == 0 else max(0, now_ms - at_boot_ms)
