"""An endpoint for webhooks on this machine that keeps what was posted.

Tests say ``with listening() as posts:`` and wait for facts about ``posts``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Posts:
    """Bodies and headers in the order they came; ``statuses`` are answered in turn, then 200."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Posts]:
    posts = Posts()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.headers.append({name.lower(): value for name, value in self.headers.items()})
            posts.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(posts.statuses.pop(0) if posts.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        posts.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        yield posts
        server.shutdown()
