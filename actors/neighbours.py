"""Which databases of which servers a host's caches and channel layers use.

Pure: ``actors.doctor.host`` and ``actors.django_app.check_neighbours`` give the host's tables. An entry that cannot be read is
not ours to report.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from actors.settings import Settings
from middleware.brokers.redis.pin import BadRedisUrl, address

#: Names of this machine; two URLs may use different ones for the same server.
_LOOPBACK = {"localhost": "127.0.0.1", "[::1]": "127.0.0.1"}

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of the host that is on a database of ours: ``table`` is ``CACHES`` or ``CHANNEL_LAYERS``."""

    table: str
    alias: str

    def __str__(self) -> str:
        """As the settings call it."""
        return f"{self.table}[{self.alias!r}]"


def neighbours(
    settings: Settings, db: int, *, caches: Mapping[str, Any], layers: Mapping[str, Any]
) -> Iterator[Neighbour]:
    """Entries that are on database ``db`` of the queues' server."""
    if settings.redis_url is None:
        return
    server = _server(settings.redis_url.get_secret_value())
    if not server:
        return
    place = (server, db)
    tables = (("CACHES", caches, _cache_places), ("CHANNEL_LAYERS", layers, _layer_places))
    for name, entries, places in tables:
        yield from (Neighbour(name, alias) for alias, entry in entries.items() if place in _read(places, entry))


def patience(layer: Mapping[str, Any], *, default_s: float | None) -> list[float | None]:
    """When a read of each host of a channel layer is given up, in seconds; None = never.

    ``default_s``: where nothing is set. Empty for an entry that cannot be read.
    """
    try:
        hosts = (layer.get("CONFIG") or {}).get("hosts") or ["redis://localhost:6379"]
        return [_limit_s(host, default_s) for host in hosts]
    except (AttributeError, TypeError, ValueError):
        return []


def _limit_s(host: Any, default_s: float | None) -> float | None:
    options = host if isinstance(host, dict) else {}
    # What stands in a URL wins over what stands beside it, as redis-py reads them.
    url = host if isinstance(host, str) else str(options.get("address", ""))
    said = parse_qs(urlsplit(url).query).get("socket_timeout", [options.get("socket_timeout", default_s)])[0]
    return None if said is None else float(said)


def _read(places: Callable[[Any], list[Place]], entry: Any) -> list[Place]:
    try:
        return places(entry)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return []


def _cache_places(cache: Any) -> list[Place]:
    if "redis" not in str(cache.get("BACKEND", "")).lower():
        return []
    location = cache.get("LOCATION", [])
    urls = location.split(",") if isinstance(location, str) else location
    default_db = (cache.get("OPTIONS") or {}).get("db", 0)
    return [place for url in urls if (place := _place(url, default_db=default_db))]


def _layer_places(layer: Any) -> list[Place]:
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
    """Server and database of somebody else's URL; None for one that cannot be read."""
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
