"""What the sandbox accepts it answers, saves, finds again and edits as Evolution 2.3.6 does."""

import httpx
import pytest
from sandbox_fixture import Sandbox, sandbox

from actors.gateways.jids import create_jid

__all__ = ["sandbox"]

KEY = {"apikey": "sandbox-key"}
GROUP = "120363025246125486@g.us"
DIGITS = "5511988887777"
TEXT = {"number": DIGITS, "text": "oi"}


def bad(message):
    return {"status": 400, "error": "Bad Request", "response": {"message": message}}


@pytest.fixture
def web(sandbox: Sandbox):
    with httpx.Client(base_url=sandbox.url, headers=KEY, trust_env=False) as client:
        yield client


def test_a_text_is_accepted_as_evolution_accepts_it(web, sandbox):
    reply = web.post("/message/sendText/i1", json={**TEXT, "unknown": 1})

    body = reply.json()
    assert reply.status_code == 201
    assert body["status"] == "PENDING"
    assert body["message"] == {"conversation": "oi"}
    assert body["messageType"] == "conversation"
    assert {"remoteJid": f"{DIGITS}@s.whatsapp.net", "fromMe": True} == {
        name: body["key"][name] for name in ("remoteJid", "fromMe")
    }
    assert body["key"]["id"].startswith("3EB0")
    assert len(body["key"]["id"]) == 22
    assert sandbox.admin.deliveries()[0]["response_sent"]


@pytest.mark.parametrize(
    ("fields", "mimetype"),
    [
        ({"fileName": "a.pdf", "mimetype": "text/plain"}, "application/pdf"),
        ({"fileName": "file", "mimetype": "application/pdf"}, "false"),
        ({"mimetype": "application/pdf"}, "false"),
    ],
)
def test_the_file_name_decides_the_type(web, fields, mimetype):
    body = {"number": DIGITS, "mediatype": "document", "media": "https://files.example/a", **fields}

    message = web.post("/message/sendMedia/i1", json=body).json()["message"]

    assert message["documentMessage"]["mimetype"] == mimetype


def test_base64_is_taken_and_measured(web, sandbox):
    web.post(
        "/message/sendMedia/i1",
        json={"number": DIGITS, "mediatype": "image", "media": "QUJD", "fileName": "a.png"},
    )

    assert sandbox.admin.deliveries()[0]["media"]["bytes"] == 3


@pytest.mark.parametrize(
    "number", [DIGITS, "5531991234567", "123456789012345@lid", "15551234567-1396034900@g.us", GROUP]
)
def test_the_answer_names_the_address_that_evolution_makes(web, sandbox, number):
    sandbox.admin.put_group(GROUP)
    sandbox.admin.put_group("15551234567-1396034900@g.us")

    reply = web.post("/message/sendText/i1", json={"number": number, "text": "oi"})

    assert reply.json()["key"]["remoteJid"] == create_jid(number)


def test_sent_messages_are_found_by_equality_newest_first(web):
    for text in ("um", "dois", "três"):
        web.post("/message/sendText/i1", json={"number": DIGITS, "text": text})
    web.post("/message/sendText/i1", json={"number": "5511900000000", "text": "outro"})
    where = {"key": {"remoteJid": f"{DIGITS}@s.whatsapp.net", "fromMe": True}}

    found = web.post("/chat/findMessages/i1", json={"where": where, "page": 1, "offset": 2}).json()["messages"]

    assert (found["total"], found["pages"]) == (3, 2)
    assert [one["message"]["conversation"] for one in found["records"]] == ["três", "dois"]
    other = {"where": {**where, "messageType": "imageMessage"}}
    assert web.post("/chat/findMessages/i1", json=other).json()["messages"]["total"] == 0
    past = {"where": {**where, "messageTimestamp": {"gte": "2001-01-01T00:00:00Z", "lte": "2001-01-02T00:00:00Z"}}}
    assert web.post("/chat/findMessages/i1", json=past).json()["messages"]["total"] == 0
    half = {"where": {**where, "messageTimestamp": {"gte": "2001-01-01T00:00:00Z"}}}
    assert web.post("/chat/findMessages/i1", json=half).json()["messages"]["total"] == 3


def test_an_instance_that_saves_nothing_finds_nothing(web, sandbox):
    sandbox.admin.put_instance("i1", save_messages=False)
    web.post("/message/sendText/i1", json=TEXT)

    assert web.post("/chat/findMessages/i1", json={}).json()["messages"]["total"] == 0


def test_a_sent_message_can_be_edited_in_its_own_chat_only(web):
    key = web.post("/message/sendText/i1", json=TEXT).json()["key"]

    edited = web.post("/chat/updateMessage/i1", json={**TEXT, "key": key})
    elsewhere = web.post("/chat/updateMessage/i1", json={"number": "5511900000000", "text": "x", "key": key})

    assert (edited.status_code, edited.json()["message"]["protocolMessage"]["type"]) == (200, 14)
    assert elsewhere.json() == bad(["RemoteJid does not match"])
