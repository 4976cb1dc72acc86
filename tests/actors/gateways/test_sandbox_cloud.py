"""The sandbox as the Cloud API: what it refuses and in which order, and what it takes."""

import json

import httpx
import pytest
from cloud_client import TEXT, ask, send
from sandbox_fixture import NUMBER_ID

from actors.gateways.exchange import Answer
from actors.gateways.sandbox.cloud_replies import CLOUD_PRESETS, CODES
from actors.gateways.sandbox.replies import PRESETS, Subject
from actors.gateways.whatsapp_cloud_errors import Asked, Operation, classify

__all__ = ["ask", "send"]

GROUP = "Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD"


@pytest.fixture
def sandbox(emptied_sandbox):
    return emptied_sandbox


def code_of(answer):
    status, body = answer
    return status, body["error"]["code"], body["error"].get("error_subcode")


def test_a_message_is_taken_as_meta_takes_it(send, sandbox):
    status, body = send(biz_opaque_callback_data="m1:0")

    [one] = sandbox.admin.deliveries()
    assert status == 200
    assert body == {
        "messaging_product": "whatsapp",
        "contacts": [{"input": "+5511988887777", "wa_id": "5511988887777"}],
        "messages": [{"id": one["key_id"]}],
    }
    assert (one["client_ref"], one["type"], one["text"]) == ("m1:0", "text", "oi")


def test_a_template_is_accepted_for_now(send):
    _, body = send(type="template", template={"name": "hi", "language": {"code": "pt_BR"}})

    assert body["messages"][0]["message_status"] == "accepted"


def test_a_group_is_named_in_the_answer(send, sandbox):
    sandbox.admin.put_group(GROUP)

    _, body = send(recipient_type="group", to=GROUP)

    assert body["messages"][0]["group_id"] == GROUP


@pytest.mark.parametrize("version", ["v1.0", "v21.0", "v24.0", "v100.0"])
def test_every_version_is_answered(ask, version):
    assert ask("POST", f"/{version}/{NUMBER_ID}/messages", json=TEXT)[0] == 200


def test_the_token_is_looked_at_first(ask, sandbox):
    sandbox.admin.put_instance("222", token="row-token")

    def tried(number_id, token, path="messages"):
        return code_of(ask("POST", f"/v24.0/{number_id}/{path}", token=token, json={}))

    assert tried("999", "wrong") == (401, 190, None)
    assert tried("222", None) == (401, 190, None)
    assert tried(NUMBER_ID, "row-token") == (401, 190, None)
    assert tried("999", sandbox.apikey) == (400, 100, 33)
    assert tried("222", "row-token") == (400, 100, None)
    assert tried("222", sandbox.apikey, "nowhere") == (400, 2500, None)


def test_evolution_is_still_there_beside_it(sandbox):
    with httpx.Client(base_url=sandbox.url, trust_env=False) as web:
        answer = web.post("/message/sendText/i1", headers={"apikey": sandbox.apikey}, json={"number": "1", "text": "x"})

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"messaging_product": "sms"}, 100),
        ({"type": "sticker_pack"}, 131051),
        ({"type": ["text"]}, 131051),
        ({"type": "image"}, 131008),
        ({"to": ""}, 131008),
        ({"to": 5511988887777}, 131008),
        ({"to": "somebody"}, 131009),
        ({"to": "120363025246125486@g.us"}, 131009),
        ({"to": GROUP}, 131009),
        ({"recipient_type": "group"}, 131009),
        ({"recipient_type": "everybody"}, 131009),
        ({"text": {"body": ""}}, 100),
        ({"text": {"body": "x" * 4_097}}, 100),
        ({"text": {"body": "x", "preview_url": "yes"}}, 100),
        ({"text": "oi"}, 100),
        ({"biz_opaque_callback_data": "x" * 513}, 131009),
        ({"context": {"message_id": ""}}, 131009),
        ({"context": "wamid.1"}, 131009),
        ({"type": "image", "image": {}}, 131009),
        ({"type": "image", "image": {"id": "1", "link": "https://a.example"}}, 131009),
        ({"type": "image", "image": {"id": "unknown"}}, 100),
        ({"type": "image", "image": {"id": ["x"]}}, 100),
        ({"type": "image", "image": {"link": "data:image/png;base64,AA"}}, 131009),
        ({"type": "image", "image": {"link": "https://a.example", "caption": "x" * 1_025}}, 100),
        ({"type": "audio", "audio": {"link": "https://a.example", "caption": "x"}}, 100),
        ({"type": "audio", "audio": {"link": "https://a.example", "voice": 1}}, 100),
        ({"type": "image", "image": {"link": "https://gone.invalid/a.png"}}, 131053),
        ({"type": "location", "location": {"latitude": 91, "longitude": 0}}, 131009),
        ({"type": "location", "location": {"latitude": "x", "longitude": 0}}, 131009),
        ({"type": "contacts", "contacts": []}, 131009),
        ({"type": "contacts", "contacts": [{"name": {"formatted_name": "Ana"}}]}, 131009),
        ({"type": "template", "template": {"name": "hi"}}, 131008),
        ({"type": "template", "template": {"name": "hi", "language": {"code": "x"}, "components": {}}}, 132012),
        ({"recipient_type": "group", "to": GROUP}, 131041),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else None,
)
def test_what_meta_refuses_is_refused_with_its_code(send, sandbox, changes, code):
    status, found, _ = code_of(send(**changes))

    assert (found, 400 <= status < 500) == (code, True)
    assert sandbox.admin.deliveries() == []
    assert sandbox.admin.counters()["rejected"] == 1


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_message_is_refused(ask, raw):
    headers = {"Content-Type": "application/json"}

    assert code_of(ask("POST", f"/v24.0/{NUMBER_ID}/messages", content=raw, headers=headers)) == (400, 100, None)


def test_people_and_numbers_that_cannot_be_reached(send, sandbox):
    sandbox.admin.put_contact("5511988887777", exists=False)
    assert code_of(send())[1] == 131026

    sandbox.admin.put_instance(NUMBER_ID, state="close")
    assert code_of(send())[1] == 133010


def test_a_read_mark_is_no_message(send, sandbox):
    marked = {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.1"}

    assert send(marked) == (200, {"success": True})
    assert code_of(send({**marked, "message_id": "3EB0"}))[1] == 131009
    assert sandbox.admin.deliveries() == []
    assert sandbox.admin.counters()["rejected"] == 0


def upload(ask, content, *, mimetype="image/png", name="a.png", fields=None):
    form = {"messaging_product": "whatsapp"} if fields is None else fields
    return ask("POST", f"/v24.0/{NUMBER_ID}/media", data=form, files={"file": (name, content, mimetype)})


def test_an_uploaded_file_can_be_sent_by_the_number_that_has_it(ask, send, sandbox):
    sandbox.admin.put_instance("222")
    status, body = upload(ask, b"\x89PNG")
    image = {"type": "image", "image": {"id": body["id"]}}

    assert status == 200
    assert send(**image)[0] == 200
    assert code_of(ask("POST", "/v24.0/222/messages", json={**TEXT, **image}))[1] == 100
    assert sandbox.admin.deliveries()[0]["media"]["bytes"] == 4


@pytest.mark.parametrize(
    ("content", "what", "code"),
    [
        (b"x", {"mimetype": "image/gif"}, 100),
        (b"x", {"fields": {}}, 100),
        (b"", {}, 131053),
        (bytes(5 * 1024 * 1024 + 1), {}, 131053),
    ],
    ids=["type", "product", "empty", "size"],
)
def test_a_file_that_meta_does_not_take(ask, content, what, code):
    assert code_of(upload(ask, content, **what))[1] == code


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x"])
def test_an_upload_that_is_no_form_is_refused(ask, kind):
    answer = ask("POST", f"/v24.0/{NUMBER_ID}/media", content=b"--y\r\n", headers={"Content-Type": kind})

    assert code_of(answer) == (400, 100, None)


def test_questions_about_the_token_and_the_number(ask):
    assert ask("GET", "/v24.0/me?fields=id")[0] == 200
    assert ask("GET", f"/v24.0/{NUMBER_ID}?fields=id")[1]["id"] == NUMBER_ID
    assert code_of(ask("GET", "/v24.0/999")) == (400, 100, 33)
    assert code_of(ask("GET", "/v24.0/me", token="wrong")) == (401, 190, None)


def test_a_group_tells_the_fields_that_were_asked_for(ask, sandbox):
    sandbox.admin.put_group(GROUP, subject="Vendas", participants=[{"wa_id": "1"}])

    _, body = ask("GET", f"/v24.0/{GROUP}?fields=subject,total_participant_count")

    assert body == {
        "messaging_product": "whatsapp",
        "id": GROUP,
        "subject": "Vendas",
        "total_participant_count": 1,
    }


def test_a_duplicate_is_counted_by_the_callback_data(send, sandbox):
    for reference in ("m1:0", "m2:0", "m1:0"):
        send(biz_opaque_callback_data=reference)

    assert sandbox.admin.counters()["duplicates_by_client_ref"] == 1


@pytest.mark.parametrize("mode", ["429", "record"])
def test_one_pair_is_limited_and_others_are_not(send, sandbox, mode):
    sandbox.admin.put_limits(pair={"rate": 0.001, "burst": 1}, mode=mode)

    first, second, other = send(), send(), send(to="+5511977776666")

    assert (first[0], other[0]) == (200, 200)
    assert code_of(second) == (400, 131056, None) if mode == "429" else second[0] == 200
    assert sandbox.admin.counters()["rate_violations"] == 1


@pytest.mark.parametrize("name", sorted(CLOUD_PRESETS))
def test_every_preset_is_an_error_that_the_client_knows(name):
    reply = CLOUD_PRESETS[name](Subject("1", retry_after="7"))
    error = json.loads(reply.body)["error"]

    assert f"graph_{error['code']}" == name or (name, error["error_subcode"]) == ("graph_100_33", 33)
    verdict = classify(Asked(Operation.SEND, "x"), Answer(reply.status, {}, reply.body))
    assert verdict.code not in ("unknown_code", "unknown_status")
    assert reply.headers == {"Retry-After": "7"}


def test_presets_of_both_providers_have_names_of_their_own():
    assert not set(PRESETS) & set(CLOUD_PRESETS)
    assert len(CLOUD_PRESETS) == len(CODES) + 1
