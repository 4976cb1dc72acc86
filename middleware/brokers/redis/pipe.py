"""Send packed commands and read their replies, with as little between as a hot path allows.

``scripts`` uses it, and ``waiter`` for its one question. redis-py makes, checks and mends the connections; its client would pack thirty keys anew for every
message and look each command up in a table.
"""

import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

import redis

#: A connection that was used so lately is used again without a look whether the server has ended it, in seconds.
FRESH_S = 1.0


def packed(prefix: bytes, prefix_count: int, args: Iterable[Any]) -> bytes:
    """One command: ``prefix`` holds its first ``prefix_count`` words as :func:`words` made them, ``args`` follow."""
    rest = words(args)
    return b"".join((b"*%d\r\n" % (prefix_count + len(rest)), prefix, *rest))


def words(args: Iterable[Any]) -> list[bytes]:
    """Words of a command as they are sent: bytes as they are, text as UTF-8, all else as text."""
    made = []
    for arg in args:
        word = arg if type(arg) is bytes else str(arg).encode("utf-8", "surrogatepass")
        made.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return made


class Pipe:
    """Open connections of one client, each lent to one thread at a time. Safe to share; survives a fork."""

    def __init__(self, client: "redis.Redis") -> None:
        self._pool = client.connection_pool
        #: Connections that nobody uses, the one used last at the end, each with when that was.
        self._idle: deque[tuple[Any, float]] = deque()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._is_closed = False

    def run(self, commands: Sequence[bytes]) -> list[Any]:
        """Replies to ``commands``, sent together; a refusal (``redis.ResponseError``) stands in the place of its reply.

        Raises:
            redis.ConnectionError, redis.TimeoutError: which of them were carried out is not known. A next try makes a new
                connection: those at hand are likely to be as dead.
        """
        connection = self._take()
        try:
            connection.send_packed_command([b"".join(commands)], check_health=False)
            replies = [reply_of(connection) for _ in commands]
        except BaseException:
            self._give_up(connection)
            raise
        self._put_back(connection)
        return replies

    def ask(self, command: bytes) -> Any:
        """Reply to one command: see :meth:`run`."""
        connection = self._take()
        try:
            connection.send_packed_command((command,), check_health=False)
            reply = reply_of(connection)
        except BaseException:
            self._give_up(connection)
            raise
        self._put_back(connection)
        return reply

    def _give_up(self, connection: Any) -> None:
        # An answer may still be on its way: it must not be read as that to the next command.
        connection.disconnect()
        self._disconnect_idle()
        self._put_back(connection)

    def _put_back(self, connection: Any) -> None:
        self._idle.append((connection, monotonic()))
        if self._is_closed:
            self.close()

    def _take(self) -> Any:
        if self._pid != os.getpid():
            with self._lock:
                self._idle, self._pid = deque(), os.getpid()
        try:
            connection, used_at_s = self._idle.pop()
        except IndexError:
            return self._pool.get_connection()
        if monotonic() - used_at_s > FRESH_S:
            try:
                # Something to read before anything was asked is the end that a server sent, or an answer to nobody.
                if connection.can_read():
                    connection.disconnect()
                # Here and not with each command, for the same reason: one that was used a moment ago needs none.
                connection.check_health()
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                connection.disconnect()
        return connection

    def _disconnect_idle(self) -> None:
        # As many as there are now: others may be giving theirs back meanwhile.
        for _ in range(len(self._idle)):
            try:
                connection, used_at_s = self._idle.popleft()
            except IndexError:
                return
            connection.disconnect()
            self._idle.append((connection, used_at_s))

    def close(self) -> None:
        """Give the connections back to their pool; also those of a thread that is late, as soon as it is done."""
        self._is_closed = True
        while True:
            try:
                connection, _ = self._idle.pop()
            except IndexError:
                return
            connection.disconnect()
            self._pool.release(connection)


def reply_of(connection: Any) -> Any:
    """The next reply on a connection; a refusal in its place."""
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
