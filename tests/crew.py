"""A crew of worker processes under a launcher, as a test needs it: a module of actors, and notes that they leave.

``test_launcher.py`` uses it; the broker is the real one.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dramatiq
from waiting import until

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.brokers.redis.roster import RosterEntry

ROOT = Path(__file__).parents[1]

#: What the workers of a crew import. Its behaviour at boot is asked for by files beside it.
MODULE = """
import logging, os, signal, threading
from pathlib import Path

import dramatiq
from dramatiq import Middleware

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.errors import ExitCode, Refusal

HERE = Path(__file__).parent
if (HERE / "takes-sigterm").exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if (HERE / "hangs-at-exit").exists():
    threading.Thread(target=threading.Event().wait).start()


def show_log():
    logging.basicConfig(level=logging.INFO)


def note(name, text=""):
    with (HERE / name).open("a") as file:
        file.write(f"{text or os.getpid()}\\n")


class Boot(Middleware):
    def after_process_boot(self, broker):
        note("boots")
        if (HERE / "takes-sigterm").exists():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        wanted = HERE / "refuses"
        if wanted.exists():
            raise Refusal(ExitCode(int(wanted.read_text())), "as the test says")
        if (HERE / "breaks").exists():
            os._exit(9)


broker = CarrierBroker(
    connect=lambda: kwargs_for_db(os.environ["CREW_REDIS"], 2),
    options=lambda: CarrierOptions(namespace=os.environ["CREW_NAMESPACE"], lease_ms=int(os.environ["CREW_LEASE_MS"])),
    middleware=[Boot()],
)


@dramatiq.actor(broker=broker, queue_name="work")
def work(name):
    note(name)


@dramatiq.actor(broker=broker, queue_name="work")
def last(name, seconds):
    note("begun", name)
    threading.Event().wait(seconds)
    note(name)


@dramatiq.actor(broker=broker, queue_name="work")
def held(name):
    note("begun", f"{name}:{os.getpid()}")
    while not (HERE / "go").exists():
        threading.Event().wait(0.02)
    note("ended", f"{name}:{os.getpid()}")


@dramatiq.actor(broker=broker, queue_name="work")
def grow(name):
    from middleware.worker_process import ask_for_another

    note(name, f"{os.getpid()}:{ask_for_another()}")


@dramatiq.actor(broker=broker, queue_name="other")
def other(name):
    note(name)
"""


@dataclass
class Crew:
    """One launcher and its workers; ``here`` is the folder of their module, where they leave notes."""

    here: Path
    server: EmbeddedRedis
    broker: CarrierBroker
    lease_ms: int
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def launch(self, **plan: object) -> "subprocess.Popen[bytes]":
        """Start a launcher of one process and two threads, unless ``plan`` says otherwise."""
        plan = {
            "broker": "crew_work:broker",
            "processes": 1,
            "threads": 2,
            "drain_ms": 5_000,
            "patience_ms": 0,
            "set_up": ("crew_work:show_log",),
        } | plan
        code = f"import logging, sys; logging.basicConfig(level=20); from middleware.launcher import Launcher, Plan; sys.exit(Launcher(Plan(**{plan!r})).run())"
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{self.here}",
            "CREW_REDIS": self.server.url(0),
            "CREW_NAMESPACE": self.broker.namespace,
            "CREW_LEASE_MS": str(self.lease_ms),
        }
        with (self.here / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=self.here, stderr=log)
        self.processes.append(process)
        return process

    def send(self, actor: str, *args: object, queue: str = "work", **options: object) -> None:
        """Send a message to one of the crew's actors."""
        message = dramatiq.Message(queue_name=queue, actor_name=actor, args=args, kwargs={}, options=options)
        self.broker.enqueue(message)

    def notes(self, name: str) -> list[str]:
        """Lines that workers left under a name."""
        path = self.here / name
        # The last one may still be being written.
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def alive(self) -> list[RosterEntry]:
        """Workers on the roster."""
        return self.broker.machinery.roster.alive()

    def pids(self, count: int = 1) -> set[int]:
        """Process ids of the workers, once there are ``count``."""
        entries = until(lambda: self.alive() if len(self.alive()) == count else [], within_ms=15_000)
        return {entry.worker.pid for entry in entries}

    def close(self) -> None:
        """End what is left, workers first: the second Ctrl-C waits for nothing."""
        for process in self.processes:
            for _ in range(50):
                if process.poll() is not None:
                    break
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
            process.kill()
            process.wait()


@contextlib.contextmanager
def make_crew(here: Path, server: EmbeddedRedis, *, lease_ms: int = 2_000) -> Iterator[Crew]:
    """A crew whose module stands in ``here``."""
    (here / "crew_work.py").write_text(MODULE)
    broker = CarrierBroker(
        connect=lambda: kwargs_for_db(server.url(0), 2),
        options=lambda: CarrierOptions(namespace=f"crew:{here.name}", lease_ms=lease_ms),
        middleware=[],
    )
    broker.declare_queue("work")
    broker.declare_queue("other")
    made = Crew(here, server, broker, lease_ms)
    try:
        yield made
    finally:
        made.close()
        broker.close()


def is_running(pid: int) -> bool:
    """Whether a process exists and is not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
