"""An endpoint that the sandbox tells its events, and a client that makes it send a text.

Tests import the fixture ``receiver`` and name it in ``__all__``.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from sandbox_fixture import Sandbox

NUMBER = "5511988887777"


class Receiver:
    """An endpoint that keeps what it gets and answers what it is told; it may hold answers back."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.gate.wait(10)
                receiver.got.append(json.loads(body))
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                receiver.paths.append(self.path)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def names(self) -> list[str]:
        return [one["event"] for one in self.got]

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def send(sandbox: Sandbox, text: str = "oi") -> httpx.Response:
    return httpx.post(
        f"{sandbox.url}/message/sendText/i1",
        headers={"apikey": sandbox.apikey},
        json={"number": NUMBER, "text": text},
        timeout=5,
        trust_env=False,
    )


def texts(receiver: Receiver) -> list[str]:
    return [one["data"]["message"]["conversation"] for one in receiver.got]
