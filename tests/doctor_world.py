"""A Redis in good order, and how to spoil it: what the checks of ``doctor`` are tried on.

``test_doctor_checks.py`` and ``test_start_gate.py`` use it; the faults stand in ``doctor_faults.py``,
``doctor_faults_clients.py`` and ``doctor_faults_queues.py``.
"""

import os
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import redis
import servers

from actors import wiring
from actors.doctor.checks import Check, Severity
from actors.doctor.connection import Probe
from actors.doctor.run import QUEUES, SERVER, of_redis
from actors.settings import Hidden
from middleware import memory
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.roster import ServingWorker, SignOfLife
from middleware.clock import Clock
from middleware.slots import MINUTE_MS
from middleware.ticks import Ticks

#: Settings that a server for a queue should have; the first server that knows ``maxmemory-clients`` is 7.
HEALTHY = {"maxmemory": "1gb", "client-output-buffer-limit": "normal 256mb 64mb 60", "appendfsync": "everysec"}
#: A cluster's other port is 10,000 above the first.
HIGHEST_PORT = 55_535


@dataclass
class Patient:
    """A product on a server of its own. ``stack`` holds what must be ended with the test."""

    site: object
    stack: ExitStack
    clock: Clock | None = None
    server: EmbeddedRedis | None = None
    #: A folder of the test's own.
    home: Path = field(default_factory=Path)

    def serve(
        self, *, persist: bool = True, binary: Path | None = servers.REDIS_BINARY, **options: str
    ) -> EmbeddedRedis:
        """Run a server in good order, but for these options (``_`` for ``-``), and have the product use it."""
        given = HEALTHY | {name.replace("_", "-"): value for name, value in options.items()}
        server = EmbeddedRedis(persist=persist, options=given, binary=binary)
        while server.port > HIGHEST_PORT:
            server.close()
            server = EmbeddedRedis(persist=persist, options=given, binary=binary)
        self.server = self.stack.enter_context(server)
        # One that is writing its first append-only file does not stop when told to.
        self.stack.callback(self.server.kill)
        self.use(self.server.url(0))
        return self.server

    def use(self, url: str) -> None:
        """Have the product use this URL."""
        self.site.change(redis_url=Hidden(url))

    def behind(self, port: int) -> None:
        """Have it reach the server through another port."""
        self.use(f"redis://:{self.server.password}@127.0.0.1:{port}/0")

    def client(self, db: int = 0) -> redis.Redis:
        """Client of the server."""
        return self.stack.enter_context(self.server.client(db))

    def hold(self, count: int) -> list[redis.Redis]:
        """Keep so many connections."""
        clients = [self.client() for _ in range(count)]
        for client in clients:
            client.ping()
        return clients

    def work(self, *queue_names: str, for_ms: int = 10 * MINUTE_MS) -> None:
        """A worker shows, that began so long ago."""
        broker = self.site.broker
        names = queue_names or tuple(sorted(broker.get_declared_queues()))
        began_ms = broker.clock.now_ms() - for_ms
        worker = ServingWorker(host="box", pid=7, threads=4, queues=names, started_at_ms=began_ms)
        broker.transitions.tend(names, max_deliveries=5, sign=SignOfLife("w", 60_000, worker.facts(in_flight=0)))

    def tick(self, actor: str, slot_ms: int) -> None:
        """A scheduler sent this slot."""
        next(one for one in wiring.broker.middleware if isinstance(one, Ticks)).fire(wiring.broker, actor, slot_ms)

    def settle(self) -> None:
        """Everything that happens in a product in good order has happened."""
        broker = self.site.broker
        now_ms = broker.clock.now_ms()
        self.work()
        self.tick("sweep_pending", now_ms // MINUTE_MS * MINUTE_MS)
        memory.record(self.client(2), broker.machinery.keys.memory, memory.Sample(at_ms=now_ms))

    def look(self, name: str) -> Check:
        """What this check says."""
        spec = next((spec for spec in (*SERVER, *QUEUES) if spec.name == name), None)
        if spec is None:
            return self.look_at_all()[name]
        with Probe(self.site.settings, clock=self.clock) as probe:
            return probe.ask(name, spec.make)

    def look_at_all(self) -> dict[str, Check]:
        """Every check of Redis."""
        return {check.name: check for check in of_redis(self.site.settings, clock=self.clock)}

    def follow(self, fix: str) -> int:
        """Run every line of a fix that names ``redis-cli``, as a person would; returns how many."""
        lines = re.findall(r"`(redis-cli [^`]+)`", fix)
        for line in lines:
            # redis-cli before 7.2 reads an empty user as one (docs/doctor.md).
            environ = {**os.environ, "REDIS_URL": self.server.url(0).replace("//:", "//default:")}
            done = subprocess.run(line, shell=True, env=environ, capture_output=True, text=True, timeout=20, check=True)  # noqa: S602
            assert not re.match(r"(ERR|NOAUTH|NOPERM)", done.stdout), f"{line}: {done.stdout}"
        return len(lines)


Spoil = Callable[[Patient], object]


@dataclass(frozen=True)
class Fault:
    """A way to spoil a server: which check must say so, how severely, and whether its fix is a line that mends it."""

    name: str
    severity: Severity
    spoil: Spoil
    says: str
    mends: bool


FAULTS: list[Fault] = []


def fires(name: str, severity: str, *, says: str = "", mends: bool = False) -> Callable[[Spoil], Spoil]:
    """Register a way to spoil a server; ``says`` stands in what is found."""

    def register(spoil: Spoil) -> Spoil:
        FAULTS.append(Fault(name, Severity(severity), spoil, says, mends))
        return spoil

    return register
