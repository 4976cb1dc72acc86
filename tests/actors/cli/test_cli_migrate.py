"""``migrate-legacy``: says what is there, refuses beside an old consumer, moves, and its counts agree."""

import json

import pytest
import redis
from legacy_world import OldProduct, everything, group, leaks, picture
from waiting import until

from actors import legacy_search
from middleware.brokers.redis import connections
from middleware.errors import ExitCode

pytestmark = pytest.mark.redis


@pytest.fixture
def old(redis_server, site):
    product = OldProduct(redis_server)
    yield product
    product.close()


@pytest.fixture
def gone(monkeypatch):
    """The old stream's consumers have been silent for long."""
    monkeypatch.setattr(legacy_search, "RECENT_S", 0.0)


@pytest.fixture
def blocked(redis_server, old):
    """``blocked(db, command, *keys)``: an old consumer waits; it is gone with the test."""
    connections = []

    def is_waiting():
        return any("b" in one["flags"] for one in old.lists.client_list())

    def wait(db, *arguments):
        connections.append(
            redis.Connection(host="127.0.0.1", port=redis_server.port, password=redis_server.password, db=db)
        )
        # Nobody reads the answer: it stays blocked without a thread.
        connections[-1].send_command(*arguments)
        until(is_waiting, within_ms=5_000)

    yield wait
    for connection in connections:
        connection.disconnect()
    until(lambda: not is_waiting(), within_ms=5_000)


def _fill(site, old):
    for id_ in ("m1", "m2", "m3"):
        site.say(id_)
    site.say("s1", status="sent")
    old.push("send_message", {"message_id": "m1"}, {"message_id": "s1"}, {"message_id": "gone"})
    old.push("fetch_group_info", group("c-support"))
    old.push("edit_message", {"message_id": "m1", "new_content": "x"})
    old.dead("fetch_profile_pic", picture("c-support"))
    old.add("send_message", {"message_id": "m2"}, {"message_id": "m3"})
    old.consume("send_message", count=1, acknowledge=False)


def _queues(ran):
    return {(row["database"], row["queue"]): row for row in json.loads(ran.out)["queues"]}


def test_a_dry_run_says_what_would_happen_and_changes_nothing(run, site, old, redis_server, gone):
    _fill(site, old)
    before = everything(redis_server)

    ran = run("migrate-legacy", "--dry-run", "--json")

    assert (ran.code, everything(redis_server)) == (ExitCode.OK, before)
    found = _queues(ran)
    assert {key: row["left"] for key, row in found.items()} == {
        (2, "chat:queue:send_message"): 3,
        (2, "chat:queue:fetch_group_info"): 1,
        (2, "chat:queue:dead_letter"): 1,
        (3, "chat:stream:send_message"): 2,
    }
    sends = found[2, "chat:queue:send_message"]
    assert (sends["enqueued"], sends["ended"], sends["aside"]) == (1, 1, 1)
    assert json.loads(ran.out)["others"] == [{"database": 2, "queue": "chat:queue:edit_message", "waiting": 1}]
    assert leaks(ran.out + ran.err) == []


def test_it_moves_everything_and_its_counts_agree(run, site, old, redis_server, gone):
    _fill(site, old)
    planned = _queues(run("migrate-legacy", "--dry-run", "--json"))

    ran = run("migrate-legacy", "--yes", "--json")

    moved = _queues(ran)
    assert ran.code == ExitCode.OK
    assert {key: {**row, "left": 0} for key, row in planned.items()} == moved
    assert {row["unaccounted"] for row in moved.values()} == {0}
    assert site.broker.transitions.stats(["send_message"])[0].unfinished == 3
    assert sorted(old.lists.scan_iter("chat:legacy*")) == [
        b"chat:legacy:aside",
        b"chat:legacy:dead",
        b"chat:legacy:ledger",
    ]
    assert leaks(everything(redis_server) + ran.out + ran.err) == []
    assert run("migrate-legacy", "--yes").out.splitlines()[0] == "nothing of the old product waits in these databases"


def test_a_person_reads_a_table_and_that_keys_were_readable(run, site, old, redis_server, gone):
    _fill(site, old)

    out = run("migrate-legacy", "--dry-run").out

    assert "chat:queue:send_message" in out
    assert "chat:queue:edit_message has 1; left to its own consumer" in out
    assert "change those keys" in out


def test_nobody_to_ask_means_no(run, site, old, redis_server, gone):
    _fill(site, old)
    before = everything(redis_server)

    ran = run("migrate-legacy")

    assert (ran.code, everything(redis_server)) == (ExitCode.USAGE, before)


@pytest.mark.parametrize(
    ("db", "arguments"),
    [
        (2, ("BRPOP", "chat:queue:nothing", "0")),
        (2, ("BRPOP", "chat:queue:nothing_a", "chat:queue:nothing_b", "0")),
        (3, ("XREADGROUP", "GROUP", "chat_workers", "w", "BLOCK", "0", "STREAMS", "chat:stream:send_message", ">")),
    ],
)
def test_it_refuses_beside_an_old_consumer_unless_told(
    run, site, old, redis_server, blocked, monkeypatch, db, arguments
):
    site.say("m1")
    old.push("send_message", {"message_id": "m1"})
    if db == 3:
        old.add("send_message", {"message_id": "m1"})
        old.consume("send_message", count=1, acknowledge=True)
        monkeypatch.setattr(legacy_search, "RECENT_S", 0.0)
    blocked(db, *arguments)
    before = old.lists.llen("chat:queue:send_message")

    ran = run("migrate-legacy", "--yes")

    assert (ran.code, old.lists.llen("chat:queue:send_message")) == (ExitCode.UNSAFE, before)
    assert f"database {db}: a client called '(no name)' that last said {arguments[0]}" in ran.err
    assert json.loads(run("migrate-legacy", "--dry-run", "--json").out)["consumers"] != []
    assert run("migrate-legacy", "--yes", "--despite-consumers").code == ExitCode.OK
    assert site.broker.transitions.stats(["send_message"])[0].unfinished == 1


def test_a_consumer_of_the_stream_that_asked_lately_counts_as_running(run, site, old):
    old.add("send_message", {"message_id": site.say("m1")})
    old.consume("send_message", count=1, acknowledge=False)

    ran = run("migrate-legacy", "--yes")

    assert ran.code == ExitCode.UNSAFE
    assert "database 3: a consumer of chat:stream:send_message asked 0 s ago" in ran.err


def test_a_worker_of_ours_is_no_old_consumer(run, site, old, redis_server):
    kwargs = site.settings.queue_connection()
    wait = connections.make_blocking_client(kwargs)
    wait.brpop("chat:queue:nothing", timeout=0.01)
    old.push("send_message", {"message_id": site.say("m1")})

    assert run("migrate-legacy", "--yes").code == ExitCode.OK
    wait.close()


def test_what_was_kept_is_shown_by_id(run, site, old, gone):
    _fill(site, old)
    run("migrate-legacy", "--yes")

    kept = json.loads(run("migrate-legacy", "--kept", "--json").out)
    table = run("migrate-legacy", "--kept").out

    assert kept == [
        {"database": 2, "from": "aside", "operation": "send_message", "ids": ["gone"], "why": "no_row"},
        {"database": 2, "from": "dead", "operation": "fetch_profile_pic", "ids": ["c-support"], "why": "dead_letter"},
    ]
    assert "gone" in table
    assert "dead_letter" in table


def test_old_dead_letters_are_sent_on_request_also_later(run, site, old, gone):
    old.dead("send_message", {"message_id": site.say("m1")})
    assert run("migrate-legacy", "--yes").code == ExitCode.OK
    assert site.broker.transitions.stats(["send_message"])[0].unfinished == 0

    assert run("migrate-legacy", "--dead-letters", "send", "--yes").code == ExitCode.OK

    assert site.broker.transitions.stats(["send_message"])[0].unfinished == 1
    assert json.loads(run("migrate-legacy", "--kept", "--json").out) == []


def test_rows_that_the_old_product_had_sent_are_marked(run, site, old, gone):
    from dataclasses import replace

    site.say("m1")
    site.store.add(replace(site.store.message("m1"), message_id="P1"))

    ran = run("migrate-legacy", "--yes")

    assert "1 pending rows have a provider's id: marked sent" in ran.out
    assert site.store.message("m1").status == "sent"


def test_counts_that_do_not_agree_are_a_failure(run, site, old, gone):
    site.say("m1")
    old.push("send_message", {"message_id": "m1"})
    old.lists.hset("chat:legacy:ledger", "send_message.taken", 5)

    ran = run("migrate-legacy", "--yes")

    assert ran.code == ExitCode.FAILED
    assert "the counts do not agree" in ran.out


def test_other_databases_and_prefixes_are_named(run, site, redis_server):
    elsewhere = OldProduct(redis_server, list_db=7)
    elsewhere.push("send_message", {"message_id": site.say("m1")}, prefix="old:jobs")

    nothing = run("migrate-legacy", "--yes", "--database", "7")
    ran = run("migrate-legacy", "--yes", "--database", "7", "--list-prefix", "old:jobs", "--json")

    assert "nothing of the old product" in nothing.out
    assert _queues(ran)[7, "old:jobs:send_message"]["enqueued"] == 1
    elsewhere.close()
