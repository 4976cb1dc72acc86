"""Webhooks on their way out of the sandbox: in order, with the retries of the provider, and never in the way of an answer.

``webhooks`` queues Evolution's events; another provider's file queues its own, signed. One thread, started by the first event.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

import httpx

from actors.gateways.sandbox.state import State

#: Latest events kept for inspection.
MAX_LOG = 5_000
#: An endpoint has this long to answer, in seconds; Evolution waits as long.
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Retry:
    """When a refused event is sent again. The defaults are Evolution's."""

    max_attempts: int = 10
    first_s: float = 5.0
    cap_s: float = 300.0
    jitter: float = 0.2
    never_after: frozenset[int] = frozenset({400, 401, 403, 404, 422})

    def delay_s(self, attempt: int, *, draw: float) -> float:
        """The wait after this attempt, counted from 1; ``draw`` in [0, 1)."""
        delay_s: float = min(self.first_s * 2.0 ** (attempt - 1), self.cap_s)
        return max(self.first_s, delay_s * (1 + self.jitter * (2 * draw - 1)))


@dataclass(slots=True)
class Event:
    """One webhook. ``body`` is asked for when it is first sent; None then means that it has become untrue."""

    url: str
    name: str
    body: Callable[[], bytes | None]
    retry: Retry = Retry()
    headers: Mapping[str, str] = field(default_factory=dict)
    sign: Callable[[bytes], Mapping[str, str]] | None = None
    content: bytes | None = field(default=None, repr=False)
    log: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0


class WebhookSender:
    """The queue and its thread. Safe to call from many threads."""

    def __init__(self, state: State, *, seed: int) -> None:
        self._state = state
        self._draws = random.Random(f"{seed}|webhooks")  # noqa: S311  # a repeatable draw, not a secret
        self._changed = Condition()
        self._due: list[tuple[int, int, Event]] = []
        self._numbers = itertools.count()
        self._thread: Thread | None = None
        self._held: Event | None = None
        self._busy = False
        self._epoch = 0
        self._log: deque[dict[str, Any]] = deque(maxlen=MAX_LOG)
        state.alarms.append(self._wake)

    def add(self, event: Event, *, delay_ms: float = 0, overtaken_ms: float = 0) -> None:
        """Send ``event`` that much later; those of the same moment keep their order.

        ``overtaken_ms``: hold it back until the next one has gone, at most that long.
        """
        with self._changed:
            held, self._held = self._held, None
            self._push(event, delay_ms=delay_ms + overtaken_ms)
            if held is not None:
                self._release(held)
            if overtaken_ms:
                self._held = event
            if self._thread is None:
                self._thread = Thread(target=self._run, name="sandbox-webhooks", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def log(self) -> list[dict[str, Any]]:
        """Events in the order of their first attempt: ``event``, ``url``, ``attempts`` (status or error), ``outcome``."""
        with self._changed:
            return [{**one, "attempts": list(one["attempts"])} for one in self._log]

    def clear(self) -> None:
        """Forget what waits and what was sent."""
        with self._changed:
            self._due.clear()
            self._held = None
            self._log.clear()
            self._epoch += 1
            self._changed.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Whether nothing is due or being sent any more, within that time; what is due later does not count."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and self._left_s() > 0, timeout=timeout_s)

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, after the sandbox has stopped."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _push(self, event: Event, *, delay_ms: float) -> None:
        heapq.heappush(self._due, (self._state.boot_ms() + int(delay_ms), next(self._numbers), event))

    def _release(self, held: Event) -> None:
        """Put a held one behind the newest; it may have gone by itself."""
        kept = [one for one in self._due if one[2] is not held]
        if len(kept) < len(self._due):
            at_ms = max(one[0] for one in kept)
            self._due = kept
            heapq.heapify(self._due)
            heapq.heappush(self._due, (at_ms, next(self._numbers), held))

    def _left_s(self) -> float:
        return (self._due[0][0] - self._state.boot_ms()) / 1000 if self._due else 3600.0

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as web:
            while (event := self._next()) is not None:
                self._send(web, event)

    def _next(self) -> Event | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            while (left_s := self._left_s()) > 0 and not self._state.stopping.is_set():
                self._changed.wait(left_s)
            if self._state.stopping.is_set():
                return None
            self._busy = True
            return heapq.heappop(self._due)[2]

    def _send(self, web: httpx.Client, event: Event) -> None:
        if event.content is None:
            event.content = event.body()
            if event.content is None:
                return
            event.log = {"event": event.name, "url": event.url, "attempts": [], "outcome": "waiting"}
            with self._changed:
                self._log.append(event.log)
                event.epoch = self._epoch
        signed = event.sign(event.content) if event.sign is not None else {}
        headers = {"Content-Type": "application/json", **event.headers, **signed}
        try:
            status: int | str = web.post(event.url, content=event.content, headers=headers).status_code
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            status = type(error).__name__
        with self._changed:
            self._judge(event, status)

    def _judge(self, event: Event, status: int | str) -> None:
        attempts = event.log["attempts"]
        attempts.append(status)
        if isinstance(status, int) and 200 <= status < 300:
            event.log["outcome"] = "delivered"
        elif status in event.retry.never_after or len(attempts) >= event.retry.max_attempts:
            event.log["outcome"] = "given_up"
        elif event.epoch == self._epoch:
            self._push(event, delay_ms=1000 * event.retry.delay_s(len(attempts), draw=self._draws.random()))
