"""A server on this machine that gives one answer, to the byte, to whatever is asked.

Tests set ``answer`` before they ask; ``lines`` has what was asked, the request lines in their order.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: What an Evolution says at its root, where the client asks for the version first.
VERSION = b'{"status": 200, "message": "Welcome", "version": "2.3.6"}'


@dataclass
class Canned:
    """``complete``: as many bytes come as the header says."""

    url: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = True
    lines: list[str] = field(default_factory=list)

    def answer(self, status: int, headers: Mapping[str, str], body: bytes, *, complete: bool = True) -> None:
        self.status, self.headers, self.body, self.complete = status, headers, body, complete
        self.lines.clear()


@contextmanager
def canned_server() -> Iterator[Canned]:
    canned = Canned()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/":
                self.give(200, {}, VERSION, complete=True)
                return
            canned.lines.append(self.requestline)
            self.give(canned.status, canned.headers, canned.body, complete=canned.complete)

        def do_POST(self) -> None:
            self.do_GET()

        def give(self, status: int, headers: Mapping[str, str], body: bytes, *, complete: bool) -> None:
            self.send_response_only(status, "as told")
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) + (0 if complete else 7)))
            self.send_header("Connection", "close")
            self.end_headers()
            # These have no body, whatever their headers say.
            if status not in (204, 304):
                self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        canned.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield canned
        server.shutdown()
