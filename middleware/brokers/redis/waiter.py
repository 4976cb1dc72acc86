"""One blocking wait per process, over the wake lists of all its queues.

A wake token carries nothing: it says "fetch", so a lost one costs at most one block. The first message comes with it
(``standing``), the rest the waiter's thread fetches; what it has no place for it passes on to another process. A stock producer pushes no token: the keeper's round sees its message.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis

from middleware.brokers.redis.connections import BLOCK_S
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.pipe import packed, reply_of
from middleware.brokers.redis.ports import Door, Places, Standing
from middleware.brokers.redis.timetable import Timetable
from middleware.brokers.redis.values import Fetch
from middleware.clock import Clock

logger = logging.getLogger(__name__)

#: An answer that comes so much later than the block's end does not come any more, in seconds.
ANSWER_S = 5.0
#: How long the interpreter is left to a thread that was woken, in seconds: what a processor needs to take it up.
YIELD_S = 0.000_05
#: Pause after an error, in seconds; the connection is retried for ever.
RETRY_S = 0.5


class Waiter:
    """The waiting thread. ``connect`` gives a client whose socket timeout is above the block."""

    def __init__(  # noqa: PLR0913 - what it is plugged into
        self,
        connect: Callable[[], "redis.Redis"],
        keys: Keys,
        *,
        door: Door,
        places: Places,
        standing: Standing,
        broker_id: str,
        clock: Clock,
        block_s: float = BLOCK_S,
    ) -> None:
        """``block_s`` is the longest that one block lasts."""
        self._connect = connect
        self._keys = keys
        self._door = door
        self._places = places
        self._standing = standing
        self._doorbell = keys.doorbell(broker_id)
        self._clock = clock
        self._queue_of: dict[bytes, str] = {}
        self._block_s = block_s
        self._times = Timetable(clock, horizon_s=block_s)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._client: redis.Redis | None = None
        #: The connection that blocks, whether it was asked and not answered yet, and for which queues.
        self._connection: Any = None
        self._is_asked = False
        self._asked_boot_ms = 0
        self._asked_of: dict[bytes, str] = {}
        self._question = b""
        #: A fetch was sent with it.
        self._stands = False
        #: Boot-clock time of the last answer, or of the last look while no place was free; health reads it.
        self.last_turn_boot_ms = 0

    def listen(self, queue_name: str) -> None:
        """Fetch when ``queue_name`` may have something; starts the thread with the first queue."""
        with self._lock:
            self._queue_of[self._keys.of(queue_name, "wake").encode()] = queue_name
            starting = self._thread is None
            if starting:
                self._thread = threading.Thread(target=self._run, name="queue-waiter", daemon=True)
        if starting:
            assert self._thread is not None  # noqa: S101 - set two lines above
            self._thread.start()
        else:
            self.poke()

    def due(self, queue_name: str, in_ms: int | None) -> None:
        """Time brings something to the queue in ``in_ms`` (None: never); ends a block that was timed for later."""
        self._wake_for(nearer=self._times.due(queue_name, in_ms))

    def again(self, queue_name: str, in_ms: int) -> None:
        """Fetch from the queue again in ``in_ms``, whatever comes due there."""
        self._wake_for(nearer=self._times.again(queue_name, in_ms))

    def _wake_for(self, *, nearer: bool) -> None:
        if nearer and threading.current_thread() is not self._thread:
            self.poke()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def waits_for(self) -> frozenset[str]:
        """Queues whose tokens would end the block under way; empty while there is none."""
        return frozenset(self._asked_of.values()) if self._is_asked else frozenset()

    def widen(self) -> None:
        """A place for a message of a slow queue has become free; ends a block that leaves such a queue out."""
        waits_for = self.waits_for
        if waits_for and any(self._places.takes(name) for name in frozenset(self._names()) - waits_for):
            self.poke()

    def poke(self) -> None:
        """End the present block. What cannot be poked wakes by itself after the block."""
        self._places.place_is_free.set()
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
        self._places.place_is_free.set()
        self.poke()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._block_s + ANSWER_S)
        client, self._client = self._client, None
        if client is not None:
            client.close()

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
                self._disconnect()
                logger.warning("waiter.disconnected", extra={"code": type(error).__name__})
                self._clock.wait(RETRY_S, until=self._stopping)
                # A restarted server has lost our block and perhaps its tokens: look everywhere.
                self._fetch(*self._names())
            except Exception as error:
                self._disconnect()
                # This thread must outlive every surprise: without it an idle process would never work again.
                logger.critical("waiter.broken", extra={"code": type(error).__name__})
                self._clock.wait(RETRY_S, until=self._stopping)
        self._end_wait()

    def _end_wait(self) -> None:
        """Take what comes with the last wait, and so give it back: else it lay here until its lease ran out."""
        try:
            if self._is_asked and self._stands and self._connected().can_read(ANSWER_S):
                _, came = self._answer()
                if came is not None:
                    self._door.deliver(came[0], came[1].messages)
        except redis.RedisError as error:
            logger.debug("waiter.end_failed", extra={"code": type(error).__name__})

    def _disconnect(self) -> None:
        connection, self._connection, self._is_asked = self._connection, None, False
        self._standing.lose()
        if connection is not None:
            connection.disconnect()
            with suppress(redis.RedisError):
                if self._client is not None:
                    self._client.connection_pool.release(connection)

    def _names(self) -> list[str]:
        with self._lock:
            return list(self._queue_of.values())

    def _wait_once(self) -> None:
        if not self._is_asked:
            self._places.place_is_free.clear()
            if self._places.room() == 0:
                # A token taken now would be kept from a process that has a place for its message. But outcomes that could not be
                # written may take all places: then nobody but this thread has them tried again.
                self.last_turn_boot_ms = self._clock.boot_ms()
                self._clock.wait(self._times.block_s(), until=self._places.place_is_free)
                self._fetch_due()
                return
        if self._is_answered():
            name, came = self._answer()
            if came is not None:
                self._have(*came)
            if came is None or came[0] != name:
                self._fetch_for(name)
        self._fetch_due()

    def _have(self, queue_name: str, fetch: Fetch) -> None:
        self._door.deliver(queue_name, fetch.messages)
        # The thread that has it now needs the interpreter, which this one would hold until it waits again.
        time.sleep(YIELD_S)  # noqa: TID251 - waits for nothing
        self._times.due(queue_name, fetch.next_due_in_ms)
        if fetch.left:
            self._fetch(queue_name)

    def _fetch_for(self, name: str | None) -> None:
        if name is None:
            # Poked, perhaps by who found no place but the one that was kept.
            self._fetch()
        elif not self._fetch(name):
            self._pass_on(name)

    def _fetch_due(self) -> None:
        due = self._times.take_due()
        if due:
            self._fetch(*due)

    def _is_answered(self) -> bool:
        """Whether the block is over; False when time brings something first.

        Redis looks at the time-outs of those whom it blocks ten times a second only, so a block cannot be an alarm: what was
        asked stays asked, and the time is kept here.
        """
        connection = self._connected()
        if not self._is_asked:
            self._ask(connection)
        if connection.can_read(self._times.block_s()):
            return True
        if self._clock.boot_ms() - self._asked_boot_ms > (self._block_s + ANSWER_S) * 1000:
            raise redis.TimeoutError("no answer to a block that is over")
        return False

    def _ask(self, connection: Any) -> None:
        with self._lock:
            # A token of a slow queue that has all its places would be kept from a process that has one.
            asked_of = {key: name for key, name in self._queue_of.items() if self._places.takes(name)}
        if asked_of != self._asked_of or not self._question:
            self._asked_of = asked_of
            self._question = packed(b"", 0, ("BLPOP", self._doorbell, *asked_of, self._block_s))
        fetch = self._standing.ask(tuple(asked_of.values()))
        self._stands = bool(fetch)
        # From here on: should the write fail, the server may have it all the same.
        self._is_asked, self._asked_boot_ms = True, self._clock.boot_ms()
        connection.send_packed_command([self._question + fetch])

    def _answer(self) -> tuple[str | None, tuple[str, Fetch] | None]:
        """Queue whose token came, if one did, and what came with it."""
        connection = self._connected()
        token = reply_of(connection)
        came = self._standing.take(reply_of(connection)) if self._stands else None
        self._is_asked = False
        self.last_turn_boot_ms = self._clock.boot_ms()
        if isinstance(token, redis.ResponseError):
            if came is not None:
                self._door.deliver(came[0], came[1].messages)
            raise token
        return self._asked_of.get(token[0]) if token else None, came

    def _connected(self) -> Any:
        if self._connection is None:
            client = self._client
            if client is None:
                raise redis.ConnectionError("the waiter is stopped")
            self._connection = client.connection_pool.get_connection()
        return self._connection

    def _pass_on(self, queue_name: str) -> None:
        client = self._client
        if client is not None:
            client.rpush(self._keys.of(queue_name, "wake"), "1")

    def _fetch(self, *queue_names: str) -> bool:
        return self._stopping.is_set() or self._door.ring(*queue_names)
