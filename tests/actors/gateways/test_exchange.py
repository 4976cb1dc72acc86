"""One request ends in time and says truly whether a byte of it left."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from actors.gateways.exchange import MAX_ANSWER_BYTES, Answer, Exchange, NoAnswer
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
    return exchange.request("POST", url, headers={}, content=b"{}", read_s=read_s, total_s=total_s)


def test_nothing_has_left_when_nobody_listens(exchange):
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))

        outcome = ask(exchange, f"http://127.0.0.1:{unheard.getsockname()[1]}")

    assert outcome == NoAnswer(cause="ConnectError", request_written=False)


def test_nothing_has_left_when_the_name_is_unknown(exchange):
    outcome = ask(exchange, "http://nobody.invalid")

    assert outcome == NoAnswer(cause="ConnectError", request_written=False)


def test_nothing_has_left_when_tls_fails(exchange):
    with listening(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        outcome = ask(exchange, url.replace("http:", "https:"))

    assert isinstance(outcome, NoAnswer)
    assert not outcome.request_written


def test_nothing_has_left_when_there_is_no_time(exchange):
    assert ask(exchange, "http://127.0.0.1:1", total_s=0) == NoAnswer(
        "no time left", request_written=False, timed_out=True
    )


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"nonsense\r\n\r\n"])
def test_the_request_has_left_when_the_answer_breaks_off(exchange, said):
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(said)

    with listening(serve) as url:
        outcome = ask(exchange, url)

    assert isinstance(outcome, NoAnswer)
    assert outcome.request_written
    assert not outcome.timed_out


def test_a_body_that_breaks_off_is_an_incomplete_answer(exchange):
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{")

    with listening(serve) as url:
        outcome = ask(exchange, url)

    assert outcome == Answer(201, {"content-length": "100"}, b"{", complete=False)


def test_an_answer_without_end_is_left_and_counts_as_cut(exchange):
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        with suppress(OSError):
            while True:
                connection.sendall(b"x" * 1_000_000)

    with listening(serve) as url:
        outcome = ask(exchange, url)

    assert isinstance(outcome, Answer)
    assert not outcome.complete
    assert len(outcome.body) < MAX_ANSWER_BYTES + 1_000_000


@pytest.mark.parametrize(
    "drip",
    [b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 300, b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b"a" * 300],
)
def test_an_answer_that_drips_ends_with_the_whole_calls_time(exchange, drip):
    gone = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        for byte in drip:
            if gone.wait(0.02):
                return
            connection.sendall(bytes([byte]))

    with listening(serve) as url:
        begin_s = time.monotonic()
        outcome = ask(exchange, url, total_s=0.3, read_s=5.0)
        took_s = time.monotonic() - begin_s
        gone.set()

    assert 0.25 < took_s < 2
    # Either way the request has left: no status at all, or an answer that is not whole.
    assert outcome.request_written if isinstance(outcome, NoAnswer) else not outcome.complete


def test_a_silent_server_is_left_after_the_reading_time(exchange):
    gone = threading.Event()
    with listening(lambda _: gone.wait(5)) as url:
        outcome = ask(exchange, url, read_s=0.2)
        gone.set()

    assert outcome == NoAnswer(cause="ReadTimeout", request_written=True, timed_out=True)


def test_a_redirect_is_an_answer_and_is_not_followed(exchange):
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        asked.append(connection.recv(65_536))
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )

    with listening(serve) as url:
        outcome = ask(exchange, url)

    assert isinstance(outcome, Answer)
    assert outcome.status == 302
    assert len(asked) == 1


def test_proxies_and_passwords_of_the_environment_are_not_used(exchange, monkeypatch, tmp_path):
    asked: list[bytes] = []
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    def serve(connection: socket.socket) -> None:
        asked.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with listening(serve) as url:
        outcome = ask(exchange, url)

    assert isinstance(outcome, Answer)
    assert b"authorization" not in asked[0].lower()


@pytest.mark.parametrize(
    ("error", "written"),
    [
        (httpx.ConnectError("x"), False),
        (httpx.ConnectTimeout("x"), False),
        (httpx.PoolTimeout("x"), False),
        (httpx.LocalProtocolError("x"), False),
        (httpx.UnsupportedProtocol("x"), False),
        (httpx.WriteError("x"), True),
        (httpx.WriteTimeout("x"), True),
        (httpx.ReadError("x"), True),
        (httpx.ReadTimeout("x"), True),
        (httpx.RemoteProtocolError("x"), True),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_each_failure_says_whether_a_byte_left(error, written):
    def handle(_: httpx.Request) -> httpx.Response:
        raise error

    made = Exchange(clock=SystemClock(), make_transport=lambda: httpx.MockTransport(handle))

    outcome = ask(made, "http://evo.example")

    assert isinstance(outcome, NoAnswer)
    assert outcome.request_written is written
    assert outcome.timed_out is isinstance(error, httpx.TimeoutException)
    made.close()


FORKING = """
import os, sys
from actors.gateways.exchange import Exchange
from middleware.clock import SystemClock

exchange = Exchange(clock=SystemClock())
def ask():
    answer = exchange.request("POST", sys.argv[1], headers={}, content=b"{}", read_s=5, total_s=5)
    assert answer.status == 200, answer

ask()
pid = os.fork()
ask()
exchange.close()
if pid:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_a_child_process_opens_connections_of_its_own():
    ports: list[int] = []

    class OneByOne(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            ports.append(self.client_address[1])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), OneByOne) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        # A process of its own: forking this one, with its threads, is not what a worker does.
        subprocess.run([sys.executable, "-c", FORKING, url], check=True, timeout=30)
        server.shutdown()

    # Three requests: the parent reused its connection, the child opened another.
    assert len(ports) == 3
    assert len(set(ports)) == 2
