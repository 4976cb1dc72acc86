"""Promises of the embedded Redis: it is ours alone, and nothing of it stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from waiting import until

from middleware.brokers.redis.embedded import EmbeddedRedis, EmbeddedRedisFailed, find_binary

pytestmark = pytest.mark.redis


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child of nobody stays a zombie where no init collects it.
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize("unix_socket", [False, True])
def test_a_started_server_answers_at_its_url_and_is_gone_after_the_block(unix_socket):
    with EmbeddedRedis(unix_socket=unix_socket) as server:
        client = redis.Redis.from_url(server.url(2))

        assert client.ping()
        assert client.client_info()["db"] == 2
        client.close()

    assert server.pid is None
    assert not server.directory.exists()


def test_nobody_gets_in_without_the_password():
    with EmbeddedRedis() as server, redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_it_listens_on_this_machine_only(redis_server):
    client = redis_server.client()

    assert client.config_get("bind")["bind"] == "127.0.0.1"
    client.close()


def test_the_password_is_on_no_command_line_and_in_no_repr(redis_server):
    command_line = Path(f"/proc/{redis_server.pid}/cmdline").read_bytes()

    assert redis_server.password.encode() not in command_line
    assert redis_server.password not in repr(redis_server)


def test_two_servers_do_not_meet():
    with EmbeddedRedis() as one, EmbeddedRedis() as other, one.client() as a, other.client() as b:
        a.set("whose", "one")

        assert (one.port, one.password) != (other.port, other.password)
        assert b.get("whose") is None


def test_a_killed_server_that_persists_comes_back_at_its_address_with_its_data():
    with EmbeddedRedis(persist=True) as server:
        port = server.port
        with server.client() as client:
            client.set("kept", "yes")

        server.kill()
        assert server.pid is None
        server.start()

        with server.client() as client:
            assert (server.port, client.get("kept")) == (port, b"yes")


def test_a_server_that_does_not_persist_writes_no_data(tmp_path):
    with EmbeddedRedis(directory=tmp_path) as server, server.client() as client:
        client.set("gone", "yes")

    assert {path.name for path in tmp_path.iterdir()} == {"redis.conf", "redis.log"}


def test_options_reach_the_server():
    with EmbeddedRedis(options={"maxmemory": "20mb"}) as server, server.client() as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(20 * 1024 * 1024)


def test_a_port_taken_by_a_stranger_is_left_to_him():
    with EmbeddedRedis() as first:
        second = EmbeddedRedis()
        second.port = first.port

        with second:
            assert second.port != first.port
            with second.client() as client:
                assert client.ping()


def test_a_refused_option_is_reported_without_the_password():
    server = EmbeddedRedis(options={"maxmemory": "much"})

    with pytest.raises(EmbeddedRedisFailed) as caught:
        server.start()

    server.close()
    assert server.password not in str(caught.value)
    assert server.pid is None


def test_without_any_binary_the_error_says_how_to_install_one(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(EmbeddedRedisFailed, match="apt-get install redis-server"):
        find_binary()


def test_the_server_dies_with_a_parent_that_was_killed():
    code = (
        "import sys\n"
        "from middleware.brokers.redis.embedded import EmbeddedRedis\n"
        "server = EmbeddedRedis()\n"
        "server.start()\n"
        "print(server.pid, server.directory, flush=True)\n"
        "sys.stdin.read()\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid, directory = parent.stdout.readline().split()
        assert is_running(int(pid))

        parent.kill()

        until(lambda: not is_running(int(pid)), within_ms=5_000)
    for leftover in Path(directory).iterdir():
        leftover.unlink()
    Path(directory).rmdir()
