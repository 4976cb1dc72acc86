"""One request ends in time and says truly whether a byte of it left."""

import gzip
import socket
import threading
import time
import zlib
from contextlib import suppress

import httpcore
import pytest
from exchange_world import ask, exchange, listening

from actors.gateways.exchange import MAX_ANSWER_BYTES, Answer, Exchange, NoAnswer
from middleware.clock import SystemClock

__all__ = ["exchange"]


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


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".example", ".example"])
def test_a_name_that_no_resolver_takes_is_not_reached_and_nothing_was_written(name):
    outcome = Exchange(clock=SystemClock()).request("POST", f"http://{name}/", headers={}, read_s=1, total_s=1)

    assert outcome == NoAnswer(cause="ConnectError", request_written=False)
