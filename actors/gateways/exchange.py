"""One HTTP request, bounded in time, whose end is a value: an answer, or why there is none.

Gateways that speak HTTP use it. The one fact they live by is whether a byte of the request left this machine.
"""

import os
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

from middleware.clock import Clock

#: Connecting, and waiting for a free connection of the pool, in seconds.
CONNECT_S = 5.0
#: Idle connections are given back after this. Node closes them after 5 s: one reused in that instant is reset, and a
#: reset after the request was written is a send that nobody knows the end of.
KEEPALIVE_S = 2.0
#: Connections of one process to all servers.
MAX_CONNECTIONS = 100
#: More of an answer is not read; it then counts as cut.
MAX_ANSWER_BYTES = 16 * 1024 * 1024

#: These end a request before its first byte. Every other one may have left: the far side may have acted.
_NOT_WRITTEN = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the far side said. ``complete`` is False when the connection ended before the body did."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    complete: bool = True


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Not even a status came. ``cause`` is the name of what httpx met; ``request_written`` whether bytes left."""

    cause: str
    request_written: bool
    timed_out: bool = False


class Exchange:
    """A pool of connections per process. Safe to call from many threads, and after a fork.

    ``make_transport`` is for tests, which stand in for the network there.
    """

    def __init__(self, *, clock: Clock, make_transport: "Callable[[], httpx.BaseTransport] | None" = None) -> None:
        self._clock = clock
        self._make_transport = make_transport or (lambda: BoundedTransport(clock))
        # Keyed by process: sockets of a parent are never touched (nor closed) by its child.
        self._clients: dict[int, httpx.Client] = {}

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None = None,
        read_s: float,
        total_s: float,
    ) -> Answer | NoAnswer:
        """Ask once; no redirect is followed and nothing is repeated.

        ``read_s`` bounds the wait for the next bytes, ``total_s`` the whole call, connecting and a dripping answer
        included.
        """
        if total_s <= 0:
            return NoAnswer(cause="no time left", request_written=False, timed_out=True)
        timeout = httpx.Timeout(min(read_s, total_s), connect=min(CONNECT_S, total_s), pool=min(CONNECT_S, total_s))
        _call.deadline_ms = self._clock.boot_ms() + int(total_s * 1000)
        _call.written = False
        try:
            with self._client().stream(
                method, url, headers=dict(headers), content=content, timeout=timeout
            ) as response:
                return _read(response)
        except httpx.TransportError as error:
            return NoAnswer(
                cause=type(error).__name__,
                request_written=not isinstance(error, _NOT_WRITTEN),
                timed_out=isinstance(error, httpx.TimeoutException),
            )
        finally:
            _call.deadline_ms = None

    def close(self) -> None:
        """Give back this process's connections. Repeatable; the next request opens new ones."""
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def _client(self) -> httpx.Client:
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            # The proxies and passwords that httpx finds in the environment would see the key.
            made = httpx.Client(transport=self._make_transport(), follow_redirects=False, trust_env=False)
            # No lock: one that another thread held at the fork would never open again in the child.
            client = self._clients.setdefault(pid, made)
            if client is not made:
                made.close()
        return client


def _read(response: httpx.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    chunks: list[bytes] = []
    size_bytes = 0
    complete = True
    try:
        for chunk in response.iter_bytes():
            chunks.append(chunk)
            size_bytes += len(chunk)
            if size_bytes > MAX_ANSWER_BYTES:
                complete = False
                break
    except (httpx.TransportError, httpx.DecodingError):
        complete = False
    return Answer(status=response.status_code, headers=headers, body=b"".join(chunks), complete=complete)


class _Call(threading.local):
    """The request that the current thread is making."""

    deadline_ms: int | None = None
    written = False


_call = _Call()


class BoundedTransport(httpx.BaseTransport):
    """httpx over connections that know the deadline of the whole call.

    httpx bounds each read only: an answer that drips a byte per second would hold a worker thread for hours.
    """

    def __init__(self, clock: Clock) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=_BoundedBackend(clock),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See :meth:`httpx.BaseTransport.handle_request`."""
        url = request.url
        content = request.stream
        assert isinstance(content, httpx.SyncByteStream)  # noqa: S101  # the client is synchronous; for the type checker
        with _as_httpx():
            answer = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=content,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.iter_stream(), answer.close))

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, chunks: Iterable[bytes], close: Callable[[], None]) -> None:
        self._chunks = chunks
        self._close = close

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._chunks

    def close(self) -> None:
        self._close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Errors of the connection under httpx' names; both libraries use the same."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        name = type(error).__name__
        raise getattr(httpx, name, httpx.RemoteProtocolError)(name) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol("neither http nor https") from error


class _BoundedBackend(httpcore.NetworkBackend):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        timeout = _left_s(self._clock, timeout, httpcore.ConnectTimeout)
        return _BoundedStream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self._clock)


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, timeout=_left_s(self._clock, timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Out of time with nothing written is still "never left", whatever the connection was about to do.
        late = httpcore.WriteTimeout if _call.written else httpcore.ConnectTimeout
        timeout = _left_s(self._clock, timeout, late)
        _call.written = _call.written or bool(buffer)
        self._inner.write(buffer, timeout=timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = _left_s(self._clock, timeout, httpcore.ConnectTimeout)
        return _BoundedStream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left_s(clock: Clock, timeout: float | None, late: type[Exception]) -> float | None:
    """The shorter of ``timeout`` and what is left of the current call."""
    if _call.deadline_ms is None:
        return timeout
    left_s = (_call.deadline_ms - clock.boot_ms()) / 1000
    if left_s <= 0:
        raise late("the call has used up its time")
    return left_s if timeout is None else min(timeout, left_s)
