"""One request ends in time and says truly whether a byte of it left."""

import gzip
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import pytest
from waiting import until

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

    # All of the answer takes six seconds.
    assert 0.25 < took_s < 4
    # Either way the request has left: no status at all, or an answer that is not whole.
    assert outcome.request_written if isinstance(outcome, NoAnswer) else not outcome.complete


@pytest.mark.parametrize(
    ("encoding", "body", "read", "complete"),
    [
        ("gzip", gzip.compress(b"{}"), b"{}", True),
        ("deflate", zlib.compress(b"{}"), b"{}", True),
        ("gzip", gzip.compress(b"{}")[:-4], b"{}", False),
        ("gzip", b"{}", b"{}", False),
        ("br", b"\x0b\x01", b"\x0b\x01", False),
        ("gzip", gzip.compress(b"x" * (MAX_ANSWER_BYTES + 9)), b"x" * MAX_ANSWER_BYTES, False),
        ("identity", b"{}", b"{}", True),
    ],
    ids=["gzip", "deflate", "cut", "a lie", "unknown", "a bomb", "plain"],
)
def test_what_a_proxy_compressed_unasked_is_read_as_far_as_it_can_be(exchange, encoding, body, read, complete):
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    with listening(serve) as url:
        outcome = ask(exchange, url)

    assert isinstance(outcome, Answer)
    assert (outcome.body, outcome.complete) == (read, complete)


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


class Breaking(httpcore.NetworkBackend, httpcore.NetworkStream):
    """A network on which one step fails, and every other goes well."""

    def __init__(self, step: str, error: Exception) -> None:
        self.step, self.error, self.closed = step, error, False

    def at(self, step: str) -> None:
        if step == self.step:
            raise self.error

    def connect_tcp(self, *_: object, **__: object) -> httpcore.NetworkStream:
        self.at("connect")
        return self

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.at("write")

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.at("read")
        return b""

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, info: str) -> None:
        return None


@pytest.mark.parametrize(
    ("step", "error", "written"),
    [
        ("connect", httpcore.ConnectError(), False),
        ("connect", httpcore.ConnectTimeout(), False),
        ("write", httpcore.WriteTimeout(), True),
        ("read", httpcore.ReadError(), True),
        ("read", httpcore.ReadTimeout(), True),
        ("nowhere", httpcore.RemoteProtocolError(), True),  # nothing comes back
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_each_failure_says_whether_a_byte_left(step, error, written):
    network = Breaking(step, error)
    made = Exchange(clock=SystemClock(), network=network)

    outcome = ask(made, "http://evo.example")

    timed_out = isinstance(error, httpcore.TimeoutException)
    assert outcome == NoAnswer(type(error).__name__, request_written=written, timed_out=timed_out)
    assert network.closed is (step != "connect")


def test_a_write_that_fails_may_have_left_and_the_answer_is_still_read():
    """A server may refuse a large body before it has all of it: 413, and it closes."""
    outcome = ask(Exchange(clock=SystemClock(), network=Breaking("write", httpcore.WriteError())), "http://evo.example")

    assert outcome == NoAnswer("RemoteProtocolError", request_written=True)


def test_nothing_has_left_when_a_header_cannot_be_sent(exchange):
    outcome = exchange.request("POST", "http://127.0.0.1:1", headers={"X": "a\nb"}, read_s=1, total_s=1)

    assert isinstance(outcome, NoAnswer)
    assert not outcome.request_written


def test_what_strikes_in_the_middle_leaves_no_connection_behind(exchange):
    """A time limit of the worker: the answer that is still to come must not be read as that of the next request."""

    class Struck(BaseException):
        pass

    network = Breaking("read", Struck())
    made = Exchange(clock=SystemClock(), network=network)

    with pytest.raises(Struck):
        ask(made, "http://evo.example")

    assert network.closed
    assert not any(made._idle.values())


def keep_alive(connection: socket.socket) -> None:
    asked = b""
    while chunk := connection.recv(65_536):
        asked += chunk
        if not asked.endswith(b"{}"):
            # The head came without the body.
            continue
        asked = b""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def test_a_connection_is_used_again_while_it_is_fresh(exchange):
    accepted: list[int] = []

    def serve(connection: socket.socket) -> None:
        accepted.append(connection.fileno())
        keep_alive(connection)

    with listening(serve) as url:
        outcomes = [ask(exchange, url) for _ in range(3)]
        exchange.close()

    assert [type(one) for one in outcomes] == [Answer] * 3
    assert len(accepted) == 1


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(exchange, monkeypatch):
    """Node closes it after 5 s; a request that meets the closing would count as one that nobody knows the end of."""
    monkeypatch.setattr("actors.gateways.exchange.KEEPALIVE_S", -1.0)
    accepted: list[int] = []

    def serve(connection: socket.socket) -> None:
        accepted.append(connection.fileno())
        keep_alive(connection)

    with listening(serve) as url:
        outcomes = [ask(exchange, url) for _ in range(3)]
        exchange.close()

    assert [type(one) for one in outcomes] == [Answer] * 3
    assert len(accepted) == 3
    assert sum(len(idle) for idle in exchange._idle.values()) == 0


def test_a_connection_that_grew_old_while_it_waited_is_not_used_again(exchange, monkeypatch):
    monkeypatch.setattr("actors.gateways.exchange.KEEPALIVE_S", 0.05)
    accepted: list[int] = []

    def serve(connection: socket.socket) -> None:
        accepted.append(connection.fileno())
        keep_alive(connection)

    with listening(serve) as url:
        ask(exchange, url)
        [idle] = exchange._idle.values()
        old = idle[-1]
        until(old.has_expired, within_ms=20_000)
        outcome = ask(exchange, url)
        assert old.is_closed()
        exchange.close()

    assert isinstance(outcome, Answer)
    assert len(accepted) == 2


def test_a_connection_that_the_server_closed_is_not_used_again(exchange):
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with listening(serve) as url:
        outcomes = [ask(exchange, url)]
        [idle] = exchange._idle.values()
        until(lambda: not idle or idle[-1].has_expired(), within_ms=20_000)
        outcomes.append(ask(exchange, url))

    assert [type(one) for one in outcomes] == [Answer] * 2


def test_many_threads_each_have_their_own_answer(exchange):
    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    wrong: list[bytes] = []

    def run(number: int) -> None:
        for turn in range(30):
            body = f"{number}:{turn}".encode() * (1 + number)
            answer = exchange.request("POST", url, headers={}, content=body, read_s=5, total_s=5)
            if not isinstance(answer, Answer) or answer.body != body:
                wrong.append(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        exchange.close()
        server.shutdown()

    assert wrong == []


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


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".example", ".example"])
def test_a_name_that_no_resolver_takes_is_not_reached_and_nothing_was_written(name):
    outcome = Exchange(clock=SystemClock()).request("POST", f"http://{name}/", headers={}, read_s=1, total_s=1)

    assert outcome == NoAnswer(cause="ConnectError", request_written=False)
