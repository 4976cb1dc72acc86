"""Every setting of this project as one frozen value, read once.

``actors.wiring`` loads it and hands it down; nothing else reads the environment. Reading, naming and checking stand in
``settings_source.py`` and ``settings_checks.py``, which are imported by :meth:`Settings.load` only: pydantic costs 0.3 s.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from actors.errors import SettingsError
from actors.settings_values import Hidden, OnUnknown
from middleware.brokers.redis.pin import BadRedisUrl, kwargs_for_db, url_for_db

__all__ = ["Hidden", "OnUnknown", "Settings", "unknown_names"]

T = TypeVar("T")

_HOUR_MS = 60 * 60 * 1000
_DAY_S = 24 * 60 * 60


def _setting(default: Any, *, env: tuple[str, ...] = (), secret: bool = False, hint: str = "", **limits: Any) -> Any:
    """A field: ``env`` where its variables are not ``CHAT_<NAME>``, ``limits`` as pydantic's ``Field`` knows them."""
    return field(
        default=default, repr=not secret, metadata={"env": env, "secret": secret, "hint": hint, "limits": limits}
    )


def _table(*, django_only: bool = False) -> Any:
    return field(default_factory=dict, metadata={"django_only": django_only})


_OWN_DB = "0 and 1 belong to the cache and to Channels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. A field is ``CHAT_<NAME>`` in the environment and ``<NAME>`` in ``CHAT_ACTORS``, which wins."""

    #: The shared Redis; its database is replaced, everything else is taken from it. ``CHAT_REDIS_URL`` names another one.
    redis_url: Hidden | None = _setting(None, env=("CHAT_REDIS_URL", "REDIS_URL"), secret=True)
    #: Database of the queues.
    queue_db: int = _setting(2, ge=2, hint=_OWN_DB)
    #: Database of the rate limits.
    rate_db: int = _setting(3, ge=2, hint=_OWN_DB)
    #: Prefix of every key.
    namespace: str = _setting("chat:queue", pattern=r"^[A-Za-z0-9_.:{}-]+$")
    #: Broker backend.
    broker: str = _setting("redis")
    #: For the broker ``rabbitmq``.
    rabbitmq_url: Hidden | None = _setting(None, secret=True)
    #: Gateway of an instance that names none; ``sandbox`` replaces the gateway of every instance.
    gateway: str = _setting("evolution")
    #: For the gateway ``sandbox``; on this machine only.
    sandbox_url: str | None = _setting(None)
    #: Default Evolution server and its key: both or neither.
    evolution_url: str | None = _setting(None)
    evolution_api_key: Hidden | None = _setting(None, secret=True)
    #: Base of the Cloud API, without version.
    whatsapp_cloud_url: str = _setting("https://graph.facebook.com")
    whatsapp_cloud_token: Hidden | None = _setting(None, secret=True)
    #: Store backend; None only where Django is not there to decide, see :meth:`require_store`.
    store: str | None = _setting(None)
    #: For the store ``sqlite``.
    sqlite_path: str | None = _setting(None)
    #: Scheduler backend, ``none`` for none.
    scheduler: str = _setting("apscheduler")
    #: How long a fetched message belongs to its process without a sign of life, in milliseconds.
    lease_ms: int = _setting(15_000, ge=100)
    #: See :class:`OnUnknown`.
    on_unknown: OnUnknown = _setting(OnUnknown.RECONCILE_THEN_RESEND)
    #: How long a gateway may need to finish before an ambiguous send is looked for, in seconds.
    reconcile_grace_s: float = _setting(20.0, ge=0, allow_inf_nan=False)
    #: A send not finished by then fails ``expired``, in seconds.
    send_deadline_s: int = _setting(_DAY_S, ge=1)
    #: A pending row this old is sent again, in seconds.
    sweep_after_s: int = _setting(600, ge=1)
    #: Longest attempt, in milliseconds.
    time_limit_ms: int = _setting(180_000, ge=100)
    #: Attempts before a dead letter.
    max_attempts: int = _setting(8, ge=1)
    #: Bound of the first wait, and of every wait, in milliseconds.
    backoff_base_ms: int = _setting(15_000, ge=1)
    backoff_cap_ms: int = _setting(_HOUR_MS, ge=1)
    #: Dead letters older than this, in seconds, or beyond this number are removed.
    dead_max_age_s: int = _setting(90 * _DAY_S, ge=1)
    dead_max: int = _setting(100_000, ge=1)
    #: Time to finish running attempts on SIGTERM, in milliseconds.
    shutdown_timeout_ms: int = _setting(25_000, ge=0)
    #: Country of numbers stored without ``+``, two letters; without it they are refused.
    default_region: str | None = _setting(None)
    #: Pace by class or instance, in place of the gateway's own.
    pace: dict[str, dict[str, Any]] = _table()
    #: Only used where the host has not initialised Sentry itself.
    sentry_dsn: str | None = _setting(None, env=("SENTRY_DSN",), secret=True)
    sentry_environment: str | None = _setting(None)
    #: Where the worker shows metrics and health; port 0 = off.
    metrics_host: str = _setting("127.0.0.1")
    metrics_port: int = _setting(9191, ge=0, le=65_535)
    #: Time between two memory samples, in seconds.
    memory_every_s: int = _setting(60, ge=1)
    #: The host's models: ``message``, ``conversation``, ``instance``, ``attachment`` → ``"app.Model"``, None where it has none.
    models: dict[str, str | None] = _table(django_only=True)
    #: Where the host's models name things otherwise.
    field_map: dict[str, dict[str, Any]] = _table(django_only=True)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, django: Mapping[str, Any] | None = None) -> "Settings":
        """Read the environment and ``CHAT_ACTORS``.

        Args:
            environ: the environment; None reads this process's.
            django: ``CHAT_ACTORS``, empty where Django's settings have none; None where Django is not configured.

        Raises:
            SettingsError: something is wrong; its text has every fault at once and no secret.
        """
        from actors import settings_source

        return settings_source.load(cls, os.environ if environ is None else environ, django)

    def queue_connection(self) -> dict[str, Any]:
        """Keyword arguments for a Redis connection pool on the queues' database.

        Raises:
            SettingsError: no Redis is set, or its URL cannot be used.
        """
        return _pinned(kwargs_for_db, self.redis_url, self.queue_db)

    def rate_connection(self) -> dict[str, Any]:
        """The same on the database of the rate limits."""
        return _pinned(kwargs_for_db, self.redis_url, self.rate_db)

    def queue_url(self) -> str:
        """The queues' database as a URL, password included, for the environment of a child process."""
        return _pinned(url_for_db, self.redis_url, self.queue_db)

    def require_store(self) -> str:
        """Name of the store.

        Raises:
            SettingsError: none is set and Django is not there to decide.
        """
        if self.store is None:
            raise SettingsError(
                [
                    "CHAT_STORE is not set: set it to django (with DJANGO_SETTINGS_MODULE), or to sqlite with CHAT_SQLITE_PATH"
                ]
            )
        return self.store


def _pinned(derive: Callable[[str, int], T], url: Hidden | None, db: int) -> T:
    if url is None:
        raise SettingsError(
            [f"REDIS_URL is not set: set it (or CHAT_REDIS_URL) to the shared Redis; database {db} of it is used"]
        )
    try:
        return derive(url.get_secret_value(), db)
    except BadRedisUrl as error:
        raise SettingsError([f"REDIS_URL cannot be used: {error}"]) from error


def unknown_names(environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """``CHAT_*`` variables that mean nothing here → the nearest that does; a host has its own, so this is no fault."""
    from actors import settings_source

    return settings_source.unknown_names(Settings, os.environ if environ is None else environ)
