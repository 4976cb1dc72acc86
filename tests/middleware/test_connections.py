"""A client that is closed has given back its connections, whoever closes it and however."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import redis
from waiting import until

from middleware.brokers.redis import connections
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.brokers.redis.pin import kwargs_for_db
from middleware.brokers.redis.pipe import Pipe, packed

pytestmark = pytest.mark.redis


def _for_commands(kwargs: dict[str, Any]) -> "redis.Redis":
    return connections.make_client(kwargs, role="stats")


@pytest.mark.parametrize("make", [_for_commands, connections.make_blocking_client])
def test_a_client_that_is_closed_has_no_connection_left(
    redis_server: EmbeddedRedis, queue_client: redis.Redis, make: Callable[[dict[str, Any]], "redis.Redis"]
):
    def known() -> set[int]:
        return {int(one["id"]) for one in queue_client.client_list()}

    with closing(make(kwargs_for_db(redis_server.url(0), 2))) as client:
        mine = client.client_id()
        assert mine in known()

    until(lambda: mine not in known(), within_ms=2_000)


def test_a_command_that_comes_late_leaves_no_connection_behind(redis_server: EmbeddedRedis, queue_client: redis.Redis):
    """A thread that is not gone yet when its process closes: nobody would close what it opens."""
    client = _for_commands(kwargs_for_db(redis_server.url(0), 2))
    pipe = Pipe(client)
    early = pipe.run([packed(b"", 0, ["CLIENT", "ID"])])
    pipe.close()
    client.close()

    late = {client.client_id(), *pipe.run([packed(b"", 0, ["CLIENT", "ID"])])}

    assert not late & set(early)
    until(lambda: not late & {int(one["id"]) for one in queue_client.client_list()}, within_ms=2_000)


def test_a_connection_that_lay_for_long_is_asked_whether_it_lives_and_a_fresh_one_is_not(
    redis_server: EmbeddedRedis, queue_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    def pings() -> int:
        return int(queue_client.info("commandstats").get("cmdstat_ping", {}).get("calls", 0))

    with closing(_for_commands(kwargs_for_db(redis_server.url(0), 2))) as client:
        pipe = Pipe(client)
        echo = packed(b"", 0, ["ECHO", "here"])
        pipe.ask(echo)
        before = pings()
        for connection, _ in pipe._idle:
            connection.next_health_check = -1.0

        assert pipe.ask(echo) == b"here"
        assert pings() == before

        for connection, _ in pipe._idle:
            connection.next_health_check = -1.0
        monkeypatch.setattr("middleware.brokers.redis.pipe.FRESH_S", -1.0)
        assert pipe.ask(echo) == b"here"
        assert pings() == before + 1
        pipe.close()


def test_a_refusal_stands_in_the_place_of_a_reply_and_the_connection_goes_on(redis_server: EmbeddedRedis):
    with closing(_for_commands(kwargs_for_db(redis_server.url(0), 2))) as client:
        pipe = Pipe(client)
        refused = pipe.ask(packed(b"", 0, ["NOSUCH"]))

        assert isinstance(refused, redis.ResponseError)
        assert pipe.ask(packed(b"", 0, ["ECHO", "here"])) == b"here"
        pipe.close()
