"""Worker processes that kill themselves, each once at a named boundary of one message, and are replaced.

``tests/chaos/test_boundaries.py`` runs it as a program: ``dying_worker.py <plan.json> <folder of flags> <processes>``. The plan
says at which boundary of which message a process dies; who has died there leaves a flag, so that nobody does again. Nothing in
the product knows of it: its functions are wrapped from here, before the processes are forked. One thread each, so that
a death strikes one message.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpcore._sync.http11 as http
from dramatiq.middleware import CurrentMessage

import actors
from actors import delivery, services, traffic
from actors.domain import AttemptState
from actors.gateways import evolution
from middleware import dead_letter, worker_process
from middleware.brokers.redis import consumer, rounds

#: A letter that a dead process had claimed is told of again this soon, in milliseconds; in production after 30 s.
HOLD_MS = 700

Names = Callable[..., str | None]


class Deaths:
    """Who dies where: message id → boundary."""

    def __init__(self, plan: dict[str, str], flags: Path) -> None:
        self.plan = plan
        self.flags = flags
        #: Id of the message in the queue → chat message, of what this process has acknowledged.
        self.jobs: dict[str, str] = {}

    def at(self, boundary: str | None, message_id: str | None) -> None:
        """Die, if that is the place."""
        if boundary is None or message_id is None or self.plan.get(message_id) != boundary:
            return
        with suppress(FileExistsError):
            (self.flags / message_id).touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(
        self,
        owner: Any,
        name: str,
        *,
        before: str | None = None,
        after: str | None = None,
        of: Names | None = None,
        when: Callable[..., bool] = lambda *_, **__: True,
        only_if_found: bool = False,
    ) -> None:
        """Let ``owner.name`` be deadly: ``of`` tells whose call it is, ``when`` which calls, ``only_if_found`` which results."""
        inner, of = getattr(owner, name), of or (lambda *_, **__: _current())

        def deadly(*args: Any, **kwargs: Any) -> Any:
            whose = of(*args, **kwargs) if when(*args, **kwargs) else None
            self.at(before, whose)
            result = inner(*args, **kwargs)
            if result is not None or not only_if_found:
                self.at(after, whose)
            return result

        setattr(owner, name, deadly)


def _current() -> str | None:
    """Chat message that runs in this thread."""
    message = CurrentMessage.get_current_message()
    return message.kwargs.get("message_id") if message is not None else None


def _settles(state: AttemptState) -> Callable[..., bool]:
    return lambda _, __, to, **___: to is state


def _is_send(_: Any, request: Any) -> bool:
    # Not the question for the version, which may come first.
    return b"/message/send" in request.url.target


def wrap(deaths: Deaths) -> None:
    """Every boundary by its name, in the order of a send."""
    store, around = type(services.get().store), deaths.around
    around(store, "load_message", before="before it is loaded")
    around(traffic.Traffic, "_enter", before="before its place", after="with its place")
    around(store, "claim", before="before its claim", after="claimed", when=lambda _, one, **__: one.part == 0)
    around(store, "claim", after="claimed again", when=lambda _, one, **__: one.number == 2)
    around(store, "claim", after="second part claimed", when=lambda _, one, **__: one.part == 1)
    around(http.HTTP11Connection, "_send_request_headers", before="before the first byte", when=_is_send)
    around(http.HTTP11Connection, "_receive_response_headers", before="written", when=_is_send)
    around(evolution.EvolutionGateway, "send", after="answered")
    recording = "_record" if hasattr(store, "_record") else "_recorded"
    around(store, recording, before="part recorded, row not", after="row recorded, not committed")
    around(store, "record_sent", after="recorded")
    around(store, "settle", after="part recorded", when=_settles(AttemptState.ACCEPTED))
    around(store, "settle", before="before unknown", after="unknown", when=_settles(AttemptState.UNKNOWN))
    around(store, "settle", before="before dead", after="dead", when=_settles(AttemptState.DEAD))
    around(traffic.Traffic, "_leave", before="before it leaves its place", after="left its place")
    around(delivery, "find", before="before the look", after="looked")
    around(delivery, "find", after="found", only_if_found=True)
    around(store, "looked", before="before the look is noted", after="look noted")
    for name in ("ack", "nack"):
        around(consumer.CarrierConsumer, name, before="before its outcome", of=lambda _, one: _noted(deaths, one))
    around(rounds.Rounds, "make", after="outcome written", of=lambda _, tickets, __: _of_tickets(deaths, tickets))
    letters = dead_letter.DeadLetterAnnouncer
    around(letters, "_tell_listeners", before="before it is told", after="told", of=lambda _, one: _of_letter(one))


def _noted(deaths: Deaths, message: Any) -> str | None:
    id_ = message.kwargs.get("message_id")
    if id_ is not None:
        deaths.jobs[message.lease.id] = id_
    return id_


def _of_tickets(deaths: Deaths, tickets: Any) -> str | None:
    return next(
        (deaths.jobs[one.settlement.lease.id] for one in tickets if one.settlement.lease.id in deaths.jobs), None
    )


def _of_letter(letter: Any) -> str | None:
    return letter.kwargs.get("message_id")


def serve(parent: int) -> int:
    """One worker process."""
    return worker_process.main(["actors:broker", "--threads", "1", "--parent", str(parent)])


def keep(processes: int) -> None:
    """Fork, and fork again for each that was killed, until this is told to stop."""
    alive: set[int] = set()

    def stop(*_: object) -> None:
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    parent = os.getpid()
    while True:
        while len(alive) < processes:
            pid = os.fork()
            if pid == 0:
                os._exit(serve(parent))
            alive.add(pid)
        pid, status = os.wait()
        alive.discard(pid)
        if not os.WIFSIGNALED(status):
            sys.exit(f"a worker process ended by itself: {status}")


def main(plan: Path, flags: Path, processes: int) -> None:
    for one in actors.broker.middleware:
        if isinstance(one, dead_letter.DeadLetterAnnouncer):
            one.hold_ms = HOLD_MS
    wrap(Deaths(json.loads(plan.read_text()), flags))
    keep(processes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
