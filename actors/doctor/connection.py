"""Checks of the connection to Redis: is it there, is it the pinned database, is that a database of its own.

``run`` makes them; the other checks of Redis ask through the same :class:`Probe`.
"""

import secrets
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import redis

from actors.doctor.checks import Check, fail, ok, refuse, unknown, warn
from actors.settings import Settings
from middleware.brokers.redis import connections
from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.pin import address
from middleware.clock import Clock, SystemClock
from middleware.errors import ExitCode, PipelineError, QueueUnavailable

if TYPE_CHECKING:
    from middleware.brokers.redis.broker import CarrierBroker
    from middleware.stats import Snapshot

#: No answer by then is one, in seconds.
TIMEOUT_S = 2.0
#: The doctor's own key is gone by then, even if it is killed, in seconds.
_KEY_TTL_S = 60
#: What a server that answers "no" to a reader may mean.
HIDDEN_WHY = "a right is missing, or the provider hides it"
#: Found where INFO or CONFIG does not have it.
HIDDEN = "the server does not say"


class Probe:
    """Connections to the server that the settings name: short time limits, no retries, closed in the end."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.keys = Keys(settings.namespace)
        self._clients: dict[int, redis.Redis] = {}
        self._is_silent = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def client(self, db: int | None = None) -> "redis.Redis":
        """Client of a database; None = that of the queues."""
        number = self.settings.queue_db if db is None else db
        if number not in self._clients:
            limits = {"db": number, "socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
            arguments = {**self.settings.queue_connection(), **limits}
            self._clients[number] = connections.make_client(arguments, role="doctor")
        return self._clients[number]

    @cached_property
    def info(self) -> dict[str, Any]:
        """All of INFO; empty when this user or provider hides it."""
        try:
            # A server answers on its first database, also when it refuses ours.
            return dict(self.client(0).info())
        except redis.ResponseError:
            return {}

    def config(self, setting: str) -> str | None:
        """A setting of the server; None where it is hidden, or the server has none of that name."""
        try:
            found: Any = self.client(0).config_get(setting)
        except redis.ResponseError:
            return None
        value = found.get(setting, found.get(setting.encode()))
        return value.decode() if isinstance(value, bytes) else value

    @cached_property
    def now_ms(self) -> int:
        """Now, by the clock of Redis."""
        seconds, microseconds = self.client().time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    @cached_property
    def snapshot(self) -> "Snapshot":
        """Depths of the queues and who works."""
        from middleware.stats import take_snapshot

        return take_snapshot(self.broker)

    @property
    def broker(self) -> "CarrierBroker":
        """The broker of this process."""
        from actors import wiring
        from middleware.brokers.redis.broker import CarrierBroker

        assert isinstance(wiring.broker, CarrierBroker)  # noqa: S101  # asked for with CHAT_BROKER redis only
        return wiring.broker

    def ask(self, name: str, check: "Callable[[Probe], Check]") -> Check:
        """Make a check; unknown where the server refuses or, from the first silence on, does not answer."""
        if self._is_silent:
            return unknown(name, "not asked: Redis stopped answering")
        try:
            return check(self)
        except (redis.ConnectionError, redis.TimeoutError, QueueUnavailable) as error:
            self._is_silent = True
            return unknown(name, f"Redis did not answer ({type(error).__name__})")
        except redis.ResponseError as error:
            return unknown(name, f"Redis refuses to say: {first_word(error)}", why=HIDDEN_WHY)
        except PipelineError as error:
            return unknown(name, f"the queues could not be read ({error.code})", why=str(error))


def reachable(probe: Probe) -> Check:
    """A server answers at the address of the settings and takes the password."""
    url = probe.settings.redis_url
    where = address(url.get_secret_value()) if url is not None else "nowhere"
    try:
        probe.client(0).ping()
    except redis.AuthenticationError:
        return _unreachable(
            f"{where} refuses the password", "put the right user and password into `REDIS_URL`, percent-encoded"
        )
    except (redis.ConnectionError, redis.TimeoutError) as error:
        fix = "start it, open the way to it, and compare `redis://` with `rediss://` (TLS on one side only looks like silence)"
        return _unreachable(f"{where} does not answer ({type(error).__name__})", fix)
    except redis.ResponseError as error:
        return _unreachable(
            f"{where} refuses: {first_word(error)}",
            'wait until it has loaded its data (`redis-cli -u "$REDIS_URL" INFO persistence`), or give it a password',
        )
    return ok("redis", where)


def rate_database(probe: Probe) -> Check:
    """The database of the rate limits is there too."""
    number = probe.settings.rate_db
    try:
        probe.client(number).ping()
    except redis.ResponseError as error:
        fix = "put `databases 16` into its configuration and restart it, or set `CHAT_RATE_DB` to one that it has"
        why = "no instance's pace can be kept, and every send fails at it"
        found = f"SELECT {number} is refused: {error}"
        return fail("rate_database", found, why=why, fix=fix, exit_code=ExitCode.UNAVAILABLE)
    return ok("rate_database", str(number))


def _unreachable(found: str, fix: str) -> Check:
    return fail("redis", found, why="nothing can be sent or delivered", fix=fix, exit_code=ExitCode.UNAVAILABLE)


def pinned(probe: Probe) -> Check:
    """Both the pool and a live connection are on the pinned database."""
    wanted = probe.settings.queue_db
    pool_db = probe.broker.client.connection_pool.connection_kwargs.get("db", 0)
    if pool_db != wanted:
        return _wrong(
            f"the pool is on database {pool_db}, not {wanted}",
            "remove what builds the broker's client by itself; `CHAT_QUEUE_DB` is all that names it",
        )
    try:
        probe.client().ping()
    except redis.ResponseError as error:
        fix = "use a server with at least 3 databases (`databases 16`) and no cluster mode, and let this user `+select`"
        return _wrong(f"SELECT {wanted} is refused: {error}", fix)
    try:
        live_db = int(probe.client().client_info()["db"])
    except (redis.ResponseError, KeyError):
        return unknown(
            "database", "the server does not say on which database a connection is", why="CLIENT INFO is hidden"
        )
    if live_db != wanted:
        return _wrong(
            f"a live connection is on database {live_db}, not {wanted}",
            "use a server that honours SELECT, by itself if need be: `CHAT_REDIS_URL=redis://…`",
        )
    return ok("database", f"{live_db}, in the pool and on a live connection")


def _wrong(found: str, fix: str) -> Check:
    why = "the queue would lie in the database of something else, whose FLUSHDB deletes it"
    return refuse("database", found, why=why, fix=fix, exit_code=ExitCode.WRONG_DATABASE)


def isolated(probe: Probe) -> Check:
    """What is written into the pinned database does not show in the others."""
    key = f"{probe.settings.namespace}:doctor:{secrets.token_hex(8)}"
    own = probe.client()
    try:
        own.set(key, "1", ex=_KEY_TTL_S)
    except redis.ResponseError as error:
        return _not_writable(error)
    try:
        seen, hidden = _look(probe, key)
    finally:
        own.delete(key)
    if seen:
        return refuse(
            "isolation",
            f"a key of database {probe.settings.queue_db} shows in database {', '.join(map(str, seen))}",
            why="SELECT does nothing here: cache.clear() of the cache deletes the queue",
            fix="give the queues a server of their own: `CHAT_REDIS_URL=redis://…`",
            exit_code=ExitCode.WRONG_DATABASE,
        )
    if hidden:
        return unknown(
            "isolation", f"could not look into database {', '.join(map(str, hidden))}", why="a right is missing"
        )
    return ok("isolation", f"a key written in database {probe.settings.queue_db} shows in no other")


def _look(probe: Probe, key: str) -> tuple[list[int], list[int]]:
    seen, hidden = [], []
    for db in sorted({0, 1, probe.settings.rate_db} - {probe.settings.queue_db}):
        try:
            if probe.client(db).exists(key):
                seen.append(db)
        except redis.ResponseError:
            hidden.append(db)
    return seen, hidden


def _not_writable(error: redis.ResponseError) -> Check:
    word = first_word(error)
    if word == "NOPERM":
        return warn(
            "isolation",
            "this user may not write the doctor's key",
            why="whether databases are kept apart is not known",
            fix="let it: `ACL SETUSER <user> +set +del +exists`, or run doctor as another user",
        )
    return fail(
        "isolation",
        f"Redis refuses to write: {word}",
        why="nothing can be enqueued",
        fix="OOM: `CONFIG SET maxmemory` to more; READONLY: name the primary in `REDIS_URL`; MISCONF: see its disk; NOREPLICAS: bring its replicas back",
        exit_code=ExitCode.UNAVAILABLE,
    )


def first_word(error: redis.ResponseError) -> str:
    """Name of a refusal, as Redis calls it."""
    # Its name only: the rest may quote a command. The class stands for what redis-py has taken the name from.
    classes = {
        "OutOfMemoryError": "OOM",
        "ReadOnlyError": "READONLY",
        "NoPermissionError": "NOPERM",
        "BusyLoadingError": "LOADING",
    }
    if "unknown command" in str(error).lower():
        return "no such command"
    word = str(error).partition(" ")[0]
    return classes.get(type(error).__name__) or (word if word.isupper() else type(error).__name__)
