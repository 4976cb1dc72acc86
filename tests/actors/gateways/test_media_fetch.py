"""A file is fetched from where it lies and from nowhere else, whole and not too much of it."""

import socket
import ssl
import threading
from typing import Any

import pytest
from media_world import PUBLIC, fetch, names, ok, refusal

from actors import errors
from actors.domain import MediaKind
from actors.gateways.media_fetch import ATTEMPTS, MAX_BYTES


def test_the_bytes_come_from_the_address_that_was_looked_at_under_the_name():
    content, asked, network = fetch(ok(b"\x89PNG"))

    assert content == b"\x89PNG"
    assert network.asked == [(PUBLIC, 80)]
    head = asked[0].split(b"\r\n")
    assert head[0] == b"GET /a.png?x=1 HTTP/1.1"
    assert b"Host: cdn.example" in head


def test_the_name_is_resolved_once_so_that_it_cannot_change_its_mind():
    calls: list[str] = []

    def rebinding(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        calls.append(host)
        address = PUBLIC if len(calls) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    _, _, network = fetch(ok(b"x"), resolve=rebinding)

    assert calls == ["cdn.example"]
    assert network.asked == [(PUBLIC, 80)]


def test_another_of_its_addresses_is_taken_when_one_is_dead():
    _, _, network = fetch(ok(b"x"), resolve=names(cdn_example=f"198.41.0.4,{PUBLIC}"), dead=("198.41.0.4",))

    assert [host for host, _ in network.asked] == ["198.41.0.4", PUBLIC]


@pytest.mark.parametrize(
    "status",
    ["401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone", "301 Moved", "302 Found", "307 T", "304 N"],
)
def test_a_file_that_is_not_to_be_had_is_given_up_at_once(status):
    error = refusal(ok(b"secret page", "Location: http://169.254.169.254/", status=status))

    assert (type(error), error.code) == (errors.BadPayload, "media_url")
    assert not error.request_written


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Slow", "408 Late", "400 Bad", "206 Part", "204 None"])
def test_a_file_that_may_be_had_later_is_tried_few_times(status):
    error = refusal(ok(b"", status=status))

    assert (type(error), error.code, error.max_attempts) == (errors.Transient, "media_fetch", ATTEMPTS)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_a_download_that_breaks_off_is_not_the_file(reply):
    error = refusal(reply)

    assert (type(error), error.code, error.max_attempts) == (errors.Transient, "media_fetch", ATTEMPTS)


def test_a_name_without_an_address_may_have_one_later():
    assert refusal(ok(b"x"), "http://nobody.example/a").code == "media_fetch"


@pytest.mark.parametrize("kind", MediaKind)
@pytest.mark.parametrize("told", [True, False])
def test_more_bytes_than_whatsapp_takes_are_not_read(kind, told, monkeypatch):
    monkeypatch.setitem(MAX_BYTES, kind, 100_000)
    sent: list[int] = []

    def reply(connection: socket.socket) -> None:
        length = b"Content-Length: 100001\r\n" if told else b"Connection: close\r\n"
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        # Without a length it goes on for as long as somebody reads.
        sent.extend(connection.send(b"x" * 100_000) for _ in range(5_000))

    error = refusal(reply, kind=kind)

    assert (type(error), error.code) == (errors.BadPayload, "media_too_large")
    assert sum(sent) < 100_000_000


def test_a_file_of_just_the_most_bytes_is_taken(monkeypatch):
    monkeypatch.setitem(MAX_BYTES, MediaKind.IMAGE, 1_000)

    assert len(fetch(ok(b"x" * 1_000))[0]) == 1_000
    assert refusal(ok(b"x" * 1_001)).code == "media_too_large"


@pytest.mark.parametrize(("reply", "code"), [(ok(b""), "media_url"), (ok(b"x", "Content-Encoding: gzip"), "media_url")])
def test_what_is_no_file_is_not_sent(reply, code):
    assert refusal(reply).code == code


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 999, ok(b"a" * 999)])
def test_a_file_that_drips_ends_with_the_time_for_it(drip):
    gone = threading.Event()

    def reply(connection: socket.socket) -> None:
        for byte in drip:
            if gone.wait(0.02):
                return
            connection.sendall(bytes([byte]))

    error = refusal(reply, total_s=0.3)
    gone.set()

    assert error.code == "media_fetch"


def test_proxies_and_passwords_of_the_environment_are_not_used(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine cdn.example login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    _, asked, network = fetch(ok(b"x"))

    assert network.asked == [(PUBLIC, 80)]
    assert b"authorization" not in asked[0].lower()


def test_tls_is_for_the_name_and_is_verified(monkeypatch):
    """The server is no TLS server at all: what counts is what it is asked for."""
    hello: list[str | None] = []

    class Noting(ssl.SSLContext):
        def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
            hello.append(kwargs["server_hostname"])
            assert self.verify_mode is ssl.CERT_REQUIRED
            assert self.check_hostname
            return super().wrap_socket(*args, **kwargs)

    monkeypatch.setattr("actors.gateways.media_fetch._certificates", lambda: Noting(ssl.PROTOCOL_TLS_CLIENT))

    error = refusal(b"HTTP/1.1 400 Bad Request\r\n\r\n", "https://cdn.example/a.png")

    assert hello == ["cdn.example"]
    assert error.code == "media_fetch"


def test_what_is_used_for_tls_verifies():
    from actors.gateways.media_fetch import _certificates

    assert _certificates().verify_mode is ssl.CERT_REQUIRED
    assert _certificates().check_hostname
