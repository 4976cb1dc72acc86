"""Files that the worker fetches: they arrive whole, and what fails before the send leaves nothing unknown."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from failing_rows import attach, failed
from flow_world import Change, World, working
from waiting import until

import actors
from actors.domain import AttemptState, MessageStatus
from actors.settings import MediaBy

pytestmark = pytest.mark.redis

FILE = bytes(range(256)) * 300


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
