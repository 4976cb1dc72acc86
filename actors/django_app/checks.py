"""System checks: what of the host's project would stop or lose messages, found without asking any server.

Run by ``manage.py check``, ``runserver`` and ``migrate``. ``chat-actors doctor`` asks the servers too.

    chat_actors.E001  settings cannot be used
    chat_actors.E002  a model of the host does not exist
    chat_actors.E003  a model of the host has no such field
    chat_actors.E004  the cache shares the queues' database
    chat_actors.E005  a channel layer shares the queues' database
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, register

from actors.django_app.conf import load_settings
from actors.errors import SettingsError
from actors.settings import Settings
from actors.stores.django_host import find_host
from middleware.brokers.redis.pin import BadRedisUrl, address

TAG = "chat_actors"
#: Names of this machine; two URLs may use different ones for the same server.
_LOOPBACK = {"localhost": "127.0.0.1", "[::1]": "127.0.0.1"}

Place = tuple[str, int]


@register(TAG)  # type: ignore[untyped-decorator]  # Django brings no types
def check_chat_actors(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """All checks of this app."""
    del app_configs, kwargs
    try:
        settings = load_settings()
    except SettingsError as error:
        hint = "Mend CHAT_ACTORS or the environment."
        return [Error(fault, hint=hint, id=f"{TAG}.E001") for fault in error.faults]
    return [*_model_errors(settings), *_neighbour_errors(settings)]


def _model_errors(settings: Settings) -> Iterator[CheckMessage]:
    if settings.store != "django":
        return
    _, faults = find_host(settings.models, settings.field_map)
    for fault in faults:
        yield Error(fault.text, hint=fault.hint, id=f"{TAG}.{'E002' if fault.is_model else 'E003'}")


def _neighbour_errors(settings: Settings) -> Iterator[CheckMessage]:
    if settings.redis_url is None:
        return
    server = _server(settings.redis_url.get_secret_value())
    queues = (server, settings.queue_db)
    for alias, cache in getattr(django_settings, "CACHES", {}).items():
        if server and queues in _cache_places(cache):
            yield Error(
                f"CACHES[{alias!r}] is on database {settings.queue_db}, which holds the queues",
                hint="cache.clear() empties its whole database, queued messages included: give the cache database 0.",
                id=f"{TAG}.E004",
            )
    for alias, layer in getattr(django_settings, "CHANNEL_LAYERS", {}).items():
        if server and queues in _layer_places(layer):
            yield Error(
                f"CHANNEL_LAYERS[{alias!r}] is on database {settings.queue_db}, which holds the queues",
                hint="Give Channels database 1.",
                id=f"{TAG}.E005",
            )


def _cache_places(cache: dict[str, Any]) -> list[Place]:
    if "redis" not in str(cache.get("BACKEND", "")).lower():
        return []
    location = cache.get("LOCATION", [])
    urls = location.split(",") if isinstance(location, str) else location
    default_db = (cache.get("OPTIONS") or {}).get("db", 0)
    return [place for url in urls if (place := _place(url, default_db=default_db))]


def _layer_places(layer: dict[str, Any]) -> list[Place]:
    hosts = (layer.get("CONFIG") or {}).get("hosts", [])
    return [place for host in hosts if (place := _host_place(host))]


def _host_place(host: Any) -> Place | None:
    if isinstance(host, dict):
        if "address" in host:
            return _place(host["address"], default_db=host.get("db", 0))
        return _place(f"redis://{host.get('host', 'localhost')}:{host.get('port', 6379)}", default_db=host.get("db", 0))
    if isinstance(host, list | tuple):
        return _place(f"redis://{host[0]}:{host[1]}", default_db=0)
    return _place(host, default_db=0)


def _place(url: Any, *, default_db: Any) -> Place | None:
    """Server and database of somebody else's URL; None for one that cannot be read, which is not ours to report."""
    text = str(url).strip()
    server = _server(text)
    if server is None:
        return None
    parts = urlsplit(text)
    chosen = parse_qs(parts.query).get("db", [""])[0] or ("" if parts.scheme == "unix" else parts.path.strip("/"))
    return server, int(chosen or default_db)


def _server(url: str) -> str | None:
    try:
        place = address(url).partition("://")[2]
    except BadRedisUrl:
        return None
    host, colon, port = place.rpartition(":")
    return f"{_LOOPBACK.get(host, host)}{colon}{port}"
