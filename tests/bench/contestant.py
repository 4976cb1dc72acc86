"""What a contestant must be able to do, and where to find one.

A contestant is one file in ``contestants/`` with a ``contestant``. It is imported in two kinds of processes, which both have
``BENCH_URL`` (a fresh Redis) in their environment: the driver, which sends, and workers, which have ``BENCH_LOG`` as well.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from importlib import import_module
from pathlib import Path
from threading import Event
from time import monotonic_ns, perf_counter_ns
from typing import Any, Protocol

import redis
from bench.log import Writer

#: How long the body of an ``io`` message waits, in seconds.
IO_S = 0.05
#: How long the body of a ``hold`` message runs in a worker that shall be killed, in seconds.
HOLD_S = 600


def url() -> str:
    """The Redis of this arena, with the database that our carrier is pinned to."""
    return os.environ["BENCH_URL"]


def only_queue() -> tuple[str, ...]:
    """Options of a worker process that is to serve one queue alone, where a measurement asks for that."""
    only = os.environ.get("BENCH_QUEUE")
    return ("--queue", only) if only else ()


class Producer(Protocol):
    """Sends messages from the driver. ``client`` is the connection it sends by, None when it is not redis-py's."""

    client: "redis.Redis | None"

    def send(self, number: int, *, job: str = "note", queue: int = 0) -> int:
        """Send one message the way an application does; returns when that began (CLOCK_MONOTONIC, ns)."""

    def send_many(self, numbers: Sequence[int], *, job: str = "note") -> None:
        """Put messages in as fast as it can, into the first queue."""

    def send_times_ns(self, numbers: Sequence[int], *, job: str = "note") -> list[int]:
        """How long each of these sends took."""

    def send_later(self, number: int, *, delay_ms: int) -> int:
        """Send one message that is due in a while; returns when that began."""

    def send_many_later(self, numbers: Sequence[int], *, delay_ms: int) -> None:
        """Put delayed messages in as fast as it can."""

    def send_chats(self, count: int, *, everywhere: bool) -> None:
        """Put in messages such as ``send_message``'s, plain or with lane, group and unique key."""

    def waiting(self) -> int:
        """Messages that wait in the first queue, for whatever."""

    def send_to_lanes(self, numbers: Sequence[int], *, lanes: int) -> None:
        """Put messages in, spread over so many lanes."""

    def set_gate(self, group: str, *, limit: int) -> None:
        """Let at most ``limit`` messages of a group run at a time."""

    def send_to_group(self, numbers: Sequence[int], *, group: str, job: str) -> list[int]:
        """Send messages of a group one by one; returns when each send began."""

    def script_names(self) -> dict[str, str]:
        """Name of each script by the hash that the slow log shows."""

    def close(self) -> None:
        """Give back connections."""


class Cannot(Exception):
    """A contestant does not have what a measurement needs."""


class Contestant(Protocol):
    """One way to carry messages over Redis.

    Attributes:
        title: for the table.
        queues: how many queues its worker listens to.
        share: its part of the number of messages of a measurement, for those who would take minutes.
        bulk: whether ``send_many`` is more than a loop.
        routes: whether it knows the job ``everywhere``, with a lane, a group and a unique key.
    """

    title: str
    queues: int
    share: float
    bulk: bool
    routes: bool

    def producer(self) -> Producer:
        """What the driver sends by."""

    def serve(self, threads: int) -> None:
        """Work in this process until it is killed."""


def names() -> list[str]:
    """Every contestant that has a file."""
    return sorted(path.stem for path in (Path(__file__).parent / "contestants").glob("*.py"))


def load(name: str) -> Contestant:
    """The contestant of that name; raises ImportError where its package is not installed."""
    found: Contestant = import_module(f"bench.contestants.{name}").contestant
    return found


class _Plain:
    """What most contestants cannot do."""

    def send_later(self, number: int, *, delay_ms: int) -> int:
        raise Cannot("delays of it are not measured")

    def send_many_later(self, numbers: Sequence[int], *, delay_ms: int) -> None:
        raise Cannot("delays of it are not measured")

    def send_chats(self, count: int, *, everywhere: bool) -> None:
        raise Cannot("memory of it is not measured")

    def waiting(self) -> int:
        raise Cannot("nobody counts what waits in it")

    def send_to_lanes(self, numbers: Sequence[int], *, lanes: int) -> None:
        raise Cannot("it has no lanes")

    def set_gate(self, group: str, *, limit: int) -> None:
        raise Cannot("it has no groups")

    def send_to_group(self, numbers: Sequence[int], *, group: str, job: str) -> list[int]:
        raise Cannot("it has no groups")

    def script_names(self) -> dict[str, str]:
        return {}


class LoopingProducer(_Plain):
    """The parts of a producer that follow from sending one message."""

    client: "redis.Redis | None" = None

    def send_now(self, number: int, *, job: str, queue: int) -> None:
        """Send one message the way an application does."""
        raise NotImplementedError

    def send(self, number: int, *, job: str = "note", queue: int = 0) -> int:
        began_ns = monotonic_ns()
        self.send_now(number, job=job, queue=queue)
        return began_ns

    def send_many(self, numbers: Sequence[int], *, job: str = "note") -> None:
        for number in numbers:
            self.send_now(number, job=job, queue=0)

    def send_times_ns(self, numbers: Sequence[int], *, job: str = "note") -> list[int]:
        times: list[int] = []
        for number in numbers:
            began_ns = perf_counter_ns()
            self.send_now(number, job=job, queue=0)
            times.append(perf_counter_ns() - began_ns)
        return times

    def close(self) -> None:
        pass


class AsyncProducer(_Plain):
    """The same for those who send from an event loop; starting and ending the loop's turn is not part of a send."""

    client: "redis.Redis | None" = None

    def __init__(self) -> None:
        self.runner = asyncio.Runner()

    async def asend(self, number: int, *, job: str) -> None:
        """Send one message the way an application does."""
        raise NotImplementedError

    def send(self, number: int, *, job: str = "note", queue: int = 0) -> int:
        async def one() -> int:
            began_ns = monotonic_ns()
            await self.asend(number, job=job)
            return began_ns

        return self.runner.run(one())

    def send_many(self, numbers: Sequence[int], *, job: str = "note") -> None:
        async def all_of_them() -> None:
            for number in numbers:
                await self.asend(number, job=job)

        self.runner.run(all_of_them())

    def send_times_ns(self, numbers: Sequence[int], *, job: str = "note") -> list[int]:
        async def timed() -> list[int]:
            times: list[int] = []
            for number in numbers:
                began_ns = perf_counter_ns()
                await self.asend(number, job=job)
                times.append(perf_counter_ns() - began_ns)
            return times

        return self.runner.run(timed())

    def close(self) -> None:
        self.runner.close()


def _writer() -> Writer | None:
    folder = os.environ.get("BENCH_LOG")
    return Writer(Path(folder)) if folder else None


_WRITER = _writer()


def note(number: int) -> None:
    """Body of the message that does nothing."""
    assert _WRITER is not None
    _WRITER.note(number)


def io(number: int) -> None:
    """Body of a message that waits for somebody else, as a gateway call does."""
    Event().wait(IO_S)
    note(number)


def hold(number: int) -> None:
    """Body of a message that is in flight when its process is killed; elsewhere it ends at once."""
    note(number)
    if os.environ.get("BENCH_HOLD"):
        Event().wait(HOLD_S)


async def anote(number: int) -> None:
    """:func:`note` for an event loop."""
    note(number)


async def aio(number: int) -> None:
    """:func:`io` for an event loop."""
    await asyncio.sleep(IO_S)
    note(number)


async def ahold(number: int) -> None:
    """:func:`hold` for an event loop."""
    note(number)
    if os.environ.get("BENCH_HOLD"):
        await asyncio.sleep(HOLD_S)


JOBS: dict[str, Callable[[int], None]] = {"note": note, "io": io, "hold": hold}
ASYNC_JOBS: dict[str, Callable[[int], Coroutine[Any, Any, None]]] = {"note": anote, "io": aio, "hold": ahold}
