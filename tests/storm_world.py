"""Carry a storm out: a Redis and a sandbox of its own, rows that real worker processes share, and everything that goes wrong.

``tests/chaos/test_storm.py`` opens a :class:`StormWorld`; ``storm_judge`` says whether every promise held.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import servers
from chaos_rows import Rows
from storm_faults import rules
from storm_hooks import EVENTS, hearing
from storm_plan import Storm, conversation_row, fixtures, instance_row, message_rows
from waiting import until

import actors
from actors import chat, services, turns, wiring
from actors.circuit import Cause, Circuit
from actors.cli.demo_processes import Child, clean_environment
from actors.cli.demo_watch import Queues
from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.instances import WATCH_QUEUE
from actors.services import Services
from actors.settings import Settings
from middleware.brokers.redis.embedded import EmbeddedRedis, ending_with_us
from middleware.clock import SystemClock
from middleware.errors import PipelineError
from middleware.letters import DeadLetter, DeadLetters
from middleware.limits.limits import Limits

ROOT = Path(__file__).parents[1]
_FOREVER_MS = 4_000_000_000_000
TEND_EVERY_MS = 4_000
#: Reasons of what a refused key killed, or of what could not be asked for because of it.
_BY_THE_KEY = ("unauthorized", "delivery_unknown")
#: What takes minutes in production takes a moment here. The longest attempt stays as in production: a place that nobody
#: gives back is missed.
SHORT = {
    "CHAT_GATEWAY": "sandbox",
    "CHAT_SCHEDULER": "none",
    "CHAT_METRICS_PORT": "0",
    "CHAT_LEASE_MS": "2000",
    "CHAT_BACKOFF_BASE_MS": "50",
    "CHAT_BACKOFF_CAP_MS": "400",
    "CHAT_RECONCILE_GRACE_S": "0.8",
    "CHAT_SWEEP_AFTER_S": "3",
    "CHAT_LOOK_MS": "200",
    "CHAT_RAMP_MS": "400",
    "CHAT_SHUTDOWN_TIMEOUT_MS": "5000",
    # A fifth of the requests fail: eight failures in a row would come once in twenty storms, and be right.
    "CHAT_MAX_ATTEMPTS": "14",
}


@dataclass
class StormWorld:
    """All processes but the workers (:meth:`working`); a context manager. ``environ`` tells workers where the rows are."""

    storm: Storm
    rows: Rows
    environ: dict[str, str]
    directory: Path
    #: Whether the host hears by webhook what went out.
    is_told: bool = False
    redriven: set[str] = field(default_factory=set)
    is_mended: bool = False
    is_said: threading.Event = field(default_factory=threading.Event)
    _tended_ms: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        # What it has acknowledged outlives a kill.
        self.redis = stack.enter_context(EmbeddedRedis(persist=True))
        self.sandbox = stack.enter_context(self._sandbox(stack))
        own = {"REDIS_URL": self.redis.url(0), "CHAT_SANDBOX_URL": self.sandbox.url, **SHORT, **self.environ}
        self.environ = clean_environment({"PYTHONPATH": str(ROOT), **own})
        settings = Settings.load(own, None)
        services.install(Services(settings=settings, store=self.rows.store))
        stack.callback(services.install, None)
        stack.callback(actors.broker.close)
        self.rows.add(*map(instance_row, self.storm.plan.lines), *map(conversation_row, self.storm.plan.threads))
        self.hooks = stack.enter_context(hearing(self.rows))
        if self.is_told:
            self.sandbox.put_webhook(self.hooks.url, events=EVENTS, duplicate=0.2, reorder=0.2)
        self.draw = random.Random(f"acts of {self.storm.seed}")  # noqa: S311 - to be told again, not secret

    def _sandbox(self, stack: ExitStack) -> SandboxAdmin:
        config = self.directory / "sandbox.json"
        config.write_text(json.dumps({**fixtures(self.storm), "faults": rules(self.storm)}))
        command = [
            sys.executable,
            "-m",
            "actors.gateways.sandbox",
            "--seed",
            str(self.storm.seed),
            "--config",
            str(config),
        ]
        environment = clean_environment({"PYTHONPATH": str(ROOT)})
        child = Child("sandbox", command, log=self.directory / "sandbox.log", environment=environment)
        stack.callback(child.stop)
        said = json.loads(child.until(lambda: child.log.read_text().partition("\n")[0]))
        return SandboxAdmin(said["url"], said["admin_token"])

    # -- what is asked for -----------------------------------------------------------------------------------------

    def say_everything(self) -> None:
        """Commit and send message by message; a send that fails is left to the sweep."""
        first_ms = SystemClock().now_ms()
        for index, message in enumerate(self.storm.plan.messages):
            self.rows.add(*message_rows(message, created_at_ms=first_ms + index))
            bulk = {"bulk": True} if message.id in self.storm.bulk else {}
            try:
                actors.send_message.send(message.id, **bulk)
            except PipelineError:
                continue
        self.rows.leave_thread()
        self.is_said.set()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Two worker processes, kept running."""
        command = [sys.executable, "-m", "actors.cli", "worker", "--processes", "2", "--threads", "6", "--log-json"]
        with (self.directory / "worker.log").open("wb") as log:
            self.launcher = process = subprocess.Popen(
                ending_with_us(command), cwd=ROOT, env=self.environ, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            servers.end(process)

    # -- what is seen ----------------------------------------------------------------------------------------------

    def accepted(self) -> int:
        """Messages that the gateway took; a gateway that refuses connections is asked again later."""
        try:
            return int(self.sandbox.counters()["accepted"])
        except httpx.TransportError:
            return 0

    def unfinished(self) -> list[str]:
        """What is pending, queued, or in trouble, in words; what a refused key killed is redriven on the way."""
        try:
            self.redrive()
            pending = self.rows.store.pending_messages(before_ms=_FOREVER_MS, limit=5)
            stats = actors.broker.transitions.stats(self.queues())
            records = self.limits().all_records()
            untold = [name for name in self.queues() if actors.broker.client.exists(_unannounced(name))]
        except PipelineError as error:
            return [error.code]
        found = [f"message {id_} is pending" for id_ in pending]
        found += [f"{name}: dead letters are not announced" for name in untold]
        found += [] if self.hooks.is_quiet else ["webhooks are not applied"]
        found += [f"{one.queue_name}: {one.as_json()}" for one in stats if one.unfinished]
        return found + [f"instance {name}: {text}" for name, text in records.items()]

    def queues(self) -> list[str]:
        """Every queue in which nothing may stay; the watch of a trouble that a redrive ended sleeps on, and ends when it wakes."""
        return sorted(actors.broker.get_declared_queues() - {WATCH_QUEUE})

    def limits(self) -> Limits:
        traffic = wiring.traffic()
        assert traffic is not None
        return traffic.limits

    def letters(self) -> list[DeadLetter]:
        return DeadLetters(actors.broker).newest(limit=10_000)

    def tended(self) -> bool:
        """Do what the schedule does once a minute, every few seconds; True, to be said on the way."""
        now_ms = SystemClock().boot_ms()
        if now_ms - self._tended_ms >= TEND_EVERY_MS:
            self._tended_ms = now_ms
            try:
                actors.sweep_pending.send()
                actors.broker.get_actor("tend_instances").send()
            except PipelineError:
                pass
        return True

    # -- what goes wrong -------------------------------------------------------------------------------------------

    def kill_worker(self) -> None:
        """Of those that have something in hand, one."""

        def busy() -> list[int]:
            with Queues(self.redis) as queues:
                return [one.entry.worker.pid for one in queues.in_hand() if one.messages]

        pid = self.draw.choice(until(busy, within_ms=300_000))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            # It was killed before, and is still on the list.
            self.kill_worker()

    def kill_redis(self) -> None:
        self.redis.kill()
        self.redis.start()

    def disturb_store(self) -> None:
        """Once everything is saved: what else writes is the host's to repeat."""
        until(self.is_said.is_set, within_ms=300_000)
        self.rows.disturb()

    def roll(self) -> None:
        """Replace the workers one after another, as a deploy does."""
        self.launcher.send_signal(signal.SIGHUP)

    def disconnect(self, number: int, **how: Any) -> None:
        self.sandbox.add_fault({"type": "disconnect", "instance": self.storm.line(number).name, "for_s": 1.5, **how})

    def refuse(self) -> None:
        self.sandbox.add_fault({"type": "refuse", "for_s": 0.6})

    def revoke(self) -> None:
        """From now on the gateway wants another key than the row has."""
        self.sandbox.put_instance(self.storm.revoked.name, token=self._new_key)

    def mend(self) -> None:
        """Put the new key into the row, and redrive what died meanwhile.

        Nothing died when a look at the instance met the refusal before any message did: then its messages wait.
        """
        until(lambda: self._killed_by_the_key() or self._is_parked(), within_ms=300_000)
        self.rows.mend(self.storm.revoked.name, self._new_key)
        self.is_mended = True
        self.redrive()

    def redrive(self) -> None:
        """What an operator does who has put the key right: what was under way with the old one may die a moment later."""
        if not self.is_mended:
            return
        for letter in self._killed_by_the_key():
            self.redriven.add(str(letter.kwargs["message_id"]))
            DeadLetters(actors.broker).redrive(letter, prepare=partial(chat.prepare_redrive, letter))
            turns.after_redrive(letter)

    def _is_parked(self) -> bool:
        """Whether the instance of the revoked key stands because of it."""
        try:
            circuit = Circuit.read(self.limits().record(self.storm.revoked.name))
        except PipelineError:
            return False
        return circuit.cause is Cause.REFUSED

    def _killed_by_the_key(self) -> list[DeadLetter]:
        """Oldest first. One whose fate the refused key did not let anybody ask for, too: now it can be asked for."""
        own = {one.id for one in self.storm.plan.messages if one.thread.line is self.storm.revoked}
        found = [one for one in self.letters() if one.kwargs.get("message_id") in own and one.reason in _BY_THE_KEY]
        return sorted(found, key=lambda one: (one.died_at_ms, one.sequence))

    @property
    def _new_key(self) -> str:
        return f"new {self.storm.revoked.key}"


def _unannounced(queue_name: str) -> str:
    return actors.broker.machinery.keys.of(queue_name, "unannounced")
