"""Run the Lua scripts on one queue or many, and say in our words what Redis refused.

Used by ``transitions`` and ``exchange`` alone: nobody else calls a script or catches an error of redis-py. ``sources`` puts their
texts together.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from typing import Any, NamedTuple

import redis

from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.pipe import Pipe, packed, words
from middleware.brokers.redis.sources import FILLING, source
from middleware.errors import PipelineError, QueueFull, QueueRefused, QueueUnavailable

#: Most messages one call moves: what Lua's stack holds, and what stays far below 5 ms.
MAX_BATCH = 200


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
    except redis.RedisError as error:
        raise translation(error, doing) from error


def translation(error: redis.RedisError, doing: str) -> PipelineError:
    """What :func:`translated` makes of an error."""
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        # AuthenticationError and the like are connection errors of redis-py; their class says enough.
        return QueueUnavailable(
            f"Redis did not answer while {doing} ({type(error).__name__}); is it up and reachable? try `chat-actors doctor`"
        )
    text = str(error)
    # Redis 6.2 wraps a script's OOM in a plain ResponseError (shared Redis notes, measured), so the text decides.
    if isinstance(error, redis.OutOfMemoryError) or "OOM" in text:
        return QueueFull(
            f"Redis is full (maxmemory) and refused {doing}; free memory or raise maxmemory, then send again"
        )
    for word in ("READONLY", "NOPERM", "MISCONF", "NOREPLICAS", "BUSY", "MASTERDOWN", "NOAUTH", "LOADING"):
        if word in text or (word == "NOPERM" and isinstance(error, redis.exceptions.NoPermissionError)):
            return QueueRefused(f"Redis refused {doing}: {word}; `chat-actors doctor` says why and what to do")
    if isinstance(error, redis.ReadOnlyError):
        return QueueRefused(
            f"Redis refused {doing}: this server is a read-only replica; point REDIS_URL at the primary"
        )
    return PipelineError(f"Redis could not run the step while {doing}: {type(error).__name__}")


class Call(NamedTuple):
    """One script on one queue or several; ``more_keys`` follow the queues' keys."""

    name: str
    queue_names: tuple[str, ...]
    args: Sequence[Any]
    more_keys: tuple[str, ...] = ()


class Scripts:
    """The scripts of one client. Safe to share between threads; a flushed script cache is refilled."""

    def __init__(self, client: "redis.Redis", keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self.pipe = Pipe(client)
        self._prefixes: dict[tuple[Any, ...], tuple[bytes, int]] = {}
        #: False once a server has refused a script's flags.
        self._has_flags = True

    def run(
        self,
        name: str,
        queue_names: str | Sequence[str],
        *args: Any,
        doing: str,
        more_keys: Sequence[str] = (),
        again: Sequence[Any] | None = None,
        repeat: bool = True,
    ) -> Any:
        """Run ``name`` over one queue, or over several for the scripts that loop.

        When the reply is lost it runs once more, with the arguments ``again`` if given: every script may be repeated. Not
        through redis-py's own retries, which nest (of the command and of the connect inside it) and made a send wait 8 s for
        a silent server. ``repeat`` False: the caller must know that a reply was lost.

        Raises: see :func:`translated`.
        """
        names = (queue_names,) if isinstance(queue_names, str) else tuple(queue_names)
        call = Call(name, names, args, tuple(more_keys))
        try:
            try:
                reply = self._reply(call)
            except (redis.ConnectionError, redis.TimeoutError):
                if not repeat:
                    raise
                reply = self._reply(call if again is None else call._replace(args=again))
        except redis.RedisError as error:
            raise translation(error, doing) from error
        if isinstance(reply, redis.ResponseError):
            raise translation(reply, doing) from reply
        return reply

    def _reply(self, call: Call) -> Any:
        reply = self.pipe.ask(self.as_sent(call))
        return self.mended(call, reply) if isinstance(reply, redis.ResponseError) else reply

    def replies(self, calls: Sequence[Call]) -> list[Any]:
        """Replies to several calls in one round trip, in their order; a refusal stands in the place of its reply.

        Raises: redis-py's connection and timeout errors, as they are.
        """
        replies = self.pipe.run([self.as_sent(call) for call in calls])
        return [
            self.mended(call, reply) if isinstance(reply, redis.ResponseError) else reply
            for call, reply in zip(calls, replies, strict=True)
        ]

    def mended(self, call: Call, error: redis.ResponseError) -> Any:
        """What a call gives when what the server lacked is brought: the script's text, or a text without flags."""
        if "NOSCRIPT" not in str(error) and not isinstance(error, redis.exceptions.NoScriptError):
            return error
        flagged = self._has_flags
        reply = self.pipe.ask(self.as_sent(call, whole=True))
        # Judged by what this call sent: another thread may have learned meanwhile that the server knows no flags.
        if flagged and isinstance(reply, redis.ResponseError) and "compil" in str(reply):
            # Redis 6.2 knows no script flags: draining a full server is promised from 7 on (docs/lifecycle.md).
            self._has_flags = False
            reply = self.pipe.ask(self.as_sent(call, whole=True))
        return reply

    def as_sent(self, call: Call, *, whole: bool = False) -> bytes:
        """A call as it is sent; ``whole``: with the script's text, where the server may not know it."""
        flagged = self._has_flags and call.name not in FILLING
        found = self._prefixes.get((call.name, flagged, call.queue_names, call.more_keys, whole))
        prefix, count = found or self._prefix(call, flagged=flagged, whole=whole)
        return packed(prefix, count, call.args)

    def _prefix(self, call: Call, *, flagged: bool, whole: bool) -> tuple[bytes, int]:
        script = source(call.name, flagged=flagged)
        keys = [*(self.keys.of(name, key) for name in call.queue_names for key in script.keys), *call.more_keys]
        digest = sha1(script.text.encode(), usedforsecurity=False).hexdigest()
        head = words(["EVAL", script.text] if whole else ["EVALSHA", digest])
        made = b"".join([*head, *words([len(keys), *keys])]), 3 + len(keys)
        self._prefixes[call.name, flagged, call.queue_names, call.more_keys, whole] = made
        return made
