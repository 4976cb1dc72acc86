"""Every setting of this project as one frozen value, read once.

``actors.wiring`` loads it and hands it down; nothing else reads the environment. Reading, naming and checking stand in
``settings_source.py`` and ``settings_checks.py``, which are imported by :meth:`Settings.load` only: pydantic costs 0.3 s.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from actors.errors import SettingsError
from actors.settings_values import Hidden, MediaBy, OnQueueDown, OnUnknown
from middleware.brokers.redis.pin import BadRedisUrl, kwargs_for_db, url_for_db

__all__ = ["Hidden", "MediaBy", "OnQueueDown", "OnUnknown", "Settings", "unknown_names"]

T = TypeVar("T")

_HOUR_MS = 60 * 60 * 1000
_DAY_S = 24 * 60 * 60


def _setting(default: Any, *, env: tuple[str, ...] = (), secret: bool = False, hint: str = "", **limits: Any) -> Any:
    """A field: ``env`` where its variables are not ``CHAT_<NAME>``, ``limits`` as pydantic's ``Field`` knows them."""
    return field(
        default=default, repr=not secret, metadata={"env": env, "secret": secret, "hint": hint, "limits": limits}
    )


def _host_setting(default: Any, *, hint: str = "") -> Any:
    """A field of ``CHAT_ACTORS`` alone: it names things of the host's project."""
    return field(default=default, metadata={"django_only": True, "hint": hint})


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
    #: Version of the Graph API; each lives for about two years.
    whatsapp_cloud_version: str = _setting("v24.0", pattern=r"^v[1-9][0-9]{0,2}\.[0-9]{1,2}$", hint="such as v24.0")
    whatsapp_cloud_token: Hidden | None = _setting(None, secret=True)
    #: Store backend; None only where Django is not there to decide, see :meth:`require_store`.
    store: str | None = _setting(None)
    #: For the store ``sqlite``.
    sqlite_path: str | None = _setting(None)
    #: Scheduler backend, ``none`` for none.
    scheduler: str = _setting("apscheduler")
    #: How long a fetched message belongs to its process without a sign of life, in milliseconds.
    lease_ms: int = _setting(15_000, ge=100)
    #: Actors whose plain ``.send()`` waits for the commit of Django's open transaction, with commas between them, or ``all``.
    on_commit: str | None = _setting(
        None,
        pattern=r"^(all|(send_message|fetch_profile_pic|fetch_group_info)(,\s*(send_message|fetch_profile_pic|fetch_group_info))*)$",
        hint="all, or names of actors with commas between them",
    )
    #: See :class:`OnQueueDown`.
    on_queue_down: OnQueueDown = _setting(OnQueueDown.QUIET_AFTER_COMMIT)
    #: See :class:`OnUnknown`.
    on_unknown: OnUnknown = _setting(OnUnknown.RECONCILE_THEN_RESEND)
    #: How long a gateway may need to finish before an ambiguous send is looked for, in seconds.
    reconcile_grace_s: float = _setting(20.0, ge=0, allow_inf_nan=False)
    #: A gateway that cannot be asked tells by webhook what became of a send, by then, in seconds.
    told_within_s: float = _setting(90.0, ge=0, allow_inf_nan=False)
    #: See :class:`MediaBy`.
    media_by: MediaBy = _setting(MediaBy.URL)
    #: Hosts of files that may be at a private address, with commas between them.
    media_hosts: str | None = _setting(None)
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
    #: Pace by gateway or instance and kind of work, in place of the defaults (``actors.pace``).
    pace: dict[str, dict[str, Any]] = _table()
    #: First wait before a parked instance's session is looked at, and from its canary to the full pace, in milliseconds.
    look_ms: int = _setting(5_000, ge=10)
    ramp_ms: int = _setting(60_000, ge=0)
    #: Only used where the host has not initialised Sentry itself.
    sentry_dsn: str | None = _setting(None, env=("SENTRY_DSN",), secret=True)
    sentry_environment: str | None = _setting(None)
    sentry_release: str | None = _setting(None)
    #: Share of the traces that such a client sends.
    sentry_traces_sample_rate: float = _setting(0.0, ge=0, le=1, allow_inf_nan=False)
    #: Whether periodic actors check in with Sentry's Crons, whoever has initialised it.
    sentry_crons: bool = _setting(True)  # noqa: FBT003 - its default
    #: Lines of the alerts (docs/alerts.md); 0 = off. Share of ``maxmemory``; age of the oldest ready message, in seconds; dead
    #: letters of a queue in a minute; how long a queue with messages may have no worker, in seconds.
    alert_memory: float = _setting(0.85, ge=0, le=1, allow_inf_nan=False)
    alert_backlog_s: int = _setting(300, ge=0)
    alert_dead_per_minute: int = _setting(10, ge=0)
    alert_no_worker_s: int = _setting(60, ge=0)
    #: Where the worker shows metrics and health; port 0 = off.
    metrics_host: str = _setting("127.0.0.1")
    metrics_port: int = _setting(9191, ge=0, le=65_535)
    #: Last part of the path of Evolution's webhook; without it that view answers nobody.
    webhook_token: Hidden | None = _setting(None, secret=True)
    #: What Meta signs webhooks with, and what she shows when she is told of their URL; without them that view answers nobody.
    whatsapp_cloud_app_secret: Hidden | None = _setting(None, secret=True)
    whatsapp_cloud_verify_token: Hidden | None = _setting(None, secret=True)
    #: Whether outcomes are told over Channels (``actors.django_app.sockets``).
    broadcast: bool = _host_setting(False)  # noqa: FBT003 - its default
    #: ``"module.Class"`` of the host that makes what browsers are shown; see ``actors.django_app.sockets.Serializer``.
    broadcast_serializer: str | None = _host_setting(None, hint="such as chat.sockets.Serializer")
    #: Time between two memory samples, in seconds.
    memory_every_s: int = _setting(60, ge=1)
    #: A worker process that holds more is replaced when what runs in it has ended, in MB; None = never.
    max_rss_mb: int | None = _setting(None, ge=64)
    #: Folder of the periodic backups; without it none are made.
    backup_dir: str | None = _setting(None)
    #: Time between two backups, in seconds.
    backup_every_s: int = _setting(3_600, ge=60)
    #: Every backup of so many hours is kept, and the last one of each of so many days.
    backup_keep_hours: int = _setting(48, ge=1)
    backup_keep_days: int = _setting(30, ge=0)
    #: Public keys of age that can read the backups, with commas between them; without any they are not encrypted.
    backup_recipients: str | None = _setting(None)
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


def overruled(django: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of the environment that ``CHAT_ACTORS`` says otherwise about and which so have no effect → its key."""
    from actors import settings_source

    return settings_source.overruled(Settings, os.environ if environ is None else environ, django)
