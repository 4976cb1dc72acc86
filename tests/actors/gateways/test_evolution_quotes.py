"""Replies through Evolution: what the bubble says, also where Evolution has not saved what is quoted.

Source, Evolution 2.3.6, ``sendMessageWithTyping``: ``quoted.message`` wins; without it the message is looked up by its id, and
what is not found is sent unquoted, without a word.
"""

from dataclasses import replace

import pytest
from sandbox_fixture import sandbox

from actors.domain import ContactCard, GroupJid, Media, MediaKind, OutgoingPart, Phone, Quote
from actors.gateways.base import make_gateway
from actors.gateways.evolution_requests import send_request
from actors.settings import Settings

__all__ = ["sandbox"]

pytestmark = pytest.mark.contract

PHONE = Phone("+5511988887777")
GROUP = GroupJid("120363025246125486@g.us")
THEIRS = Quote(provider_message_id="3EB0UNSAVED", from_me=False, text="às 8h?")
VOICE = Media(kind=MediaKind.VOICE, url="https://f.example/a", mimetype="audio/ogg", file_name="a.ogg")
PDF = Media(kind=MediaKind.DOCUMENT, url="https://f.example/a", mimetype="application/pdf", file_name="a.pdf")
CARD = ContactCard(full_name="Ana", phone="+5511977776666")


@pytest.fixture
def gateway():
    made = make_gateway("evolution", Settings())
    yield made
    made.close()


def part(**fields):
    return OutgoingPart(message_id="m2", part=0, recipient=fields.pop("recipient", PHONE), text="sim", **fields)


def asked(sandbox):
    return [one["op"] for one in sandbox.requests()]


def test_what_is_quoted_is_told_only_where_evolution_has_not_kept_it():
    assert "message" not in send_request(part(quote=THEIRS)).payload["quoted"]
    told = send_request(part(quote=THEIRS), quote_is_kept=False).payload["quoted"]
    assert told["message"] == {"conversation": "às 8h?"}
    assert told["key"] == send_request(part(quote=THEIRS)).payload["quoted"]["key"]


@pytest.mark.parametrize("media", [None, PDF])
def test_a_reply_to_what_evolution_has_not_saved_quotes_it_all_the_same(gateway, sandbox, media):
    gateway.send(part(quote=THEIRS, media=media), instance=sandbox.instance(), timeout_s=5)

    delivery = sandbox.admin.deliveries()[0]
    assert (delivery["quoted_id"], delivery["quoted_text"], delivery["quote_lost"]) == (
        "3EB0UNSAVED",
        "às 8h?",
        False,
    )


def test_a_reply_in_a_group_does_so_too(gateway, sandbox):
    sandbox.admin.put_group(GROUP.jid)
    quote = replace(THEIRS, participant="5511977776666@s.whatsapp.net")

    gateway.send(part(recipient=GROUP, quote=quote), instance=sandbox.instance(), timeout_s=5)

    assert sandbox.admin.deliveries()[0]["quoted_text"] == "às 8h?"


def test_what_evolution_has_saved_is_left_to_its_own_look(gateway, sandbox):
    """It knows more of it than its words: the thumbnail of a picture, the author's linked id in a group."""
    first = gateway.send(part(), instance=sandbox.instance(), timeout_s=5)
    ours = Quote(provider_message_id=str(first.provider_message_id), from_me=True, text="not what was saved")

    gateway.send(part(quote=ours), instance=sandbox.instance(), timeout_s=5)

    assert sandbox.admin.deliveries()[1]["quoted_text"] == "sim"
    assert asked(sandbox) == ["sendText", "findMessages", "sendText"]


def test_an_instance_that_saves_nothing_loses_no_quote(gateway, sandbox):
    sandbox.admin.put_instance("i1", save_messages=False)
    first = gateway.send(part(), instance=sandbox.instance(), timeout_s=5)
    ours = Quote(provider_message_id=str(first.provider_message_id), from_me=True, text="sim")

    gateway.send(part(quote=ours), instance=sandbox.instance(), timeout_s=5)

    assert [one["quote_lost"] for one in sandbox.admin.deliveries()] == [False, False]


@pytest.mark.parametrize("preset", ["nginx_502", "bad_key", "conn_closed_500"])
def test_a_question_that_fails_stops_no_reply(gateway, sandbox, preset):
    sandbox.admin.add_fault({"type": "status", "preset": preset}, match={"op": ["findMessages"]})

    receipt = gateway.send(part(quote=THEIRS), instance=sandbox.instance(), timeout_s=5)

    assert receipt.provider_message_id == sandbox.admin.deliveries()[0]["key_id"]
    assert sandbox.admin.deliveries()[0]["quote_lost"]


def test_a_question_that_hangs_leaves_time_for_the_reply(gateway, sandbox):
    sandbox.admin.add_fault({"type": "hang", "when": "before_accept", "max_s": 30}, match={"op": ["findMessages"]})

    gateway.send(part(quote=THEIRS), instance=sandbox.instance(), timeout_s=2)

    assert len(sandbox.admin.deliveries()) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"quote": replace(THEIRS, text=" ")},
        {"quote": THEIRS, "media": VOICE},
        {"quote": THEIRS, "extra": CARD},
        {"quote": THEIRS, "recipient": GROUP},
        {},
    ],
    ids=["a file without a caption", "a voice note", "a card", "nobody knows who of the group wrote it", "no reply"],
)
def test_nothing_is_asked_where_the_answer_changes_nothing(gateway, sandbox, fields):
    sandbox.admin.put_group(GROUP.jid)
    wanted = replace(part(**fields), text="" if {"media", "extra"} & fields.keys() else "sim")

    gateway.send(wanted, instance=sandbox.instance(), timeout_s=5)

    assert "findMessages" not in asked(sandbox)


def test_an_answer_that_is_no_list_is_not_read_as_no(gateway, sandbox):
    """An empty list says no; another body says nothing, and is left to Evolution."""
    sandbox.admin.add_fault(
        {"type": "status", "status": 200, "body": {"messages": "?"}}, match={"op": ["findMessages"]}
    )

    gateway.send(part(quote=THEIRS), instance=sandbox.instance(), timeout_s=5)

    assert sandbox.admin.deliveries()[0]["quote_lost"]
