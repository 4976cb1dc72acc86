"""A file that lies on a server which answers as the test says, at addresses that the test makes up.

No name is looked up, and every connection goes to a port of this machine.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
import pytest

from actors import errors
from actors.domain import Media, MediaKind
from actors.gateways.media_fetch import MediaFetcher
from middleware.clock import SystemClock

PUBLIC = "93.184.216.34"
OWNER = "message m1:0"


def media(url: str, kind: MediaKind = MediaKind.IMAGE) -> Media:
    return Media(kind=kind, url=url, mimetype="image/png", file_name="a.png")


def names(**table: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A resolver that knows these names; several addresses stand with commas between them."""

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        known = {name.replace("_", "."): text for name, text in table.items()} | {PUBLIC: PUBLIC}
        if host not in known:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in known[host].split(",")]

    return resolve


class Network(httpcore.NetworkBackend):
    """Leads every connection to one local port, and remembers where it was to go."""

    def __init__(self, port: int, *, dead: tuple[str, ...] = ()) -> None:
        self.port, self.dead, self.asked = port, dead, []
        self.inner = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        self.asked.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError("dead")
        return self.inner.connect_tcp("127.0.0.1", self.port, *args, **kwargs)


@contextmanager
def answering(reply: bytes | Callable[[socket.socket], None]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that says ``reply`` to each connection; yields its port and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    asked.append(connection.recv(65_536))
                    if callable(reply):
                        reply(connection)
                    else:
                        connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fetch(reply: Any, url: str = "http://cdn.example/a.png?x=1", **fields: Any) -> tuple[bytes, list[bytes], Network]:
    kind, total_s = fields.pop("kind", MediaKind.IMAGE), fields.pop("total_s", 5.0)
    dead = fields.pop("dead", ())
    with answering(reply) as (port, asked):
        network = Network(port, dead=dead)
        fetcher = MediaFetcher(clock=SystemClock(), network=network, **{"resolve": names(cdn_example=PUBLIC), **fields})
        return fetcher.fetch(media(url, kind), owner=OWNER, total_s=total_s), asked, network


def refusal(reply: Any, url: str = "http://cdn.example/a.png?x=1", **fields: Any) -> errors.ChatError:
    with pytest.raises(errors.ChatError) as caught:
        fetch(reply, url, **fields)
    assert OWNER in str(caught.value)
    return caught.value
