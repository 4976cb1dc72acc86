"""Load the Lua files, run them on one queue or many, and say in our words what Redis refused.

Used by ``transitions`` alone: nobody else calls a script or catches an error of redis-py.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any

import redis
from redis.commands.core import Script

from middleware.brokers.redis.keys import Keys
from middleware.errors import PipelineError, QueueFull, QueueRefused, QueueUnavailable

#: Scripts that free memory or only move ids: they must run when Redis is full, else a full queue can never be drained.
#: Redis ≥ 7 needs the flag for that; an older server refuses the first line, and then they run without it.
DRAINING = frozenset(
    {
        "fetch",
        "disown",
        "finish",
        "release",
        "renew",
        "tend",
        "announce",
        "announced",
        "withhold",
        "discard",
        "purge",
        "stats",
    }
)
_ALLOW_OOM = "#!lua flags=allow-oom\n"
#: Most messages one call moves: Lua's stack bounds ``unpack``.
MAX_BATCH = 500


@cache
def source(name: str) -> str:
    """Text of a script as it is sent, without the flag line."""
    folder = files("middleware.brokers.redis") / "lua"
    prelude = (folder / "prelude.lua").read_text(encoding="utf-8")
    return prelude + (folder / f"{name}.lua").read_text(encoding="utf-8")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn redis-py's errors into ours; ``doing`` says what was attempted and on which queue or id.

    Raises:
        QueueUnavailable: no answer in time, or the server is still loading.
        QueueFull: ``maxmemory`` is reached.
        QueueRefused: read-only, no right, snapshot failed, too few replicas, busy script.
        PipelineError: the script itself failed; a bug of ours.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        # AuthenticationError and the like are connection errors of redis-py; their class says enough.
        raise QueueUnavailable(
            f"Redis did not answer while {doing} ({type(error).__name__}); is it up and reachable? try `chat-actors doctor`"
        ) from error
    except redis.ResponseError as error:
        raise _refusal(error, doing) from error


def _refusal(error: redis.ResponseError, doing: str) -> PipelineError:
    text = str(error)
    # Redis 6.2 wraps a script's OOM in a plain ResponseError (shared Redis notes, measured), so the text decides.
    if isinstance(error, redis.OutOfMemoryError) or "OOM" in text:
        return QueueFull(
            f"Redis is full (maxmemory) and refused {doing}; free memory or raise maxmemory, then send again"
        )
    for word in ("READONLY", "NOPERM", "MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN", "NOAUTH"):
        if word in text or (word == "NOPERM" and isinstance(error, redis.exceptions.NoPermissionError)):
            return QueueRefused(f"Redis refused {doing}: {word}; `chat-actors doctor` says why and what to do")
    if isinstance(error, redis.ReadOnlyError):
        return QueueRefused(
            f"Redis refused {doing}: this server is a read-only replica; point REDIS_URL at the primary"
        )
    return PipelineError(f"Redis could not run the step while {doing}: {type(error).__name__}")


class Scripts:
    """The scripts of one client. Safe to share between threads; a flushed script cache is refilled by redis-py."""

    def __init__(self, client: "redis.Redis", keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self._scripts: dict[tuple[str, bool], Script] = {}
        #: False once a server has refused a script's flags.
        self._flags_known: bool | None = None

    def run(
        self,
        name: str,
        queue_names: str | Sequence[str],
        *args: Any,
        doing: str,
        more_keys: Sequence[str] = (),
        repeat: bool = True,
    ) -> Any:
        """Run ``name`` over one queue, or over several for the scripts that loop; ``more_keys`` follow the queues' keys.

        ``repeat`` False: the caller must know that a reply was lost.

        Raises: see :func:`translated`.
        """
        names = [queue_names] if isinstance(queue_names, str) else queue_names
        keys = [*(key for queue_name in names for key in self.keys.queue(queue_name)), *more_keys]
        with translated(doing):
            try:
                return self._run(name, keys, args)
            except (redis.ConnectionError, redis.TimeoutError):
                if not repeat:
                    raise
                # Once more, on a fresh connection: every script may be repeated. Not through redis-py's own retries, which
                # nest (of the command and of the connect inside it) and made a send wait 8 s for a silent server.
                return self._run(name, keys, args)

    def _run(self, name: str, keys: list[str], args: tuple[Any, ...]) -> Any:
        flagged = name in DRAINING and self._flags_known is not False
        try:
            return self._script(name, flagged=flagged)(keys=keys, args=args)
        except redis.ResponseError as error:
            if not flagged or "compil" not in str(error):
                raise
            # Redis 6.2 knows no script flags: draining a full server is promised from 7 on (docs/lifecycle.md).
            self._flags_known = False
            return self._script(name, flagged=False)(keys=keys, args=args)

    def _script(self, name: str, *, flagged: bool) -> Script:
        script = self._scripts.get((name, flagged))
        if script is None:
            script = self.client.register_script((_ALLOW_OOM if flagged else "") + source(name))
            self._scripts[name, flagged] = script
        return script
