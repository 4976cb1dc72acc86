"""No request breaks the sandbox: whatever a client sends is answered as Evolution would, never by an error of our own."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.evolution import OPERATIONS
from actors.gateways.sandbox.server import SandboxServer

SERVER = SandboxServer()
SERVER.load({"instances": {"i1": {}}, "groups": {"120363025246125486@g.us": {}}})

#: Half of a character pair, as JSON can carry and UTF-8 cannot.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.sampled_from(
        ["5511988887777", "1@lid", "120363025246125486@g.us", "https://a.example/b.png", "QUJD", "2001-01-01"]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
KEYS = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "remoteJid", "fromMe"), VALUES))
KNOWN = {
    **dict.fromkeys(("number", "text", "media", "audio", "caption", "fileName", "mimetype", "name", "address"), TEXTS),
    "mediatype": st.sampled_from(["image", "video", "document", "audio"]),
    "latitude": st.floats(allow_nan=False),
    "longitude": st.floats(allow_nan=False),
    "contact": st.lists(st.fixed_dictionaries({"fullName": TEXTS, "phoneNumber": st.just("+5531991234567")}), max_size=2),
    "quoted": st.fixed_dictionaries({}, optional={"key": KEYS, "message": VALUES}),
    "mentioned": st.lists(TEXTS, max_size=2),
    "mentionsEveryOne": VALUES,
    "numbers": st.lists(TEXTS, max_size=3),
    "readMessages": st.lists(KEYS, max_size=2),
    "key": KEYS,
    "where": st.fixed_dictionaries({}, optional={"key": KEYS, "messageTimestamp": VALUES, "id": VALUES, "messageType": VALUES}),
    "page": VALUES,
    "offset": VALUES,
    "groupJid": TEXTS,
}  # fmt: skip
BODIES = st.fixed_dictionaries({}, optional={name: st.one_of(good, VALUES) for name, good in KNOWN.items()})


def ask(method: str, target: str, raw: bytes, **headers: str) -> int:
    given_headers = {"apikey": "sandbox-key", "content-type": "application/json", **headers}
    call = Call(method=method, target=target, headers=given_headers, raw=raw, is_gone=lambda: False)
    return SERVER.contract.answer(call, SERVER.contract.read(call)).status


@pytest.mark.parametrize("op", sorted(OPERATIONS))
@settings(max_examples=60)
@given(body=BODIES)
def test_no_body_breaks_an_operation(op, body):
    operation = OPERATIONS[op]

    assert ask(operation.method, f"/{operation.group}/{op}/i1", json.dumps(body).encode()) < 600


@settings(max_examples=200)
@given(
    target=st.text(st.characters(codec="latin-1"), max_size=30), raw=st.binary(max_size=30), kind=st.text(max_size=12)
)
def test_no_path_and_no_bytes_break_it(target, raw, kind):
    assert ask("POST", f"/{target}", raw, **{"content-type": kind}) < 600


def test_half_a_character_is_told_to_a_webhook(caplog):
    with SandboxServer() as server, caplog.at_level(logging.ERROR):
        server.load({"instances": {"i1": {}}, "webhook": {"url": "http://127.0.0.1:1", "retry": {"max_attempts": 1}}})
        server.state.announce("send.message", "i1", {"message": {"conversation": "\ud800"}})
        assert server.sender.wait_idle(10)

        assert [one["outcome"] for one in server.sender.log()] == ["given_up"]
