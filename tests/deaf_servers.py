"""Servers that misbehave as real ones do: one that does nothing on SELECT, one that never answers.

Tests of ``doctor`` and of the worker's refusals stand them in front of a real Redis.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Change = Callable[[bytes], bytes]


def _same(data: bytes) -> bytes:
    return data


@contextmanager
def redis_without_select(port: int, *, db: int = 2, lies: bool = False) -> Iterator[int]:
    """Port of a Redis whose SELECT says OK and stays on database 0: what some managed services do.

    Every byte goes to the real server behind ``port``, but ``SELECT <db>`` becomes ``SELECT 0``. One that ``lies`` says that
    the connection is on the database that was asked for.
    """
    asked = b"$6\r\nSELECT\r\n$1\r\n%d\r\n" % db
    told = asked.replace(b"\r\n%d\r\n" % db, b"\r\n0\r\n")
    lie: Change = (lambda data: data.replace(b" db=0 ", b" db=%d " % db)) if lies else _same
    with _listening(lambda client: _relay(client, port, lambda data: data.replace(asked, told), lie)) as own_port:
        yield own_port


@contextmanager
def redis_of_another_version(port: int, *, begins: bytes) -> Iterator[int]:
    """Port of the server behind ``port`` that says it is of another version, which ``begins`` so; ``6.0.`` for example."""

    def older(found: "re.Match[bytes]") -> bytes:
        return found[1] + begins + b"0" * (len(found[2]) - len(begins))

    with _listening(
        lambda client: _relay(client, port, _same, lambda data: re.sub(rb"(redis_version:)([\d.]+)", older, data))
    ) as own_port:
        yield own_port


@contextmanager
def slow_redis(port: int, *, by_ms: int) -> Iterator[int]:
    """Port of the server behind ``port``, whose replies come later."""

    def late(data: bytes) -> bytes:
        threading.Event().wait(by_ms / 1000)
        return data

    with _listening(lambda client: _relay(client, port, _same, late)) as own_port:
        yield own_port


@contextmanager
def silent_server() -> Iterator[int]:
    """Port of a server that takes connections and never says a word: a firewall that drops, a process that hangs."""
    with _listening(lambda client: None) as own_port:
        yield own_port


@contextmanager
def _listening(serve) -> Iterator[int]:
    opened: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    opened.append(client)
                    serve(client)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            # close() alone leaves a thread inside accept().
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for client in opened:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                client.close()


def _relay(client: socket.socket, port: int, there: Change, back: Change) -> None:
    server = socket.create_connection(("127.0.0.1", port))

    def pump(source: socket.socket, target: socket.socket, change: Change, *, is_last: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(change(data))
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        if is_last:
            server.close()

    threading.Thread(target=pump, args=(client, server, there), kwargs={"is_last": False}, daemon=True).start()
    threading.Thread(target=pump, args=(server, client, back), kwargs={"is_last": True}, daemon=True).start()
