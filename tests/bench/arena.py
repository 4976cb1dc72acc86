"""One contestant on a Redis of its own: what a measurement works with."""

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic, process_time

import redis
from bench.contestant import Contestant, Producer, load
from bench.log import Log
from bench.processes import Worker, cpu_s

from middleware.brokers.redis.embedded import EmbeddedRedis

#: The database that our carrier is pinned to; all use it.
DB = 2
#: Messages that run before anything is measured, so that every thread has its connection and every script is loaded.
WARM_UP = 40
_pause = Event()


class TookTooLong(Exception):
    """What was waited for did not happen."""


def pause(seconds: float) -> None:
    """Do nothing for a while."""
    _pause.wait(seconds)


def wait(until: Callable[[], bool], *, within_s: float, what: str, look_every_s: float = 0.005) -> None:
    """Return once ``until`` holds.

    Raises:
        TookTooLong: it did not in time.
    """
    end_s = monotonic() + within_s
    while not until():
        if monotonic() > end_s:
            raise TookTooLong(f"{what}: not within {within_s:g} s")
        pause(look_every_s)


@dataclass(frozen=True, slots=True)
class ServerUse:
    """What the server has used up to a moment, or between two.

    ``commands`` counts those inside scripts, too; ``scripts`` the scripts; ``reads`` arrivals of input, so a pipeline is about
    one.
    """

    cpu_s: float
    commands: int
    scripts: int
    reads: int

    @classmethod
    def of(cls, client: "redis.Redis") -> "ServerUse":
        info = client.info("everything")
        calls = {name.removeprefix("cmdstat_"): info[name]["calls"] for name in info if name.startswith("cmdstat_")}
        return cls(
            cpu_s=info["used_cpu_user"] + info["used_cpu_sys"],
            commands=sum(calls.values()) - calls.get("info", 0),
            scripts=sum(calls.get(name, 0) for name in ("eval", "evalsha", "fcall")),
            reads=info["total_reads_processed"],
        )

    def since(self, before: "ServerUse") -> "ServerUse":
        """What was used between the two."""
        return ServerUse(
            self.cpu_s - before.cpu_s,
            self.commands - before.commands,
            self.scripts - before.scripts,
            self.reads - before.reads,
        )


class Arena:
    """Contestant, server, workers and their log. Close it."""

    def __init__(self, name: str, server: EmbeddedRedis, folder: Path) -> None:
        self.name = name
        self.server = server
        self.folder = folder
        self.redis = server.client(DB)
        self.contestant: Contestant = load(name)
        self.producer: Producer = self.contestant.producer()
        self.workers: list[Worker] = []
        self._ended: list[Worker] = []
        log_folder = folder / "log"
        log_folder.mkdir()
        self.log = Log(log_folder)
        self.random = random.Random(7)

    def start_worker(self, *, threads: int, **environment: str) -> Worker:
        """One more worker process; it is not ready yet."""
        worker = Worker(self.name, threads=threads, log=self.log.folder, environment=environment)
        self.workers.append(worker)
        return worker

    def warm_up(self, count: int = WARM_UP) -> None:
        """Run messages through every part until all have run, then forget them."""
        before = self.log.count()
        for number in range(count):
            self.producer.send(-1 - number, queue=number % self.contestant.queues)
        self.wait_for(before + count, within_s=60)
        self.log.forget()

    def wait_for(self, count: int, *, within_s: float, look_every_s: float = 0.005) -> None:
        """Return once ``count`` messages have run.

        Raises:
            TookTooLong: they did not in time, or every worker ended; the text has the end of their output.
        """

        def ran() -> bool:
            if self.log.count() >= count:
                return True
            if all(worker.process.poll() is not None for worker in self.workers):
                raise TookTooLong(f"the workers ended: {self.workers_said()}")
            return False

        try:
            wait(ran, within_s=within_s, what=f"{count} messages of {self.name}", look_every_s=look_every_s)
        except TookTooLong as error:
            raise TookTooLong(f"{error}; {self.log.count()} ran; {self.workers_said()}") from None

    def workers_said(self) -> str:
        """The end of what the workers wrote."""
        return " | ".join({worker.output.read_text(errors="replace")[-800:] for worker in self.workers})

    def stop_workers(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.stop()
        self._ended += self.workers
        self.workers = []

    def use(self) -> ServerUse:
        """What the server has used so far."""
        return ServerUse.of(self.redis)

    def used_s(self) -> float:
        """CPU time of all that belongs to this arena, driver included; ends the workers."""
        self.stop_workers()
        return process_time() + cpu_s(self.server.pid or 0) + sum(worker.used_s for worker in self._ended)

    def close(self) -> None:
        """End the workers and give back connections."""
        for worker in self.workers:
            worker.kill()
        self.producer.close()
        self.redis.close()


@contextmanager
def open_arena(name: str, *, server_options: dict[str, str] | None = None) -> Iterator[Arena]:
    """An arena for one measurement of one contestant, on a server that nobody else uses."""
    with (
        tempfile.TemporaryDirectory(prefix="chat-bench-") as folder,
        EmbeddedRedis(directory=_made(Path(folder) / "redis"), options=server_options) as server,
    ):
        os.environ["BENCH_URL"] = server.url(DB)
        arena = Arena(name, server, Path(folder))
        try:
            yield arena
        finally:
            arena.close()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
