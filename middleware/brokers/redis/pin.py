"""Pin a Redis URL to one database by parsing it, never by editing its text.

``actors.settings`` derives every queue and rate connection from it; nothing else makes connections from a URL.

Replacing ``/0`` in the text sends the password to another machine (``redis://0.0.0.0:6379/1``) or leaves the queue in the
cache's database (no path, ``?db=0``). No error here quotes any part of the URL, and none keeps urllib's as its cause:
"Port could not be cast to integer value as 's3cr'" is the head of a password.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, unquote_plus, urlsplit

from middleware.errors import PipelineError

SCHEMES = ("redis", "rediss", "unix")

#: Options after the ``?`` that redis-py hands on as text; those that it parses are taken from it.
_TEXT_OPTIONS = frozenset(
    {"username", "password", "client_name", "lib_name", "lib_version", "encoding", "encoding_errors"}
    | {f"ssl_{name}" for name in ("keyfile", "certfile", "cert_reqs", "ca_certs", "ca_data", "ca_path")}
    | {"ssl_password", "ssl_ciphers"}
)
#: redis-py makes a list of letters of it.
_BROKEN_OPTIONS = frozenset({"retry_on_error"})
#: Of a pool, not of a connection; who makes a pool decides its size.
_POOL_OPTIONS = frozenset({"max_connections", "timeout"})

_HOST = re.compile(r"[^\s,;%/\\]+|[0-9a-fA-F.]*:[0-9a-fA-F:.]*(%\S+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENCODE = "percent-encode / ? # @ [ ] in the user and the password"


class BadRedisUrl(PipelineError):
    """The URL cannot be pinned; the text says why without quoting it."""

    code = "redis_url"
    permanent = True


def kwargs_for_db(url: str, db: int) -> dict[str, Any]:
    """Keyword arguments for a ``redis.ConnectionPool`` on database ``db`` of the server that ``url`` names.

    Host, port, credentials, TLS and socket options are the URL's; its database, in whatever form, is replaced; the size of
    a pool in it is dropped.

    Raises:
        BadRedisUrl: redis-py could not use it, or would use something else than it seems to say.
    """
    # Costs 0.25 s, and settings are also read by commands that never connect.
    from redis import connection

    _refuse_misread(url)
    known = _TEXT_OPTIONS.union(connection.URL_QUERY_ARGUMENT_PARSERS) - _BROKEN_OPTIONS
    if any(name not in known for name in _options(url)):
        # Unnamed: it may be a piece of a password that holds an unescaped &.
        raise BadRedisUrl(
            f"an option after the ? is not one that can be given in a URL; known: {', '.join(sorted(known))}"
        )
    kwargs = _parsed(url)
    if kwargs is None:
        given = ", ".join(_options(url))
        raise BadRedisUrl(f"one of its options cannot be used: {given} (those of TLS need rediss://)")
    return {name: value for name, value in kwargs.items() if name not in _POOL_OPTIONS} | {"db": db}


def url_for_db(url: str, db: int) -> str:
    """The same URL as text with database ``db``, for the environment of a child process. It holds the password.

    Raises:
        BadRedisUrl: as :func:`kwargs_for_db`.
    """
    kwargs = kwargs_for_db(url, db)
    parts = urlsplit(url)
    query = [option for option in parts.query.split("&") if option and _name(option) != "db"]
    # By hand: urlunsplit drops the empty host of unix:///path, and redis-py then refuses the scheme.
    place = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme == "unix":
        pinned = f"{place}{parts.path}?" + "&".join([f"db={db}", *query])
    else:
        pinned = f"{place}/{db}" + ("?" + "&".join(query) if query else "")
    if kwargs_for_db(pinned, db) != kwargs:
        raise BadRedisUrl(f"it cannot be written for another database; {_ENCODE}")
    return pinned


def address(url: str) -> str:
    """Scheme, host and port (or the socket) of a URL: what a log may show.

    Raises:
        BadRedisUrl: it cannot be read safely.
    """
    _refuse_misread(url)
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 6379}"


def _refuse_misread(url: str) -> None:
    """Refuse a URL that redis-py would read as something else than its writer meant."""
    parts = split_url(url)
    faults = (
        ["it cannot be read; " + _ENCODE] if parts is None else [*_general_faults(url, parts), *_place_faults(parts)]
    )
    if faults:
        raise BadRedisUrl(faults[0])


def split_url(url: str) -> SplitResult | None:
    """The URL in its parts; None where urllib refuses it, or its port is 0.

    Urllib's error, which quotes it, ends here, so that no chain of causes carries it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _general_faults(url: str, parts: SplitResult) -> Iterator[str]:
    if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        yield f"it must begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}, in lower case"
    if _CONTROL.search(url) or url != url.strip():
        yield "it has a control character, or a blank at an end (a trailing newline of a secret's file?)"
    # The @ that ends the credentials must stand in front of everything else: user:12?rest@host reads as host "user".
    if "#" in url or "@" in parts.path + parts.query:
        yield _ENCODE
    if not all("=" in option for option in parts.query.split("&") if option):
        yield f"after the ? only name=value is known; {_ENCODE}"
    if not all(value.isascii() and value.isdigit() for name, value in _pairs(parts) if name == "db" and value):
        yield "its db= is not a number"


def _place_faults(parts: SplitResult) -> Iterator[str]:
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2]:
            yield "a socket's path is absolute: unix:///run/redis.sock has three slashes"
        if not parts.path.strip("/"):
            yield "it names no socket"
        return
    if not parts.hostname:
        yield f"it names no host; {_ENCODE}"
    elif not _HOST.fullmatch(parts.hostname):
        yield "its host is not one host name or address"
    # redis-py reads /1/2 as database 12 and /chat as database 0.
    if not re.fullmatch(r"/?|/\d+/?", parts.path, re.ASCII):
        yield f"its path is not a database number; {_ENCODE}"


def _pairs(parts: SplitResult) -> Iterator[tuple[str, str]]:
    for option in parts.query.split("&"):
        if option:
            yield _name(option), unquote_plus(option.partition("=")[2])


def _name(option: str) -> str:
    return unquote_plus(option.partition("=")[0])


def _options(url: str) -> list[str]:
    return sorted({name for name, _ in _pairs(urlsplit(url))})


def _parsed(url: str) -> dict[str, Any] | None:
    """What redis-py reads, proven by a connection object that is never opened; None when it refuses."""
    from redis import connection

    try:
        kwargs: dict[str, Any] = connection.parse_url(url)  # type: ignore[no-untyped-call]
        arguments = {name: value for name, value in kwargs.items() if name not in _POOL_OPTIONS}
        arguments.pop("connection_class", connection.Connection)(**arguments)
    except Exception:  # whatever it is, its text may quote a value; a TypeError is an option of TLS without TLS
        return None
    return kwargs
