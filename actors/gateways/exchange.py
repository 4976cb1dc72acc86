"""One HTTP request, bounded in time, whose end is a value: an answer, or why there is none.

Gateways that speak HTTP use it. The one fact they live by is whether a byte of the request left this machine.
"""

import os
import ssl
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import httpcore
import httpx

from actors.gateways.sockets import BoundedBackend, current
from middleware.clock import Clock
from middleware.sentry_spans import request_span

#: Connecting takes this long at most, in seconds.
CONNECT_S = 5.0
#: A connection that was idle for longer is not used again. Node closes it after 5 s: one reused in that instant is reset,
#: and a reset after the request was written is a send that nobody knows the end of.
KEEPALIVE_S = 2.0
#: More of an answer is not read; it then counts as cut.
MAX_ANSWER_BYTES = 16 * 1024 * 1024

#: What ends a request at the connection.
_BROKEN = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)


class Pieces(Protocol):
    """A request's body in pieces, each written by itself; its length is the number of bytes in all."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the far side said. ``complete`` is False when the connection ended before the body did."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    complete: bool = True


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Not even a status came. ``cause`` is the name of what httpcore met; ``request_written`` whether bytes left."""

    cause: str
    request_written: bool
    timed_out: bool = False


class Exchange:
    """Keeps the connections of a process. Safe to call from many threads, and after a fork.

    A call takes an idle connection of its server, or opens one, and leaves it for the next call: no pool in which 64 threads
    would wait for one lock (docs/gateways.md has the measure). ``network`` is for tests, which stand in for it there.
    """

    def __init__(self, *, clock: Clock, network: httpcore.NetworkBackend | None = None) -> None:
        self._clock = clock
        self._network = BoundedBackend(clock, network or httpcore.SyncBackend())
        # Keyed by process: sockets of a parent are never touched (nor closed) by its child. No lock: one that another thread
        # held at the fork would never open again in the child; what a deque and a dict do here, they do at once.
        self._idle: dict[tuple[int, str], deque[httpcore.HTTPConnection]] = {}
        self._tls: ssl.SSLContext | None = None

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | Pieces | None = None,
        read_s: float,
        total_s: float,
    ) -> Answer | NoAnswer:
        """Ask once; no redirect is followed, no proxy asked, and nothing is repeated.

        ``read_s`` bounds the wait for the next bytes, ``total_s`` the whole call, connecting and a dripping answer
        included.
        """
        if total_s <= 0:
            return NoAnswer(cause="no time left", request_written=False, timed_out=True)
        with current.begin(self._clock, total_s=total_s) as call, request_span(method, _host(url)) as span:
            try:
                request = _request(method, url, headers, content, read_s=min(read_s, total_s))
                answer = self._ask(request)
            except _BROKEN as error:
                span.broke()
                return NoAnswer(
                    cause=type(error).__name__,
                    request_written=call.written,
                    timed_out=isinstance(error, httpcore.TimeoutException),
                )
            span.answered(answer.status)
            return answer

    def close(self) -> None:
        """Give back this process's idle connections. Repeatable; the next request opens new ones."""
        for (pid, _), idle in list(self._idle.items()):
            if pid == os.getpid():
                _drain(idle)

    def _ask(self, request: httpcore.Request) -> Answer:
        origin = request.url.origin
        idle = self._idle.setdefault((os.getpid(), str(origin)), deque())
        connection = _take(idle) or httpcore.HTTPConnection(
            origin,
            ssl_context=self._certificates() if origin.scheme == b"https" else None,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=self._network,
        )
        response = connection.handle_request(request)
        try:
            answer = _read(response)
        finally:
            # Whatever struck (a time limit, too), one whose answer was not read to its end is closed by this and not kept.
            response.close()
        if connection.is_idle():
            idle.append(connection)
            _forget_old(idle)
        return answer

    def _certificates(self) -> ssl.SSLContext:
        if self._tls is None:
            # At the first use: reading them takes tens of milliseconds. Two threads may both do so.
            self._tls = httpx.create_ssl_context()
        return self._tls


def _request(
    method: str, url: str, headers: Mapping[str, str], content: bytes | Pieces | None, *, read_s: float
) -> httpcore.Request:
    host, target = _parsed(url)
    sent = [("Host", host), ("Accept-Encoding", "identity"), *headers.items()]
    if content is not None:
        sent.append(("Content-Length", str(len(content))))
    times = {"connect": CONNECT_S, "read": read_s, "write": read_s}
    return httpcore.Request(method, target, headers=sent, content=content, extensions={"timeout": times})


def _host(url: str) -> str:
    return _parsed(url)[0]


@lru_cache(maxsize=256)
def _parsed(url: str) -> tuple[str, httpcore.URL]:
    parsed = httpx.URL(url)
    target = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    return parsed.netloc.decode("ascii"), target


def _read(response: httpcore.Response) -> Answer:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    chunks: list[bytes] = []
    size_bytes, complete = 0, True
    try:
        for chunk in response.iter_stream():
            chunks.append(chunk)
            size_bytes += len(chunk)
            if size_bytes > MAX_ANSWER_BYTES:
                complete = False
                break
    except _BROKEN:
        complete = False
    body = b"".join(chunks)
    if complete and headers.get("content-encoding", "identity").lower() != "identity":
        body, complete = _unpacked(body)
    return Answer(status=response.status, headers=headers, body=body, complete=complete)


def _unpacked(body: bytes) -> tuple[bytes, bool]:
    """What a proxy compressed although nobody asked for it, and whether that was gzip (or deflate) and whole."""
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        unpacked = decoder.decompress(body, MAX_ANSWER_BYTES)
    except zlib.error:
        return body, False
    return unpacked, decoder.eof


def _take(idle: deque[httpcore.HTTPConnection]) -> httpcore.HTTPConnection | None:
    """The connection that was used last, when it can be used; those that cannot are closed."""
    while idle:
        try:
            connection = idle.pop()
        except IndexError:
            # Another thread was faster.
            return None
        if not connection.has_expired():
            return connection
        connection.close()
    return None


def _forget_old(idle: deque[httpcore.HTTPConnection]) -> None:
    """Close the one that was idle for longest, when it is too old; each call closes one, so none stays for long."""
    try:
        oldest = idle.popleft()
    except IndexError:
        return
    if oldest.has_expired():
        oldest.close()
    else:
        idle.appendleft(oldest)


def _drain(idle: deque[httpcore.HTTPConnection]) -> None:
    while idle:
        try:
            idle.pop().close()
        except IndexError:
            return
