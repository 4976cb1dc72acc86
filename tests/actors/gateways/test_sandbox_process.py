"""The sandbox as a process of its own, and its door."""

import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from actors.gateways.base import make_gateway
from actors.gateways.sandbox.admin_client import SandboxAdmin, SandboxRefused
from actors.gateways.sandbox.server import SandboxServer
from actors.settings import Settings

EVERYWHERE = "0.0.0.0"  # noqa: S104
COMMAND = [sys.executable, "-m", "actors.gateways.sandbox"]


@contextmanager
def started(*arguments):
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_stops_when_told(tmp_path, number):
    config = tmp_path / "sandbox.json"
    config.write_text(json.dumps({"instances": {"i9": {}}, "faults": [{"action": {"type": "latency", "ms": 1}}]}))

    with started("--seed", "3", "--admin-token", "t", "--config", str(config)) as process:
        told = json.loads(process.stdout.readline())
        with SandboxAdmin(told["url"], told["admin_token"]) as admin:
            assert told["admin_token"] == "t"
            assert len(admin.faults()) == 1
        gateway = make_gateway("sandbox", Settings(sandbox_url=told["url"]))
        assert "2.3.6" in gateway.check()
        gateway.close()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)

    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.process
def test_it_stops_also_when_it_is_told_again_and_again():
    # The kernel tells it once for every thread of a demo that was killed, each signal inside the handler of the one before.
    for _ in range(5):
        with started() as process:
            process.stdout.readline()
            for _ in range(300):
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)

        assert process.returncode == 0


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", EVERYWHERE], "loopback"),
        (["--config", "/nonexistent.json"], "No such file"),
    ],
)
def test_it_does_not_start_where_it_should_not(arguments, said):
    process = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30)

    assert process.returncode == 2
    assert said in process.stderr


def test_it_listens_beyond_this_machine_only_when_allowed():
    with pytest.raises(ValueError, match="loopback"):
        SandboxServer(host=EVERYWHERE)
    with SandboxServer(host=EVERYWHERE, allow_remote=True) as server:
        assert server.url


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_it_listens_on_the_other_loopback_too():
    try:
        server = SandboxServer(host="::1").start()
    except OSError:
        pytest.skip("this machine has no ::1")
    with SandboxAdmin(server.url, server.admin_token) as admin:
        assert admin.counters()["accepted"] == 0
    server.close()


def test_a_wrong_admin_token_shows_nothing():
    with (
        SandboxServer() as server,
        SandboxAdmin(server.url, "wrong") as admin,
        pytest.raises(SandboxRefused, match="X-Sandbox-Admin"),
    ):
        admin.deliveries()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "instances/i1", {"colour": "red"}),
        ("PUT", "instances/i1", {"state": "ajar"}),
        ("PUT", "instances/a%2Fb", {}),
        ("PUT", "groups/123", {}),
        ("PUT", "groups/1@g.us", {"error": "sleepy"}),
        ("PUT", "contacts/1", []),
        ("PUT", "limits", {"mode": "shout"}),
        ("PUT", "limits", {"instance": {"rate": 1}}),
        ("POST", "clock", {}),
        ("PUT", "webhook", {"url": "https://hooks.example"}),
        ("PUT", "webhook", {"url": "http://127.0.0.1:9", "events": ["no.event"]}),
        ("PUT", "webhook", {"url": "http://127.0.0.1:9", "retry": {"times": 3}}),
        ("PUT", "webhook", {"url": "http://127.0.0.1:9", "duplicate": 2}),
        ("PUT", "webhook", {}),
        ("GET", "nothing", None),
    ],
)
def test_what_it_does_not_offer_is_refused(method, path, body):
    with (
        SandboxServer() as server,
        SandboxAdmin(server.url, server.admin_token) as admin,
        pytest.raises(SandboxRefused),
    ):
        admin.call(method, path, body)


def test_fixtures_are_shown_as_they_were_given():
    with SandboxServer() as server, SandboxAdmin(server.url, server.admin_token) as admin:
        admin.put_instance("i1", token="t", save_messages=False)
        admin.put_contact("5531991234567", exists=False)
        admin.put_group("1@g.us", subject="G")
        shown = admin.call("GET", "fixtures")

    assert shown["instances"]["i1"]["save_messages"] is False
    assert shown["contacts"]["553191234567@s.whatsapp.net"]["exists"] is False
    assert shown["groups"]["1@g.us"]["subject"] == "G"


def test_an_instance_can_be_taken_away():
    with SandboxServer() as server, SandboxAdmin(server.url, server.admin_token) as admin:
        admin.put_instance("i1")
        admin.delete_instance("i1")

        assert admin.call("GET", "fixtures")["instances"] == {}


def test_closing_ends_hanging_requests_and_may_be_repeated():
    server = SandboxServer().start()
    with SandboxAdmin(server.url, server.admin_token) as admin:
        admin.put_instance("i1")
        admin.add_fault({"type": "hang"})
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"GET /instance/connectionState/i1 HTTP/1.1\r\nHost: x\r\napikey: sandbox-key\r\n\r\n")
        server.close()
        server.close()
        try:
            left = connection.recv(100)
        except ConnectionResetError:
            left = b""

    assert left == b""
