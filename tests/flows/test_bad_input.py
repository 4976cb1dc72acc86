"""Whatever a row holds: what can never be sent ends at once as failed, with a stable code and a sentence to act on."""

from collections.abc import Callable
from typing import Any

import pytest
from failing_rows import attach, failed
from flow_world import GROUP, PHONE, World, working
from waiting import until

import actors
from actors.domain import MessageStatus
from actors.stores.rows import ConversationRow, InstanceRow

pytestmark = pytest.mark.redis

Prepare = Callable[[World], Any]


def _say(text: str = "segredo", **fields: Any) -> Prepare:
    return lambda world: world.say("m1", text, **fields)


def _file(url: str, **fields: Any) -> Prepare:
    def prepare(world: World) -> None:
        world.say("m1", "segredo")
        attach(world, url, **fields)

    return prepare


def _group_metadata(value: Any) -> Prepare:
    def prepare(world: World) -> None:
        world.store.add(
            ConversationRow(
                id="g2",
                contact_phone=GROUP,
                conversation_type="group",
                tenant_id="t",
                instance_name="i1",
                group_metadata=value,
            )
        )
        world.say("m1", "segredo", conversation="g2")

    return prepare


def _without_credentials(world: World) -> None:
    world.store.add(
        InstanceRow(instance_name="i2", tenant_id="t"),
        ConversationRow(id="c2", contact_phone=PHONE, tenant_id="t", instance_name="i2"),
    )
    world.say("m1", "segredo", conversation="c2")


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        pytest.param(_say(""), "empty_message", id="empty"),
        pytest.param(_say(" \n\t\u00a0"), "empty_message", id="blank"),
        pytest.param(_say("x" * 102_400), "text_too_long", id="100 KB"),
        pytest.param(_say("x" * 65_537), "text_too_long", id="one too many"),
        pytest.param(_file("file:///etc/passwd"), "media_url", id="file URL"),
        pytest.param(_file("data:image/png;base64,QUJD"), "media_url", id="data URI"),
        pytest.param(_file("QUJD!not base64"), "media_url", id="broken base64"),
        pytest.param(_file("QUJDRA=="), "media_url", id="raw base64"),
        pytest.param(_file("http://10.0.0.1/a.png"), "media_url", id="private address"),
        pytest.param(_file("http://[::ffff:127.0.0.1]/a.png"), "media_url", id="mapped loopback"),
        pytest.param(_file("http://2130706433/a.png"), "media_url", id="loopback as a number"),
        pytest.param(_file("http://localhost:9000/a.png"), "media_url", id="localhost"),
        pytest.param(_file("http://169.254.169.254/latest"), "media_url", id="cloud metadata"),
        pytest.param(_group_metadata([1, 2]), "bad_row", id="list for a group"),
        pytest.param(_group_metadata("x"), "bad_row", id="text for a group"),
        pytest.param(_say(is_deleted=True), "message_deleted", id="deleted message"),
    ],
)  # fmt: skip
def test_what_can_never_be_sent_fails_at_once_and_asks_nobody(world, prepare, code):
    prepare(world)

    assert failed(world)[0] == code
    assert world.sandbox.requests() == []


@pytest.mark.parametrize("metadata", [[], [1], "x"])
def test_metadata_of_a_message_that_is_no_table_says_nothing(world, metadata):
    world.say("m1", "oi", metadata=metadata)
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert world.delivered() == ["oi"]


def test_a_text_of_just_the_most_characters_arrives_whole(world):
    world.say("m1", "é" * 65_536)
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    assert world.delivered() == ["é" * 65_536]


def test_a_conversation_that_was_deleted_is_a_dead_letter(world):
    world.say("m1", conversation="gone")
    actors.send_message.send("m1")
    with working():
        [letter] = until(world.letters, within_ms=5_000)

    assert (letter.reason, letter.attempts) == ("not_found", 1)
    assert world.sandbox.requests() == []


def test_an_instance_without_credentials_asks_nobody(world, change):
    change(gateway="evolution")
    _without_credentials(world)

    code, sentence = failed(world)

    assert code == "no_credentials"
    assert "URL and a key" in sentence
    assert world.sandbox.requests() == []


def test_an_evolution_of_another_contract_gets_nothing(world, change):
    change(gateway="evolution")
    body = {"status": 200, "version": "1.8.2"}
    world.sandbox.admin.add_fault({"type": "status", "status": 200, "body": body}, match={"op": "version"})
    world.say("m1", "segredo")

    code, sentence = failed(world)

    assert code == "wrong_version"
    assert "1.8.2" in sentence
    assert world.sandbox.requests() == []


def test_a_token_of_the_cloud_behind_evolution_that_expired_is_for_an_operator(world):
    body = {"message": f"Error validating access token for {PHONE}", "type": "OAuthException", "code": 190}
    world.sandbox.admin.add_fault({"type": "status", "status": 201, "body": body}, match={"op": "sendText"})
    world.say("m1", "segredo")

    assert failed(world)[0] == "token_refused"
    assert len(world.sandbox.requests()) == 1


def test_an_instance_that_is_called_like_a_number_shows_none(world):
    world.store.add(
        InstanceRow(
            instance_name="5511999990001", tenant_id="t", api_key=world.sandbox.apikey, api_url=world.sandbox.url
        ),
        ConversationRow(id="c2", contact_phone=PHONE, tenant_id="t", instance_name="5511999990001"),
    )
    world.say("m1", "segredo", conversation="c2")

    code, sentence = failed(world)

    assert code == "instance_missing"
    assert "5511999990001" not in sentence
    assert "5511999990001" not in str(world.letters()[0].error)
