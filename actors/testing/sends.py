"""The queue and the gateway of a test: open :class:`Sends`, and every send of the process lands in it.

Used by the pytest plugin and by :class:`actors.testing.cases.ChatActorsMixin`; usable by itself in a ``with``.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import dramatiq
from dramatiq import MessageProxy, Worker
from dramatiq.middleware import CurrentMessage

import actors
from actors import services, wiring
from actors.services import Services
from actors.testing.clock import SkippingClock
from actors.testing.queue import MAX_RUNS, MemoryQueue, Ran, Sent, Waiting
from actors.testing.sandbox import Sandbox
from middleware import sentry
from middleware.errors import Described, Snooze
from middleware.letters import DeadLetter
from middleware.outcomes import Done
from middleware.retries import Retries

#: What is replaced on the broker of the process, so that whoever has it in hand sends here too.
_TAKEN = ("enqueue", "send_many")
_JOIN_S = 30.0
#: A retry comes after its longest wait, so that a test sees the same one every time.
_LONGEST = math.nextafter(1.0, 0.0)


class StillWaiting(AssertionError):
    """A message did not come to an end: it waits for something that does not happen in the test."""


class Sends:
    """What the code under test sends, from entry to exit.

    ``sent`` are the sends that reached the queue, ``dead`` what was given up, ``sandbox`` what would be the phones. The store
    and every other setting are the host's; the gateway is always the sandbox, so nothing that runs here leaves the machine.
    """

    def __init__(self) -> None:
        self.clock = SkippingClock()
        self._stack = ExitStack()
        self._sandbox: Sandbox | None = None
        self._queue = MemoryQueue(wiring.stack_of_work(), clock=self.clock, on_death=self._tell)
        self._retries = Retries(policy=wiring.retry_policy, clock=self.clock, draw=lambda: _LONGEST)
        self._current: Any = CurrentMessage()

    @property
    def broker(self) -> dramatiq.Broker:
        """The queue, for actors that a test declares."""
        return self._queue

    # -- what was sent -----------------------------------------------------------------------------------------------

    @property
    def sent(self) -> list[Sent]:
        """Every send so far, in order; one that met a unique key that was taken is not another one."""
        return list(self._queue.sent)

    def ids(self, actor: "dramatiq.Actor[..., Any] | str | None" = None) -> list[str]:
        """Ids of the chat messages (or conversations) sent, of all actors or of one."""
        name = getattr(actor, "actor_name", actor)
        return [one.id for one in self._queue.sent if one.id is not None and name in (None, one.actor)]

    @property
    def waiting(self) -> list[Sent]:
        """What was sent and has not ended."""
        messages = [entry.message for entry in self._queue.waiting]
        return [Sent(one.actor_name, dict(one.kwargs), job_id=one.message_id) for one in messages]

    @property
    def dead(self) -> list[DeadLetter]:
        """What was given up."""
        return list(self._queue.dead)

    def clear(self) -> None:
        """Forget what was sent, and what waits."""
        self._queue.clear()

    # -- running it --------------------------------------------------------------------------------------------------

    @property
    def sandbox(self) -> Sandbox:
        """The gateway; it listens from the first time it is asked for. Active instances of the store are connected."""
        if self._sandbox is None:
            self._sandbox = self._stack.enter_context(Sandbox())
            self._install()
        return self._sandbox

    def run(self, *, retry: bool = True) -> list[Ran]:
        """Run what waits in this thread, and what it sends meanwhile, until nothing waits; every run, in order.

        Waits are skipped: to the code their time has passed. ``retry=False`` runs each message once. An error that is not of
        chat-actors is raised: it is a bug, and a worker would have tried again.

        Raises:
            StillWaiting: a message came back :data:`actors.testing.queue.MAX_RUNS` times.
        """
        self.sandbox.connect_rows(services.get().store)
        ran: list[Ran] = []
        once: list[Waiting] = []
        while (entry := self._queue.take()) is not None:
            if not retry and entry.runs:
                once.append(entry)
                continue
            if entry.runs >= MAX_RUNS:
                self._queue.waiting.insert(0, entry)
                raise StillWaiting(f"{_name(entry)} came back {entry.runs} times ({entry.last})")
            self.clock.skip(entry.due_ms - self.clock.now_ms())
            ran.append(self._run(entry))
        self._queue.waiting += once
        return ran

    def _run(self, entry: Waiting) -> Ran:
        message: Any = MessageProxy(entry.message)
        actor = self._queue.get_actor(message.actor_name)
        self._current.before_process_message(self._queue, message)
        try:
            actor(*message.args, **message.kwargs)
        except Exception as error:
            if not isinstance(error, Described | Snooze | dramatiq.Retry):
                # It has not ended: once the bug is mended it may run.
                self._queue.waiting.insert(0, entry)
                raise
            self._retries.after_process_message(self._queue, message, exception=error)
        finally:
            self._current.after_process_message(self._queue, message)
        entry.message = message._message
        return self._queue.settle(entry, getattr(message, "outcome", None) or Done())

    @contextmanager
    def working(self, threads: int = 2) -> Iterator[Self]:
        """Run what is sent in Dramatiq's worker threads on its stub broker; :meth:`join` waits for them.

        They have database connections of their own: what a ``TestCase`` keeps in its transaction they do not see, so use a
        ``TransactionTestCase`` or ``transactional_db``. Lanes are not kept there; the order of the rows is.
        """
        self.sandbox.connect_rows(services.get().store)
        worker = Worker(self._queue, worker_threads=threads, worker_timeout=50)
        self._queue.hand_out()
        worker.start()
        try:
            yield self
        finally:
            worker.stop(timeout=10_000)
            self._queue.take_back()

    def join(self, *, timeout_s: float = _JOIN_S) -> None:
        """Wait until worker threads have nothing left.

        Raises:
            StillWaiting: they have, after ``timeout_s``, or a message came back too often.
        """
        for name in sorted(self._queue.get_declared_queues()):
            try:
                self._queue.join(name, timeout=int(timeout_s * 1000), fail_fast=False)
            except dramatiq.brokers.stub.QueueJoinTimeout:
                raise StillWaiting(f"the queue {name} is not empty after {timeout_s:g} s") from None
        if self._queue.waiting:
            raise StillWaiting(f"{_name(self._queue.waiting[0])} came back too often ({self._queue.waiting[0].last})")

    # -- opening and closing -----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        global _open
        if _open is not None:
            raise RuntimeError("Sends is open already: one at a time takes a process's messages")
        _open = self
        self._stack.callback(_close)
        try:
            self._take(wiring.broker)
        except BaseException:
            self._stack.close()
            raise
        return self

    def _take(self, broker: dramatiq.Broker) -> None:
        """Be the broker of this process."""
        for actor in broker.actors.values():
            self._queue.declare_actor(actor)
        for name in _TAKEN:
            self._set(broker, name, getattr(self._queue, name))
        self._set(wiring, "broker", self._queue)
        self._set(actors, "broker", self._queue)
        self._stack.callback(services.install, services.installed())
        self._install()
        self._follow_settings()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._sandbox = None

    def _install(self) -> None:
        """Services as the host's settings make them, but for the clock and the gateway."""
        own = services.get()
        url = self._sandbox.url if self._sandbox is not None else "http://127.0.0.1:9"
        # Keys of real servers are of no use to a sandbox, and stay where they are.
        keys: dict[str, Any] = dict.fromkeys(("evolution_url", "evolution_api_key", "whatsapp_cloud_token"))
        settings = replace(own.settings, gateway="sandbox", sandbox_url=url, scheduler="none", **keys)
        services.install(Services(settings=settings, store=own.store, clock=self.clock))

    def _follow_settings(self) -> None:
        """A test that overrides ``CHAT_ACTORS`` meanwhile makes the services anew: ours must be them again."""
        signals = sys.modules.get("django.core.signals")
        if signals is None:
            return

        def follow(*, setting: str, **_: Any) -> None:
            if setting == "CHAT_ACTORS":
                services.install(None)
                self._install()

        signals.setting_changed.connect(follow, weak=False)
        self._stack.callback(signals.setting_changed.disconnect, follow)

    def _set(self, place: Any, name: str, value: Any) -> None:
        had, before = name in vars(place), vars(place).get(name)
        setattr(place, name, value)
        self._stack.callback(lambda: setattr(place, name, before) if had else delattr(place, name))

    def _tell(self, letter: DeadLetter) -> None:
        """Those who hear of dead letters in a worker hear of this one, but Sentry: a test is no incident."""
        for listener in wiring.listeners():
            if listener is not sentry.report_dead_letter:
                listener(letter)


_open: Sends | None = None


def opened() -> Sends | None:
    """The one that is open in this process."""
    return _open


def _close() -> None:
    global _open
    _open = None


def _name(entry: Waiting) -> str:
    return f"{entry.message.actor_name} of {Sent(entry.message.actor_name, entry.message.kwargs).id}"
