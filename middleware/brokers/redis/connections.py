"""Clients of the queue's Redis: one for commands, one that blocks; and the proof that they are on the pinned database.

Used by the broker, the dead-letter and memory commands and ``doctor``.
"""

import logging
import os
import socket
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry as ClientRetry

from middleware.brokers.redis.scripts import translated
from middleware.errors import ExitCode, Refusal

logger = logging.getLogger(__name__)

#: A command that has no answer by then has failed, in seconds. Scripts are repeated once, so a send is refused in under five.
SOCKET_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 1.0
#: Longest that a blocking client blocks, in seconds.
BLOCK_S = 5.0
#: Connections of one process, in all threads; a thread waits for a free one rather than failing.
MAX_CONNECTIONS = 64


class _Pool(redis.BlockingConnectionPool):
    """Once closed it keeps no connection: a thread that is late opens one, and nobody would close it."""

    _is_closed = False

    def close(self) -> None:
        """See :meth:`redis.ConnectionPool.close`."""
        self._is_closed = True
        super().close()

    def release(self, connection: Any) -> None:
        """See :meth:`redis.ConnectionPool.release`."""
        super().release(connection)  # type: ignore[no-untyped-call]
        if self._is_closed:
            connection.disconnect()


def kwargs_of(url: str) -> dict[str, Any]:
    """Connection arguments of a URL as it is, without a pin: for the bare broker class."""
    return dict(parse_url(url or "redis://127.0.0.1:6379/0"))  # type: ignore[no-untyped-call]


def make_client(kwargs: dict[str, Any], *, role: str) -> "redis.Redis":
    """Client for commands; ``role`` shows in ``CLIENT LIST``. Connects when first used; survives a fork; to be closed."""
    settings = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": 30,
        # Repeating is for whoever knows that a command may be repeated (``scripts``).
        "retry": ClientRetry(NoBackoff(), 0),
        "client_name": f"chat-{role}-{socket.gethostname()}-{os.getpid()}",
        "decode_responses": False,
    }
    pool = _Pool(  # type: ignore[no-untyped-call]
        **{**settings, **kwargs, "decode_responses": False}, max_connections=MAX_CONNECTIONS, timeout=SOCKET_TIMEOUT_S
    )
    # Else closing it would leave the pool open, until the collector meets it.
    return redis.Redis.from_pool(pool)


def make_blocking_client(kwargs: dict[str, Any]) -> "redis.Redis":
    """Client that may block: its socket timeout is above the block, whatever the URL says."""
    return make_client(
        {**kwargs, "socket_timeout": BLOCK_S + 5, "health_check_interval": 0},
        role="wait",
    )


def assert_pinned(client: "redis.Redis", *, db: int) -> None:
    """Refuse to go on unless both the pool and the live connection are on ``db``.

    Raises:
        Refusal: they are not; a ``SystemExit``, because Dramatiq swallows other errors of a boot hook.
    """
    pool_db = client.connection_pool.connection_kwargs.get("db", 0)
    if pool_db != db:
        raise Refusal(ExitCode.WRONG_DATABASE, f"the queue's pool is on database {pool_db}, it must be {db}")
    try:
        with translated("asking which database the connection is on"):
            live_db = int(client.client_info()["db"])
    except Exception as error:
        if _is_select_refused(error.__cause__):
            raise Refusal(
                ExitCode.WRONG_DATABASE, f"the queue's Redis refuses database {db}: {error.__cause__}"
            ) from error
        raise Refusal(ExitCode.UNAVAILABLE, f"the queue's Redis cannot be asked for its database: {error}") from error
    if live_db != db:
        raise Refusal(
            ExitCode.WRONG_DATABASE,
            f"the live connection is on database {live_db}, it must be {db}: this server does not honour SELECT",
        )


def _is_select_refused(error: BaseException | None) -> bool:
    # "DB index is out of range", "SELECT is not allowed in cluster mode", "no permissions to run the 'select' command".
    text = str(error).lower()
    return isinstance(error, redis.ResponseError) and ("db index" in text or "select" in text)


def refuse_unpinned(client: "redis.Redis", *, db: int) -> None:
    """The same for a process that starts; it says why in the log, because Dramatiq's master only shows the code.

    Raises:
        Refusal: see :func:`assert_pinned`.
    """
    try:
        assert_pinned(client, db=db)
    except Refusal as refusal:
        logger.critical("worker.refused: %s", refusal)
        raise
