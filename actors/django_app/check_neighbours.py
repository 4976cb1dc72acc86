"""Whether Django's cache or Channels are on a database that is ours, and whether Channels waits; nobody is asked.

``cache.clear()`` is a FLUSHDB.
"""

import inspect
from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution

from actors import neighbours as tables
from actors.settings import Settings

#: Table of the settings → its check, and what to do.
_ADVICE = {
    "CACHES": (
        "E004",
        "cache.clear() empties its whole database, queued messages included: give the cache database 0.",
    ),
    "CHANNEL_LAYERS": ("E005", "Give Channels database 1."),
}

#: Channels' layer that waits in one command, and for how long, in seconds.
_WAITS, _WAITS_S = "channels_redis.core.RedisChannelLayer", 5


def neighbours(settings: Settings, tag: str) -> Iterator[CheckMessage]:
    """E004 and E005: on the queues' database. W001: on that of the rate limits."""
    caches, layers = _entries("CACHES"), _entries("CHANNEL_LAYERS")
    of_queues = list(tables.neighbours(settings, settings.queue_db, caches=caches, layers=layers))
    for one in of_queues:
        number, advice = _ADVICE[one.table]
        text = f"{one} is on database {settings.queue_db}, which holds the queues"
        yield Error(text, hint=advice, id=f"{tag}.{number}")
    for one in tables.neighbours(settings, settings.rate_db, caches=caches, layers=layers):
        if one not in of_queues:
            text = f"{one} is on database {settings.rate_db}, which holds the rate limits"
            hint = "What empties it lets every instance send faster than its pace: give it another database."
            yield Caution(text, hint=hint, id=f"{tag}.W001")


def impatient(tag: str) -> Iterator[CheckMessage]:
    """W009: a connection of Channels that gives up no later than the wait for a message ends."""
    for alias, layer in _entries("CHANNEL_LAYERS").items():
        if not isinstance(layer, dict) or layer.get("BACKEND") != _WAITS:
            continue
        hosts = tables.patience(layer, default_s=_default_s())
        if any(limit_s is not None and limit_s <= _WAITS_S for limit_s in hosts):
            text = f"CHANNEL_LAYERS[{alias!r}]: redis-py gives up a read before Channels has waited {_WAITS_S} s for a message"
            hint = (
                'Every socket that hears nothing is cut: {"address": "redis://…/1", "socket_timeout": 15} in its hosts.'
            )
            yield Caution(text, hint=hint, id=f"{tag}.W009")


def _default_s() -> float | None:
    """When redis-py gives up a read where nothing is set: 5 s from its version 8 on, never before."""
    try:
        from redis.asyncio.connection import AbstractConnection
    except ImportError:
        return None
    limit = inspect.signature(AbstractConnection).parameters.get("socket_timeout")
    return None if limit is None or limit.default is inspect.Parameter.empty else limit.default


def _entries(name: str) -> dict[str, Any]:
    found = getattr(django_settings, name, None)
    return found if isinstance(found, dict) else {}
