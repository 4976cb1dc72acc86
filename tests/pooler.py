"""A pooler between Django and PostgreSQL that gives a client another server connection for every transaction.

What pgbouncer does in transaction mode: whatever a session remembers (prepared statements, cursors that outlive a transaction,
advisory locks, temporary tables, settings) is gone, or somebody else's, at the next one. ``with pooling(url) as pooler``.
"""

import os
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

#: Codes in place of a protocol version: may we speak TLS, GSSAPI? Here one may not.
ASKS = (80877103, 80877104)
REPORTED = ("server_version", "server_encoding", "client_encoding", "TimeZone", "DateStyle", "integer_datetimes")


class Pooler:
    """Listens on ``port``; ``statements`` is the text of every simple query, ``extended`` counts the other kind's."""

    def __init__(self, url: str, servers: int) -> None:
        self._connections = [psycopg.connect(url, sslmode="disable", autocommit=True) for _ in range(servers)]
        self._servers: queue.Queue[socket.socket] = queue.Queue()
        for connection in self._connections:
            # psycopg has logged in; from here on the bytes are ours.
            server = socket.socket(fileno=os.dup(connection.fileno()))
            server.setblocking(True)
            self._servers.put(server)
        self.statements: list[str] = []
        self.extended = 0
        self._door = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._door.close()
        while not self._servers.empty():
            self._servers.get().close()
        for connection in self._connections:
            connection.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with client, suppress(ConnectionError):
            self._greet(client)
            while True:
                kind, body = _message(client)
                if kind == b"X":
                    break
                server = server or self._servers.get()
                server.sendall(_packed(kind, body))
                if kind == b"Q":
                    self.statements.append(body.rstrip(b"\0").decode())
                self.extended += kind == b"P"
                if kind in b"QSF" and _relay(server, client) == b"I":
                    # The next transaction gets the one that has waited longest.
                    self._servers.put(server)
                    server = None
        # A client that goes in the middle of a transaction: its server is put right, as a pooler does, unless that is gone too.
        with suppress(ConnectionError):
            if server is not None:
                server.sendall(_packed(b"Q", b"ROLLBACK\0"))
                _relay(server, None)
                self._servers.put(server)

    def _greet(self, client: socket.socket) -> None:
        while True:
            (size,) = struct.unpack("!i", _exactly(client, 4))
            code = struct.unpack("!i", _exactly(client, size - 4)[:4])[0]
            if code not in ASKS:
                break
            client.sendall(b"N")
        info = self._connections[0].info
        known = {name: info.parameter_status(name) or "" for name in REPORTED} | {"standard_conforming_strings": "on"}
        told = b"".join(_packed(b"S", f"{name}\0{value}\0".encode()) for name, value in known.items())
        client.sendall(_packed(b"R", struct.pack("!i", 0)) + told + _packed(b"K", bytes(8)) + _packed(b"Z", b"I"))


def _relay(server: socket.socket, client: socket.socket | None) -> bytes:
    """Hand on until the server is ready; in which state it then is."""
    while True:
        kind, body = _message(server)
        if client is not None:
            client.sendall(_packed(kind, body))
        if kind == b"Z":
            return body


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    kind = _exactly(source, 1)
    (size,) = struct.unpack("!i", _exactly(source, 4))
    return kind, _exactly(source, size - 4)


def _packed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = source.recv(size - len(found))
        if not more:
            raise ConnectionError
        found += more
    return found


@contextmanager
def pooling(url: str, *, servers: int = 4) -> Iterator[Pooler]:
    """A pooler in front of the database ``url``, inside the block."""
    pooler = Pooler(url, servers)
    try:
        yield pooler
    finally:
        pooler.close()
