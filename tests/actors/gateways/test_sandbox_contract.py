"""The sandbox answers as Evolution 2.3.6 does: bodies, statuses and the order in which things are looked at."""

import json
import socket

import httpx
import pytest
from sandbox_fixture import Sandbox, sandbox

__all__ = ["sandbox"]

KEY = {"apikey": "sandbox-key"}
GROUP = "120363025246125486@g.us"
DIGITS = "5511988887777"
TEXT = {"number": DIGITS, "text": "oi"}
#: Stands for the key of the message that the test has sent.
SENT: dict = {}
NO_INSTANCE = {
    "status": 404,
    "error": "Not Found",
    "response": {"message": ['The "nope" instance does not exist']},
}
UNAUTHORIZED = {"status": 401, "error": "Unauthorized", "response": {"message": "Unauthorized"}}


def bad(message):
    return {"status": 400, "error": "Bad Request", "response": {"message": message}}


def failed(message):
    return {"status": 500, "error": "Internal Server Error", "response": {"message": message}}


@pytest.fixture
def web(sandbox: Sandbox):
    with httpx.Client(base_url=sandbox.url, headers=KEY, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "answer"),
    [
        ("POST", "/message/sendText/nope", TEXT, {"apikey": "wrong"}, 404, NO_INSTANCE),
        ("POST", "/message/sendText/i1", TEXT, {"apikey": "wrong"}, 401, UNAUTHORIZED),
        (
            "POST",
            "/message/sendText/i1",
            TEXT,
            {"apikey": "", "Authorization": "Bearer sandbox-key"},
            401,
            UNAUTHORIZED,
        ),
        ("POST", "/message/sendText/i1", {"text": "oi"}, {}, 400, bad([['instance requires property "number"']])),
        ("POST", "/message/sendText/i1", {"number": DIGITS}, {}, 400, bad([['instance requires property "text"']])),
        ("POST", "/message/sendText/i1", {"number": 55, "text": "oi"}, {}, 400, bad([["Invalid format"]])),
        ("POST", "/message/sendText/i1", {**TEXT, "text": "  "}, {}, 400, bad(["Text is required"])),
        ("POST", "/message/sendText/i1", {**TEXT, "delay": "1"}, {}, 400, bad([["Enter a value in milliseconds"]])),
        (
            "POST",
            "/message/sendText/i1",
            {**TEXT, "mentioned": ["x"]},
            {},
            400,
            bad([['"mentioned" must be an array of numeric strings']]),
        ),
        (
            "POST",
            "/message/sendText/i1",
            {**TEXT, "quoted": {"key": {}}},
            {},
            400,
            bad([['quoted.key requires property "id"']]),
        ),
        (
            "POST",
            "/message/sendMedia/i1",
            {"number": DIGITS, "mediatype": "image", "media": "http://minio:9000/a"},
            {},
            400,
            bad(["Owned media must be a url or base64"]),
        ),
        (
            "POST",
            "/message/sendMedia/i1",
            {"number": DIGITS, "mediatype": "document", "media": "QUJD"},
            {},
            400,
            bad(["For base64 the file name must be informed."]),
        ),
        (
            "POST",
            "/message/sendWhatsAppAudio/i1",
            {"number": DIGITS, "audio": "data:audio/ogg;base64,QUJD"},
            {},
            400,
            bad(["Owned media must be a url, base64, or valid file with buffer"]),
        ),
        ("POST", "/message/editMessage/i1", TEXT, {}, 404, None),
        ("GET", "/chat/fetchProfilePictureUrl/i1?number=1", None, {}, 404, None),
        (
            "POST",
            "/chat/fetchProfilePictureUrl/i1",
            {},
            {},
            500,
            failed("Cannot read properties of undefined (reading 'replace')"),
        ),
        (
            "POST",
            "/chat/fetchProfilePictureUrl/i1",
            {"number": DIGITS},
            {},
            200,
            {"wuid": f"{DIGITS}@s.whatsapp.net", "profilePictureUrl": None},
        ),
        (
            "GET",
            "/group/findGroupInfos/i1",
            None,
            {},
            400,
            bad(["The group id needs to be informed in the query", 'ex: "groupJid=120362@g.us"']),
        ),
        (
            "GET",
            f"/group/findGroupInfos/i1?groupJid={GROUP}",
            None,
            {},
            404,
            {
                "status": 404,
                "error": "Not Found",
                "response": {"message": ["Error fetching group", "Error: item-not-found"]},
            },
        ),
        ("GET", "/instance/connectionState/i1", None, {}, 200, {"instance": {"instanceName": "i1", "state": "open"}}),
        (
            "POST",
            "/chat/markMessageAsRead/i1",
            {"readMessages": [{"id": "x", "fromMe": False, "remoteJid": "y"}]},
            {},
            201,
            {"message": "Read messages", "read": "success"},
        ),
        (
            "POST",
            "/chat/updateMessage/i1",
            {"number": DIGITS, "key": {"id": "x", "fromMe": True, "remoteJid": "y"}},
            {},
            400,
            bad(["Message not compatible"]),
        ),
        (
            "POST",
            "/chat/whatsappNumbers/i1",
            {"numbers": [DIGITS]},
            {},
            200,
            [{"jid": f"{DIGITS}@s.whatsapp.net", "exists": True, "number": DIGITS}],
        ),
        (
            "POST",
            "/chat/findMessages/i1",
            {},
            {},
            200,
            {"messages": {"total": 0, "pages": 0, "currentPage": 1, "records": []}},
        ),
    ],
)
def test_a_request_gets_the_answer_of_the_contract(web, method, path, body, headers, status, answer):
    reply = web.request(method, path, json=body, headers=headers)

    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    if answer is None:
        assert reply.json()["response"]["message"] == [f"Cannot {method} {path}"]
    else:
        assert reply.json() == answer


def test_json_is_parsed_before_anything_else_is_looked_at(web):
    reply = web.post("/nowhere", content=b"{", headers={"content-type": "application/json", "apikey": "wrong"})

    assert (reply.status_code, reply.json()["error"]) == (400, "Internal Server Error")


def test_the_version_needs_no_key(web):
    reply = web.get("/", headers={"apikey": ""})

    assert (reply.status_code, reply.json()["version"]) == (200, "2.3.6")


def test_the_token_of_an_instance_opens_that_instance_only(web, sandbox):
    sandbox.admin.put_instance("i1", token="token-1")
    sandbox.admin.put_instance("i2", token="token-2")

    def status(instance, key):
        return web.post(f"/message/sendText/{instance}", json=TEXT, headers={"apikey": key}).status_code

    assert [status("i1", "token-1"), status("i2", "token-1"), status("i2", "token-2")] == [201, 401, 201]


def test_the_query_overrides_the_instance_after_the_guards(web, sandbox):
    # The reason why a client must never send a query of its own.
    sandbox.admin.put_instance("i2", token="token-2")

    web.post("/message/sendText/i1?instanceName=i2", json=TEXT)

    assert [one["instance"] for one in sandbox.admin.deliveries()] == ["i2"]


def test_a_number_without_account_is_refused_as_object(web, sandbox):
    sandbox.admin.put_contact("5531991234567", exists=False)

    reply = web.post("/message/sendText/i1", json={"number": "5531991234567", "text": "oi"})

    absent = {"jid": "553191234567@s.whatsapp.net", "exists": False, "number": "5531991234567"}
    assert (reply.status_code, reply.json()) == (400, bad([absent]))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        ("POST", "/message/sendText/i1", {"number": "5511900000000", "text": "x"}, 500, failed("Connection Closed")),
        ("POST", "/message/sendText/i1", TEXT, 400, bad(["Error: Connection Closed"])),
        ("POST", "/message/sendText/i1", {"number": "1@lid", "text": "x"}, 400, bad(["Error: Connection Closed"])),
        ("POST", "/message/sendText/i1", {"number": GROUP, "text": "x"}, 400, bad(["[object Object]"])),
        (
            "POST",
            "/chat/markMessageAsRead/i1",
            {"readMessages": [{"id": "x", "fromMe": False, "remoteJid": "y"}]},
            500,
            failed(["Read messages fail", "Error: Connection Closed"]),
        ),
        ("POST", "/chat/updateMessage/i1", {**TEXT, "key": SENT}, 500, failed("Connection Closed")),
        (
            "POST",
            "/chat/fetchProfilePictureUrl/i1",
            {"number": DIGITS},
            200,
            {"wuid": f"{DIGITS}@s.whatsapp.net", "profilePictureUrl": None},
        ),
        ("GET", "/instance/connectionState/i1", None, 200, {"instance": {"instanceName": "i1", "state": "close"}}),
    ],
)
def test_a_closed_session_answers_each_operation_in_its_own_way(web, sandbox, method, path, body, status, answer):
    sandbox.admin.put_group(GROUP)
    sandbox.admin.put_contact(DIGITS, picture_url="https://pps.whatsapp.net/a.jpg")
    sent = web.post("/message/sendText/i1", json=TEXT).json()["key"]
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})
    if body is not None and body.get("key") is SENT:
        body = {**body, "key": sent}

    reply = web.request(method, path, json=body)

    assert (reply.status_code, reply.json()) == (status, answer)


def test_a_closed_session_gives_numbers_a_bare_boom(web, sandbox):
    sandbox.admin.add_fault({"type": "disconnect", "instance": "i1"})

    body = web.post("/chat/whatsappNumbers/i1", json={"numbers": [DIGITS]}).json()

    assert (body["isBoom"], body["output"]["statusCode"]) == (True, 428)


def test_long_answers_are_compressed_when_asked(web):
    web.post("/message/sendText/i1", json={"number": DIGITS, "text": "x" * 5_000})

    assert web.post("/chat/findMessages/i1", json={}).headers["content-encoding"] == "gzip"
    plain = web.post("/chat/findMessages/i1", json={}, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_a_body_that_comes_in_chunks_is_read(web):
    pieces = iter([json.dumps(TEXT).encode()[:5], json.dumps(TEXT).encode()[5:]])

    reply = web.post("/message/sendText/i1", content=pieces, headers={"content-type": "application/json"})

    assert reply.status_code == 201


def test_a_body_beyond_the_limit_is_refused_unread(sandbox):
    with socket.create_connection(("127.0.0.1", httpx.URL(sandbox.url).port), timeout=5) as connection:
        connection.sendall(b"POST /message/sendText/i1 HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n{")
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_what_is_no_http_is_refused_and_the_sandbox_goes_on(web, sandbox):
    with socket.create_connection(("127.0.0.1", httpx.URL(sandbox.url).port), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b"400" in connection.recv(65_536)

    assert web.post("/message/sendText/i1", json=TEXT).status_code == 201
