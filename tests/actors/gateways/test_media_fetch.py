"""A file is fetched from where it lies and from nowhere else, whole and not too much of it."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
import pytest

from actors import errors
from actors.domain import Media, MediaKind
from actors.gateways.media_fetch import ATTEMPTS, MAX_BYTES, MediaFetcher
from actors.gateways.media_url import allowed_hosts, check_url, is_refused, literal
from middleware.clock import SystemClock

PUBLIC = "93.184.216.34"
OWNER = "message m1:0"


def media(url: str, kind: MediaKind = MediaKind.IMAGE) -> Media:
    return Media(kind=kind, url=url, mimetype="image/png", file_name="a.png")


def names(**table: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A resolver that knows these names; several addresses stand with commas between them."""

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        known = {name.replace("_", "."): text for name, text in table.items()} | {PUBLIC: PUBLIC}
        if host not in known:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in known[host].split(",")]

    return resolve


class Network(httpcore.NetworkBackend):
    """Leads every connection to one local port, and remembers where it was to go."""

    def __init__(self, port: int, *, dead: tuple[str, ...] = ()) -> None:
        self.port, self.dead, self.asked = port, dead, []
        self.inner = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        self.asked.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError("dead")
        return self.inner.connect_tcp("127.0.0.1", self.port, *args, **kwargs)


@contextmanager
def answering(reply: bytes | Callable[[socket.socket], None]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that says ``reply`` to each connection; yields its port and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    asked.append(connection.recv(65_536))
                    if callable(reply):
                        reply(connection)
                    else:
                        connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fetch(reply: Any, url: str = "http://cdn.example/a.png?x=1", **fields: Any) -> tuple[bytes, list[bytes], Network]:
    kind, total_s = fields.pop("kind", MediaKind.IMAGE), fields.pop("total_s", 5.0)
    dead = fields.pop("dead", ())
    with answering(reply) as (port, asked):
        network = Network(port, dead=dead)
        fetcher = MediaFetcher(clock=SystemClock(), network=network, **{"resolve": names(cdn_example=PUBLIC), **fields})
        return fetcher.fetch(media(url, kind), owner=OWNER, total_s=total_s), asked, network


def refusal(reply: Any, url: str = "http://cdn.example/a.png?x=1", **fields: Any) -> errors.ChatError:
    with pytest.raises(errors.ChatError) as caught:
        fetch(reply, url, **fields)
    assert OWNER in str(caught.value)
    return caught.value


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


REFUSED = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "0.0.0.0", "169.254.169.254", "100.64.0.1",  # noqa: S104
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.0.170", "192.88.99.1", "::", "::1", "::7f00:1",
    "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:53aa:64c::", "2001:db8::1", "fe80::1%eth0",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
@pytest.mark.parametrize("beside", ["", f"{PUBLIC},"])
def test_a_name_that_leads_into_a_network_of_ours_is_refused_and_not_connected_to(address, beside):
    with answering(ok(b"x")) as (port, _):
        network = Network(port)
        fetcher = MediaFetcher(clock=SystemClock(), network=network, resolve=names(evil_example=beside + address))
        with pytest.raises(errors.BadPayload) as caught:
            fetcher.fetch(media("http://evil.example/a"), owner=OWNER, total_s=5)

    assert caught.value.code == "media_url"
    assert "CHAT_MEDIA_HOSTS" in str(caught.value)
    assert network.asked == []


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_public_addresses_are_not_refused(address):
    from ipaddress import ip_address

    assert not is_refused(ip_address(address))


def test_a_host_of_ours_may_be_at_a_private_address():
    content, _, network = fetch(
        ok(b"x"),
        "http://MinIO.:9000/bucket/a.png",
        resolve=names(minio="10.0.0.7"),
        hosts=allowed_hosts("other, minio"),
    )

    assert content == b"x"
    assert network.asked == [("10.0.0.7", 9000)]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "data:image/png;base64,QUJD", "ftp://cdn.example/a", "gopher://cdn.example/", "a.png", "",
        "//cdn.example/a", "http://", "http:///a", "https:cdn.example", "QUJD", "javascript:1", "http://?x", "HTTP:/x",
        "http://cdn.example\\@10.0.0.1/a", "http://user:pw@cdn.example/a", "http://cdn.example /a", "http://cdn.example/\na",
        "http://[::1", "http://cdn.example:99999/", "http://cdn.example:0/", "http://\uff11\uff12\uff17.0.0.1/", "http://127\u30020\u30020\u30021/", "http://\x00cdn.example/",
        "http://localhost/a", "http://LOCALHOST./a", "http://api.localhost/", "http://127.0.0.1:8000/a", "http://127.1/a",
        "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest/meta-data", "http://10.1.2.3/a", "http://192.168.0.1/a", "http://0/", "http://0.0.0.0/",
        "http://localhost%2e/a", "http://%31%32%37.0.0.1/a", "http://xn--a.example/a",
    ],
)  # fmt: skip
def test_a_url_that_leads_nowhere_good_is_refused_before_anything_is_resolved(url):
    with pytest.raises(errors.BadPayload) as caught:
        check_url(url, hosts=(), owner=OWNER)

    assert caught.value.code == "media_url"
    assert OWNER in str(caught.value)
    assert "user:pw" not in str(caught.value)
    with pytest.raises(errors.BadPayload):
        MediaFetcher(clock=SystemClock(), resolve=None).fetch(media(url), owner=OWNER, total_s=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["https://cdn.example/a.png", "HTTPS://CDN.example/a", "http://93.184.216.34/a", "http://fe.ac/a"]
)
def test_a_public_url_is_not_refused(url):
    assert check_url(url, hosts=(), owner=OWNER).host


def test_no_number_shows_where_a_host_looks_like_one():
    error = refusal(ok(b""), "http://5511988887777.example/a")

    assert "5511988887777" not in f"{error} {error!r}"


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


@pytest.mark.parametrize(
    ("text", "is_literal"), [("127.1", True), ("0x7f.1", True), ("::1", True), ("fe.ac", False), ("cdn.example", False)]
)
def test_an_address_is_known_in_every_form_that_resolvers_take(text, is_literal):
    assert (literal(text) is not None) is is_literal
