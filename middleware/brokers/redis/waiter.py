"""One blocking wait per process, over the wake lists of all its queues.

A wake token carries nothing: it says "fetch", so a lost one costs at most one block. Consumers hang a bell per queue here;
the waiter rings it when a token came and when a delayed message is due. A stock producer pushes no token: the keeper's round
sees its message and rings.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

import redis

from middleware.brokers.redis.keys import Keys
from middleware.clock import Clock

logger = logging.getLogger(__name__)

#: One block, in seconds.
BLOCK_S = 5.0
#: Pause after an error, in seconds; the connection is retried for ever.
RETRY_S = 0.5
#: Shortest block, in seconds; 0 would block for ever.
SHORTEST_S = 0.005


class Waiter:
    """The waiting thread. ``connect`` gives a client whose socket timeout is above the block."""

    def __init__(
        self,
        connect: Callable[[], "redis.Redis"],
        keys: Keys,
        *,
        disconnect: Callable[["redis.Redis"], None],
        broker_id: str,
        clock: Clock,
    ) -> None:
        self._connect = connect
        self._disconnect = disconnect
        self._keys = keys
        self._doorbell = keys.doorbell(broker_id)
        self._clock = clock
        self._bells: dict[str, threading.Event] = {}
        self._due_boot_ms: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._client: redis.Redis | None = None
        #: Boot-clock time of the last answer; health reads it.
        self.last_answer_boot_ms = 0

    def hang(self, queue_name: str, bell: threading.Event) -> None:
        """Ring ``bell`` when ``queue_name`` may have something; starts the thread with the first bell."""
        with self._lock:
            self._bells[queue_name] = bell
            starting = self._thread is None
            if starting:
                self._thread = threading.Thread(target=self._run, name="queue-waiter", daemon=True)
        if starting:
            assert self._thread is not None  # noqa: S101 - set two lines above
            self._thread.start()
        else:
            self.poke()

    def due(self, queue_name: str, in_ms: int | None) -> None:
        """A delayed message of the queue is due in ``in_ms``; ends the present block when it was timed for later."""
        with self._lock:
            before = self._due_boot_ms.get(queue_name)
            if in_ms is None:
                self._due_boot_ms.pop(queue_name, None)
                return
            at_boot_ms = self._clock.boot_ms() + in_ms
            self._due_boot_ms[queue_name] = at_boot_ms
            nearer = in_ms < BLOCK_S * 1000 and (before is None or at_boot_ms < before)
        if nearer and threading.current_thread() is not self._thread:
            self.poke()

    def poke(self) -> None:
        """End the present block. What cannot be poked wakes by itself after the block."""
        client = self._client
        if client is not None:
            try:
                pipeline = client.pipeline(transaction=False)
                pipeline.rpush(self._doorbell, "1")
                # Should this process die now, its doorbell must not stay behind.
                pipeline.expire(self._doorbell, 60)
                pipeline.execute()
            except redis.RedisError:
                logger.debug("waiter.poke_failed")

    def stop(self) -> None:
        """End the thread; returns when it is gone."""
        self._stopping.set()
        self.poke()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(BLOCK_S + 1)
        client, self._client = self._client, None
        if client is not None:
            self._disconnect(client)

    def _run(self) -> None:
        try:
            self._client = self._connect()
        except Exception as error:
            # Its text may quote a URL.
            logger.critical("waiter.no_client", extra={"code": type(error).__name__})
            return
        while not self._stopping.is_set():
            try:
                self._wait_once()
            except redis.RedisError as error:
                logger.warning("waiter.disconnected", extra={"code": type(error).__name__})
                self._clock.wait(RETRY_S, until=self._stopping)
                # A restarted server has lost our block and perhaps its tokens: look everywhere.
                self._ring_all()

    def _wait_once(self) -> None:
        with self._lock:
            queue_of = {self._keys.of(name, "wake"): name for name in self._bells}
        client = self._client
        if client is None:
            return
        reply: Any = client.blpop([self._doorbell, *queue_of], timeout=self._block_s())
        self.last_answer_boot_ms = self._clock.boot_ms()
        name = queue_of.get(str(reply[0], "utf-8")) if reply else None
        if name is not None:
            self.ring(name)
        self._ring_due()

    def _block_s(self) -> float:
        with self._lock:
            now_ms = self._clock.boot_ms()
            nearest_ms = min(self._due_boot_ms.values(), default=now_ms + int(BLOCK_S * 1000))
        return max(SHORTEST_S, min(BLOCK_S, (nearest_ms - now_ms) / 1000))

    def ring(self, queue_name: str) -> None:
        """Ring the bell of a queue, if one hangs here."""
        with self._lock:
            bell = self._bells.get(queue_name)
        if bell is not None:
            bell.set()

    def _ring_due(self) -> None:
        with self._lock:
            now_ms = self._clock.boot_ms()
            due = [name for name, at_ms in self._due_boot_ms.items() if at_ms <= now_ms]
            for name in due:
                del self._due_boot_ms[name]
        for name in due:
            self.ring(name)

    def _ring_all(self) -> None:
        with self._lock:
            bells = list(self._bells.values())
        for bell in bells:
            bell.set()
