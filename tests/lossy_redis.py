"""A TCP proxy before Redis that lets a script run and loses its reply.

``tests/chaos`` puts it between a broker and the server.
"""

import contextlib
import socket
import threading
from hashlib import sha1

import redis

from middleware.brokers.redis import sources


class LossyRedis:
    """Listens on ``port``; give it to a broker in place of the server's. A context manager."""

    def __init__(self, server_port: int, client: "redis.Redis") -> None:
        self.server_port = server_port
        #: Calls whose reply was lost.
        self.lost = 0
        self._client = client
        self._losing: dict[str, int] = {}
        self._requests_seen: list[bytes] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets = [self._listener]

    def lose(self, script: str, times: int = 1) -> None:
        """Lose the reply of the next ``times`` calls of a script: it runs, and the connection is cut."""
        for flagged in (False, True):
            # Known to the server: else the reply that is lost is the one that asks for its text.
            with contextlib.suppress(redis.ResponseError):
                self._client.script_load(sources.source(script, flagged=flagged).text)
        with self._lock:
            self._losing[script] = times

    def seen(self, script: str) -> int:
        """How often a script was called through here."""
        with self._lock:
            return sum(request.count(digest) for request in self._requests_seen for digest in _digests(script))

    def __enter__(self) -> "LossyRedis":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            _end(one)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.server_port))
                self._sockets += [client, server]
                mute = threading.Event()
                threading.Thread(target=self._requests, args=(client, server, mute), daemon=True).start()
                threading.Thread(target=_replies, args=(server, client, mute), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while request := client.recv(1 << 20):
                if self._is_to_lose(request):
                    mute.set()
                server.sendall(request)
        _end(server)

    def _is_to_lose(self, request: bytes) -> bool:
        with self._lock:
            self._requests_seen.append(request)
            for script, left in self._losing.items():
                if left > 0 and any(digest in request for digest in _digests(script)):
                    self._losing[script] -= 1
                    self.lost += 1
                    return True
        return False


def _digests(script: str) -> list[bytes]:
    return [
        sha1(sources.source(script, flagged=flagged).text.encode(), usedforsecurity=False).hexdigest().encode()
        for flagged in (False, True)
    ]


def _replies(server: socket.socket, client: socket.socket, mute: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while (reply := server.recv(1 << 20)) and not mute.is_set():
            client.sendall(reply)
    _end(client)
    _end(server)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
