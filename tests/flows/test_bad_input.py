"""Whatever a row holds: what can never be sent ends at once as failed, with a stable code and a sentence to act on.

And files that the worker fetches: they arrive whole, and what fails before the send leaves nothing unknown.
"""

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flow_world import GROUP, PHONE, Change, World, working
from waiting import until

import actors
from actors.domain import AttemptState, MessageStatus
from actors.settings import MediaBy
from actors.stores.rows import AttachmentRow, ConversationRow, InstanceRow

pytestmark = pytest.mark.redis

FILE = bytes(range(256)) * 300


def attach(world: World, url: str, mime_type: str = "image/png", name: str = "a.png") -> None:
    world.store.add(
        AttachmentRow(message_id="m1", mime_type=mime_type, original_filename=name, short_url=url, created_at_ms=1)
    )


def failed(world: World) -> tuple[str, str]:
    """Reason and sentence of m1, which fails after one attempt and asked for nothing."""
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)
    [letter] = world.letters()
    assert letter.attempts == 1
    shown = world.store.message("m1").error_message
    assert len(shown.encode()) <= 2_048
    assert len(str(letter.error).encode()) <= 2_048
    code, _, sentence = shown.partition(": ")
    assert code == letter.reason
    assert len(sentence) > 20
    assert not [one for one in (PHONE[1:], "segredo") if one in f"{shown} {letter}"]
    assert all(row.state is AttemptState.DEAD for row in world.store.attempts("m1"))
    return letter.reason, sentence


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


# -- files that the worker fetches ---------------------------------------------------------------------------------


class Storage:
    """A file server on this machine; ``status`` of its next answers, what it was asked."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.asked: list[str] = []
        self.hosts: list[str | None] = []
        storage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                storage.asked.append(self.path)
                storage.hosts.append(self.headers["Host"])
                status = storage.statuses.pop(0) if storage.statuses else 200
                self.send_response(status)
                self.send_header("Content-Length", str(len(FILE)))
                self.end_headers()
                self.wfile.write(FILE)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server.server_port}"


@pytest.fixture
def storage(world: World, change: Change) -> Iterator[Storage]:
    """Files that a gateway elsewhere could not reach."""
    made = Storage()
    change(media_by=MediaBy.CONTENT, media_hosts="localhost")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize(
    ("mime_type", "name", "op"),
    [
        ("image/png", "a.png", "sendMedia"),
        ("application/pdf", "a.pdf", "sendMedia"),
        ("video/mp4", "a.mp4", "sendMedia"),
        ("audio/ogg", "a.ogg", "sendWhatsAppAudio"),
    ],
)
def test_a_file_that_only_the_worker_can_reach_arrives_whole(world, storage, mime_type, name, op):
    world.say("m1", "")
    attach(world, f"{storage.url}/{name}?signature=s", mime_type, name)
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    [delivery] = world.sandbox.admin.deliveries()
    assert (delivery["op"], delivery["media"]["bytes"]) == (op, len(FILE))
    assert delivery["media"]["sha256"] == hashlib.sha256(base64.b64decode(base64.b64encode(FILE))).hexdigest()
    assert storage.asked == [f"/{name}?signature=s"]
    assert storage.hosts == [storage.url.removeprefix("http://")]


def test_a_file_that_cannot_be_fetched_now_leaves_nothing_unknown_and_goes_out_later(world, storage):
    storage.statuses = [503, 500]
    world.say("m1", "caption")
    attach(world, f"{storage.url}/a.png")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.SENT, within_ms=5_000)

    [attempt] = world.store.attempts("m1")
    # Nothing was claimed while there was nothing to send.
    assert (attempt.state, attempt.number) == (AttemptState.ACCEPTED, 1)
    assert len(storage.asked) == 3
    assert world.delivered() == ["caption"]


def test_a_file_that_cannot_be_fetched_three_times_is_given_up(world, storage):
    storage.statuses = [503] * 5
    world.say("m1", "caption")
    attach(world, f"{storage.url}/a.png")
    actors.send_message.send("m1")
    with working():
        until(lambda: world.status("m1") == MessageStatus.FAILED, within_ms=5_000)

    [letter] = world.letters()
    assert (letter.reason, letter.attempts) == ("attempts_exhausted", 3)
    assert "media_fetch" in str(letter.failures)
    assert len(storage.asked) == 3
    assert (world.store.attempts("m1"), world.sandbox.requests()) == ([], [])


@pytest.mark.parametrize("status", [403, 404, 410, 302])
def test_a_file_that_is_gone_fails_at_once(world, storage, status):
    storage.statuses = [status]
    world.say("m1", "segredo")
    attach(world, f"{storage.url}/a.png")

    assert failed(world)[0] == "media_url"
    assert len(storage.asked) == 1
    assert world.sandbox.requests() == []


def test_a_host_of_ours_must_be_said_to_be_ours(world, storage, change):
    change(media_by=MediaBy.CONTENT, media_hosts="minio")
    world.say("m1", "segredo")
    attach(world, f"{storage.url}/a.png")

    code, sentence = failed(world)

    assert code == "media_url"
    assert "CHAT_MEDIA_HOSTS" in sentence
    assert storage.asked == []
