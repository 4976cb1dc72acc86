"""A small HTTP server for scrapers and probes: a few pages, each made when it is asked for.

Answers on a TCP port (the next free one where it is taken) and, on Linux, on a local socket without a file, by which
``chat-actors doctor --live`` finds it. Bounded: so many requests at a time, each within a time, GET and HEAD only.
"""

import errno
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

logger = logging.getLogger(__name__)

#: Ports that are tried, the one that was asked for first.
PORTS = 20
#: Requests at a time; more are not answered.
MOST_REQUESTS = 16
#: Longest wait for a client to say what it wants, or to take it, in seconds.
CLIENT_S = 5.0


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    status: int
    content_type: str
    body: bytes

    @classmethod
    def of_json(cls, status: int, found: Mapping[str, Any]) -> "Page":
        """A page of JSON, readable as it is."""
        return cls(status, "application/json", json.dumps(found, indent=2).encode() + b"\n")


#: Makes a page for a client that takes these content types.
Route = Callable[[str], Page]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Not waited for at the end either.
    block_on_close = False

    def __init__(self, address: Any, handler: type[BaseHTTPRequestHandler], family: socket.AddressFamily) -> None:
        self.address_family = family
        self._places = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the name service who we are.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Not the standard one, which prints a traceback; mostly a client that went.
        error = sys.exc_info()[1]
        logger.debug("exposition.request_broken", extra={"code": type(error).__name__})


def _handler(routes: Mapping[str, Route]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_S
        server_version, sys_version = "chat-actors", ""

        def do_GET(self) -> None:  # http.server's name
            page = self._page()
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page.body)

        do_HEAD = do_GET  # noqa: N815  # http.server's name

        def _page(self) -> Page:
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                return Page.of_json(404, {"error": "no such page", "pages": sorted(routes)})
            try:
                return route(self.headers.get("Accept", ""))
            except Exception as error:
                logger.error("exposition.page_broken", extra={"code": type(error).__name__})
                return Page.of_json(500, {"error": f"the page broke: {type(error).__name__}"})

        def address_string(self) -> str:
            return "client"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's signature
            pass

    return Handler


class Exposition:
    """Serves ``routes`` (path → page) until it is stopped."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self.handler = _handler(routes)
        self.port: int | None = None
        self._servers: list[_Server] = []

    def listen(self, host: str, port: int) -> int | None:
        """Answer on ``port``, or the next free one; None, and a warning, where that is not possible."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        last = min(port + PORTS, 65_536)
        for candidate in range(port, last):
            try:
                server = _Server((host, candidate), self.handler, family)
            except OSError as error:
                if error.errno == errno.EADDRINUSE and candidate + 1 < last:
                    continue
                # Messages go on without it.
                logger.warning("exposition.not_listening", extra={"port": port, "code": error.errno})
                return None
            self._serve(server)
            self.port = int(server.server_address[1])
            logger.info("exposition.listening", extra={"port": self.port})
            return self.port
        return None

    def listen_locally(self, name: str) -> bool:
        """Answer on a local socket called ``name`` that is no file; False where the system has no such."""
        if sys.platform != "linux":
            return False
        try:
            server = _Server(f"\0{name}", self.handler, socket.AF_UNIX)
        except OSError as error:
            logger.warning("exposition.not_listening", extra={"port": 0, "code": error.errno})
            return False
        self._serve(server)
        return True

    def _serve(self, server: _Server) -> None:
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, name="exposition", daemon=True).start()

    def stop(self) -> None:
        """Answer no more. Repeatable."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.shutdown()
            server.server_close()
