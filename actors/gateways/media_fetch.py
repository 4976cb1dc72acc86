"""Fetch a file from where the host keeps it, without being led anywhere else.

``actors.files`` calls it, before a send is claimed. The name is resolved once, every address is looked at, and the connection
goes to one of exactly these; no redirect is followed, no proxy of the environment asked.
"""

import socket
import ssl
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import Any

import httpcore
import httpx

from actors.domain import Media, MediaKind
from actors.errors import BadPayload, Transient
from actors.gateways.media_url import check_url, host_of, is_refused, private, shown
from actors.gateways.sockets import BoundedBackend, current
from middleware.clock import Clock

_MB = 1024 * 1024
#: Most bytes of a file, by what it is to WhatsApp.
MAX_BYTES = {
    MediaKind.IMAGE: 5 * _MB,
    MediaKind.VIDEO: 16 * _MB,
    MediaKind.AUDIO: 16 * _MB,
    MediaKind.VOICE: 16 * _MB,
    MediaKind.DOCUMENT: 100 * _MB,
}
#: A download that failed is worth this many attempts.
ATTEMPTS = 3
#: Connecting, and waiting for the next bytes, in seconds.
CONNECT_S = 5.0
READ_S = 15.0
#: The file is not to be had, now or later.
_NEVER = (401, 403, 404, 410)
_BROKEN = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)

Resolve = Callable[..., Sequence[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFetcher:
    """Fetches files. Safe to call from many threads. ``hosts`` may be at a private address; ``resolve`` is for tests."""

    clock: Clock
    hosts: Collection[str] = ()
    resolve: Resolve = socket.getaddrinfo
    network: httpcore.NetworkBackend = field(default_factory=httpcore.SyncBackend)

    def fetch(self, media: Media, *, owner: str, total_s: float) -> bytes:
        """Bytes of ``media.url``; ``owner`` names the part, for the texts, ``total_s`` bounds the whole call.

        Resolving a name is bounded by the machine's resolver alone.

        Raises:
            BadPayload: ``media_url`` (refused address or scheme, gone, forbidden, a redirect, empty) or ``media_too_large``.
            Transient: ``media_fetch``, worth three attempts.
        """
        url = check_url(media.url, hosts=self.hosts, owner=owner)
        addresses = self._addresses(url, owner=owner)
        with current.begin(self.clock, total_s=total_s):
            try:
                return self._ask(url, addresses, limit=MAX_BYTES[media.kind], owner=owner)
            except _BROKEN as error:
                raise _failed(owner, f"could not be fetched ({type(error).__name__})", url) from error

    def _addresses(self, url: httpx.URL, *, owner: str) -> list[str]:
        host = host_of(url)
        try:
            found = self.resolve(host, url.port or 443, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise _failed(owner, "could not be fetched: its host has no address", url) from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        # One refused address refuses them all: which of them answers is not ours to choose.
        if host not in self.hosts and any(is_refused(ip_address(one)) for one in addresses):
            raise private(owner, host)
        return addresses

    def _ask(self, url: httpx.URL, addresses: list[str], *, limit: int, owner: str) -> bytes:
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        request = httpcore.Request(
            "GET",
            target,
            headers={"Host": url.netloc.decode("ascii"), "Accept": "*/*", "Accept-Encoding": "identity"},
            extensions={"timeout": {"connect": CONNECT_S, "read": READ_S, "write": READ_S}},
        )
        connection = httpcore.HTTPConnection(
            target.origin,
            ssl_context=_certificates() if target.scheme == b"https" else None,
            network_backend=_Pinned(BoundedBackend(self.clock, self.network), addresses),
        )
        try:
            response = connection.handle_request(request)
            try:
                _check(response, limit=limit, owner=owner, url=url)
                return _body(response, limit=limit, owner=owner)
            finally:
                response.close()
        finally:
            connection.close()


@cache
def _certificates() -> ssl.SSLContext:
    # Reading them takes tens of milliseconds.
    return httpx.create_ssl_context()


class _Pinned(httpcore.NetworkBackend):
    """Connects to one of the addresses that were looked at, whatever name is asked for; the first that takes it."""

    def __init__(self, inner: httpcore.NetworkBackend, addresses: Sequence[str]) -> None:
        self._inner = inner
        self._addresses = addresses

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        *others, last = self._addresses[:3]
        for address in others:
            try:
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._inner.connect_tcp(last, port, timeout, local_address, socket_options)


def _check(response: httpcore.Response, *, limit: int, owner: str, url: httpx.URL) -> None:
    """Refuse what is not the file, before its bytes are read."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status in _NEVER or 300 <= response.status < 400:
        why = "redirects elsewhere" if 300 <= response.status < 400 else "does not give it"
        text = f"the file of {owner}: its host {shown(host_of(url))} {why} (status {response.status}); is its URL still good?"
        raise BadPayload(text, code="media_url")
    if response.status != httpx.codes.OK:
        raise _failed(owner, f"was not given (status {response.status})", url)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BadPayload(f"the file of {owner} is given compressed although that was not asked for", code="media_url")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:18]) > limit:
        raise _too_large(owner, limit)


def _body(response: httpcore.Response, *, limit: int, owner: str) -> bytes:
    content = bytearray()
    for chunk in response.iter_stream():
        content += chunk
        if len(content) > limit:
            raise _too_large(owner, limit)
    if not content:
        raise BadPayload(f"the file of {owner} is empty; store it again", code="media_url")
    return bytes(content)


def _too_large(owner: str, limit: int) -> BadPayload:
    return BadPayload(
        f"the file of {owner} has more than the {limit // _MB} MB that WhatsApp takes of its kind; send a smaller one",
        code="media_too_large",
    )


def _failed(owner: str, what: str, url: httpx.URL) -> Transient:
    error = Transient(
        f"the file of {owner} {what}; is {shown(host_of(url))} reachable from the worker?", code="media_fetch"
    )
    error.max_attempts = ATTEMPTS  # type: ignore[misc]  # an instance may narrow its class's limit
    return error
