"""The sandbox's bytes: HTTP as a Node server speaks it, forms, and connections that live and die as they should."""

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_fixture import Sandbox, sandbox
from waiting import until

from actors.gateways.sandbox import forms, wire
from actors.gateways.sandbox.webhook_sender import WebhookSender

__all__ = ["sandbox"]

NUMBER = "5511988887777"
BODY = json.dumps({"number": NUMBER, "text": "oi"}).encode()
HEAD = (
    b"POST /message/sendText/i1 HTTP/1.1\r\nHost: x\r\napikey: sandbox-key\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n" % len(BODY)
)


@pytest.fixture
def line(sandbox: Sandbox) -> Iterator[socket.socket]:
    """A bare connection."""
    with socket.create_connection(("127.0.0.1", httpx.URL(sandbox.url).port), timeout=10) as connection:
        yield connection


def read(line: socket.socket) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(line)
    answer.begin()
    return answer


def is_over(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_connection_is_used_again_and_says_for_how_long(line):
    for _ in range(3):
        line.sendall(HEAD + b"\r\n" + BODY)
        answer = read(line)
        assert (answer.status, answer.headers["keep-alive"]) == (201, "timeout=5")
        answer.read()


def test_an_idle_connection_is_closed_as_by_node(line, monkeypatch):
    assert wire.KEEPALIVE_S == 5.0
    monkeypatch.setattr(wire, "KEEPALIVE_S", 0.05)
    line.sendall(HEAD + b"\r\n" + BODY)
    read(line).read()

    assert is_over(line)


def test_a_request_that_comes_slowly_is_waited_for(line, monkeypatch):
    monkeypatch.setattr(wire, "KEEPALIVE_S", 0.05)
    line.sendall(HEAD + b"\r\n" + BODY[:5])
    threading.Event().wait(0.2)
    line.sendall(BODY[5:])

    assert read(line).status == 201


def test_a_head_without_end_is_refused(line):
    line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000)

    assert line.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_two_requests_at_once_are_answered_in_turn(line, sandbox):
    line.sendall(2 * (HEAD + b"\r\n" + BODY))

    seen = b""
    while seen.count(b"HTTP/1.1 201 ") < 2:
        piece = line.recv(65_536)
        assert piece
        seen += piece
    assert len(sandbox.admin.deliveries()) == 2


def test_a_client_that_asks_first_is_told_to_go_on(line):
    line.sendall(HEAD + b"Expect: 100-continue\r\n\r\n")
    assert line.recv(1000).startswith(b"HTTP/1.1 100 ")

    line.sendall(BODY)

    assert read(line).status == 201


def test_a_client_that_wants_to_close_is_let_go(line):
    line.sendall(HEAD + b"Connection: close\r\n\r\n" + BODY)

    answer = read(line)
    answer.read()

    assert answer.headers["connection"] == "close"
    assert is_over(line)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(line, raw, sandbox):
    line.sendall(raw)

    assert line.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert is_over(line)
    assert sandbox.admin.requests() == []


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 142606337\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n" + b"8a00000\r\n" + b"x" * 100_000],
)
def test_a_body_beyond_136_mb_is_refused(line, head, monkeypatch):
    assert wire.MAX_BODY_BYTES == 136 * 1024 * 1024 == 142606336
    if b"chunked" in head:
        monkeypatch.setattr(wire, "MAX_BODY_BYTES", 50_000)
    line.sendall(b"POST /message/sendText/i1 HTTP/1.1\r\nHost: x\r\n" + head)

    answer = read(line)

    assert (answer.status, json.loads(answer.read())["response"]) == (413, {"message": "request entity too large"})


def test_a_body_of_a_megabyte_is_taken(sandbox):
    text = "x" * 1_000_000

    answer = httpx.post(
        f"{sandbox.url}/message/sendText/i1",
        headers={"apikey": "sandbox-key"},
        json={"number": NUMBER, "text": text},
        trust_env=False,
    )

    assert answer.status_code == 201
    assert answer.json()["message"]["conversation"] == text


@pytest.mark.parametrize(
    ("length", "asked", "zipped"), [(2_000, "gzip, br", True), (2_000, "br", False), (10, "gzip", False)]
)
def test_long_answers_are_zipped_for_who_asks(line, length, asked, zipped):
    body = json.dumps({"number": NUMBER, "text": "x" * length}).encode()
    head = HEAD.replace(b"%d" % len(BODY), b"%d" % len(body)) + b"Accept-Encoding: " + asked.encode() + b"\r\n\r\n"
    line.sendall(head + body)

    answer = read(line)
    content = answer.read()

    assert (answer.headers["content-encoding"] == "gzip") is zipped
    assert json.loads(gzip.decompress(content) if zipped else content)["message"]["conversation"] == "x" * length


def test_a_head_is_asked_without_a_body(line):
    line.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    first = http.client.HTTPResponse(line, method="HEAD")
    first.begin()
    first.read()

    assert first.status == 404
    line.sendall(HEAD + b"\r\n" + BODY)
    assert read(line).status == 201


def test_a_message_goes_out_after_its_client_has_gone(line, sandbox):
    slow = json.dumps({"number": NUMBER, "text": "oi", "delay": 150}).encode()
    line.sendall(HEAD.replace(b"%d" % len(BODY), b"%d" % len(slow)) + b"\r\n" + slow)
    until(lambda: len(sandbox.admin.requests()) == 1, within_ms=5_000)
    line.close()

    assert sandbox.admin.wait(1)
    until(lambda: sandbox.admin.requests()[0]["status"] is None, within_ms=5_000)
    (delivery,) = sandbox.admin.deliveries()
    assert (delivery["peer_disconnected"], delivery["response_sent"]) == (True, False)


def test_requests_are_told_apart(sandbox, line):
    line.sendall(HEAD + b"X-Request-Id: mine\r\n\r\n" + BODY)
    read(line).read()
    line.sendall(HEAD + b"\r\n" + BODY)
    read(line).read()

    asked = [one["request_id"] for one in sandbox.admin.requests()]
    assert asked == [one["request_id"] for one in sandbox.admin.deliveries()]
    assert asked[0] == "mine" != asked[1]


@pytest.mark.parametrize(
    ("path", "form", "kind"),
    [
        ("sendMedia", {"mediatype": "image", "fileName": "a.png"}, "imageMessage"),
        ("sendMedia", {"mediatype": "document", "fileName": "a.pdf"}, "documentMessage"),
        ("sendWhatsAppAudio", {}, "audioMessage"),
    ],
)
def test_a_file_of_a_form_is_delivered(sandbox, path, form, kind):
    content = bytes(range(256)) + b"\r\n--x\r\n"

    answer = httpx.post(
        f"{sandbox.url}/message/{path}/i1",
        headers={"apikey": "sandbox-key"},
        data={"number": NUMBER, **form},
        files={"file": ("x.bin", content)},
        trust_env=False,
    )

    assert (answer.status_code, answer.json()["messageType"]) == (201, kind)
    media = sandbox.admin.deliveries()[0]["media"]
    assert (media["bytes"], media["url"]) == (len(content), None)


def test_a_plain_form_is_a_body_too(sandbox):
    answer = httpx.post(
        f"{sandbox.url}/message/sendText/i1",
        headers={"apikey": "sandbox-key"},
        data={"number": NUMBER, "text": "olá"},
        trust_env=False,
    )

    assert answer.json()["message"] == {"conversation": "olá"}


@pytest.mark.parametrize("raw", [b"", b"--b\r\n", b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1"])
def test_a_form_that_does_not_end_is_refused_after_the_key(sandbox, raw):
    headers = {"apikey": "sandbox-key", "Content-Type": "multipart/form-data; boundary=b"}

    answers = [
        httpx.post(f"{sandbox.url}/message/sendMedia/i1", headers=h, content=raw, trust_env=False)
        for h in (headers, {**headers, "apikey": "wrong"})
    ]

    assert [one.status_code for one in answers] == [500, 401]
    assert answers[0].json()["response"] == {"message": "Unexpected end of form"}


@given(fields=st.dictionaries(st.from_regex(r"\A[a-z]{1,8}\Z"), st.text(), max_size=4), content=st.binary())
def test_forms_are_read_as_they_were_written(fields, content):
    request = httpx.Request("POST", "http://x", data=fields, files={"file": ("a.bin", content, "image/png")})
    form = forms.parse_multipart(request.headers["content-type"], request.read())

    assert form.fields == fields
    assert form.files == {"file": forms.Upload("a.bin", "image/png", content)}


@given(raw=st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_forms(raw):
    try:
        forms.parse_multipart("multipart/form-data; boundary=b", b"--b\r\n" + raw + b"\r\n--b--")
    except forms.BadForm:
        return


def test_a_sandbox_that_is_closed_leaves_no_thread(sandbox, line):
    before = set(threading.enumerate())
    assert [thread for thread in before if thread.name == "sandbox"]
    sender: WebhookSender = sandbox.server.sender
    sandbox.admin.put_webhook("http://127.0.0.1:1")
    line.sendall(HEAD + b"\r\n" + BODY)
    read(line).read()
    assert [thread for thread in set(threading.enumerate()) - before if thread.name == "sandbox-webhooks"]

    sandbox.server.close()
    sender.join(5)

    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "sandbox-webhooks"]
