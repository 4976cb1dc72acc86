"""An exchange of a test's own, and servers that answer on the bare socket as the test says.

Tests import the fixture ``exchange`` and name it in ``__all__``.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from actors.gateways.exchange import Answer, Exchange, NoAnswer
from middleware.clock import SystemClock

Serve = Callable[[socket.socket], None]


@contextmanager
def listening(serve: Serve) -> Iterator[str]:
    """A server that hands each connection to ``serve``, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stopped = threading.Event()

        def accept() -> None:
            while not stopped.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        stopped.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = Exchange(clock=SystemClock())
    yield made
    made.close()


def ask(exchange: Exchange, url: str, *, total_s: float = 5.0, read_s: float = 5.0) -> Answer | NoAnswer:
    """One request with a small body."""
    return exchange.request("POST", url, headers={}, content=b"{}", read_s=read_s, total_s=total_s)
