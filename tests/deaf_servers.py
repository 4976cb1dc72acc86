"""Servers that misbehave as real ones do: one that does nothing on SELECT, one that never answers.

Tests of ``doctor`` and of the worker's refusals stand them in front of a real Redis.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def redis_without_select(port: int, *, db: int = 2) -> Iterator[int]:
    """Port of a Redis whose SELECT says OK and stays on database 0: what some managed services do.

    Every byte goes to the real server behind ``port``, but ``SELECT <db>`` becomes ``SELECT 0``.
    """
    asked = b"$6\r\nSELECT\r\n$1\r\n%d\r\n" % db
    with _listening(
        lambda client: _relay(client, port, asked, asked.replace(b"\r\n%d\r\n" % db, b"\r\n0\r\n"))
    ) as own_port:
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


def _relay(client: socket.socket, port: int, asked: bytes, told: bytes) -> None:
    server = socket.create_connection(("127.0.0.1", port))

    def pump(source: socket.socket, target: socket.socket, *, change: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data.replace(asked, told) if change else data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        if not change:
            server.close()

    threading.Thread(target=pump, args=(client, server), kwargs={"change": True}, daemon=True).start()
    threading.Thread(target=pump, args=(server, client), kwargs={"change": False}, daemon=True).start()
