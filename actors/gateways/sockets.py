"""Connections that know the deadline of the whole call, and whether a byte of it was written.

``exchange`` opens its connections here, and so does whoever fetches files. httpcore bounds each read only: an answer that
drips a byte per second would hold a worker thread for hours.
"""

import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

from actors.gateways.first_byte import first_byte
from middleware.clock import Clock


class Call(threading.local):
    """The request that the current thread is making."""

    deadline_ms: int | None = None
    written = False

    @contextmanager
    def begin(self, clock: Clock, *, total_s: float) -> Iterator["Call"]:
        """Bound what this thread does on its connections inside the block by ``total_s``; ``written`` tells of it."""
        self.deadline_ms, self.written = clock.boot_ms() + int(total_s * 1000), False
        try:
            yield self
        finally:
            self.deadline_ms = None


#: One at a time for each thread.
current = Call()


class BoundedBackend(httpcore.NetworkBackend):
    """Opens connections through ``inner``, none of whose steps outlives the current call."""

    def __init__(self, clock: Clock, inner: httpcore.NetworkBackend) -> None:
        self._clock = clock
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See :meth:`httpcore.NetworkBackend.connect_tcp`."""
        timeout = _left_s(self._clock, timeout, httpcore.ConnectTimeout)
        try:
            stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        except UnicodeError as error:
            # What a resolver says to a name that cannot be one.
            raise httpcore.ConnectError("the host's name cannot be one") from error
        return _BoundedStream(stream, self._clock)


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, timeout=_left_s(self._clock, timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Out of time with nothing written is still "never left", whatever the connection was about to do.
        late = httpcore.WriteTimeout if current.written else httpcore.ConnectTimeout
        timeout = _left_s(self._clock, timeout, late)
        if buffer and not current.written:
            first_byte()
        current.written = current.written or bool(buffer)
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
    if current.deadline_ms is None:
        return timeout
    left_s = (current.deadline_ms - clock.boot_ms()) / 1000
    if left_s <= 0:
        raise late("the call has used up its time")
    return left_s if timeout is None else min(timeout, left_s)
