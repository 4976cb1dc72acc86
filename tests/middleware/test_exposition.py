"""The small server answers while it can, gives up what it cannot, and lets nobody hold it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import pytest
from waiting import until

from middleware.exposition import MOST_REQUESTS, Exposition, Page


def well(_: str) -> Page:
    return Page.of_json(200, {"status": "ok"})


def broken(_: str) -> Page:
    raise RuntimeError("a chat message")


@pytest.fixture
def shown() -> Iterator[Exposition]:
    exposition = Exposition({"/healthz": well, "/broken": broken})
    # Whatever ephemeral port is free: every other is somebody's.
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        port = found.getsockname()[1]
    assert exposition.listen("127.0.0.1", port) is not None
    yield exposition
    exposition.stop()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()


def test_a_page_is_made_when_it_is_asked_for(shown):
    assert ask(shown.port, "/healthz?verbose=1")[0] == 200
    assert ask(shown.port, "/healthz", "HEAD") == (200, b"")
    assert ask(shown.port, "/healthz", "POST")[0] == 501


def test_a_page_that_is_not_there_names_those_that_are(shown):
    status, body = ask(shown.port, "/")

    assert (status, json.loads(body)["pages"]) == (404, ["/broken", "/healthz"])


def test_a_page_that_breaks_shows_no_text_of_its_error(shown):
    status, body = ask(shown.port, "/broken")

    assert (status, json.loads(body)) == (500, {"error": "the page broke: RuntimeError"})


def test_a_port_that_is_taken_gives_the_next_free_one(shown):
    other = Exposition({"/healthz": well})
    try:
        assert shown.port is not None
        assert (other.listen("127.0.0.1", shown.port) or 0) > shown.port
        assert ask(other.port or 0, "/healthz")[0] == 200
    finally:
        other.stop()


def test_an_address_that_is_not_ours_is_no_reason_to_fail():
    assert Exposition({}).listen("192.0.2.1", 9_191) is None
    assert Exposition({}).listen("no.such.host.invalid", 9_191) is None


def test_clients_that_say_nothing_hold_nobody_up_for_long(shown):
    with ExitStack() as silent:
        for _ in range(MOST_REQUESTS):
            silent.enter_context(closing(socket.create_connection(("127.0.0.1", shown.port))))
        with pytest.raises(OSError):  # noqa: PT011 - it is cut off, in one of several ways
            until(lambda: ask(shown.port, "/healthz") and None, within_ms=4_000)

    until(lambda: _answers(shown.port), within_ms=10_000)


def _answers(port: int | None) -> bool:
    try:
        return ask(port or 0, "/healthz")[0] == 200
    except OSError:
        return False


def test_a_stopped_server_leaves_no_thread(shown):
    shown.stop()

    until(lambda: "exposition" not in {thread.name for thread in threading.enumerate()}, within_ms=5_000)
