"""Turn one text into an entry of Django's ``DATABASES``, or of Channels' ``CHANNEL_LAYERS``.

Used by the settings, and by tests that add databases of their own.
"""

from urllib.parse import unquote, urlsplit

import django

#: How long a writer waits for another process, in seconds: on SQLite one writes at a time.
BUSY_S = 30
#: Longest wait for an answer of Channels' Redis, in seconds.
CHANNELS_TIMEOUT_S = 15


def database(place: str) -> dict[str, object]:
    """Entry for a ``postgresql://`` URL or for the path of an SQLite file."""
    if not place.startswith(("postgresql://", "postgres://")):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": place, "OPTIONS": _sqlite_options()}
    parts = urlsplit(place)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


def channel_layer(url: str) -> dict[str, object]:
    """Entry for a Redis URL.

    Channels waits for 5 s at a time, and from its version 8 on redis-py gives up a read after just as long: a page that is
    told nothing would lose its socket again and again.
    """
    hosts = [{"address": url, "socket_timeout": CHANNELS_TIMEOUT_S}]
    return {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}


def _sqlite_options() -> dict[str, object]:
    """Web and workers write at the same time: nobody may fail because another one is at it."""
    if django.VERSION < (5, 1):
        # There is no option before; chat/apps.py switches WAL on when a connection opens.
        return {"timeout": BUSY_S}
    # IMMEDIATE: a transaction that begins by reading cannot always become one that writes.
    pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL"
    return {"timeout": BUSY_S, "transaction_mode": "IMMEDIATE", "init_command": pragmas}
