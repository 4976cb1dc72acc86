"""docs/migrating.md, done to the letter over a Redis as the old product left it: there, and back."""

import json
import shlex
import sys

import pytest
from docs_pages import Page
from legacy_world import JID, OldProduct, everything, group, leaks, picture
from process_world import EACH_ONCE_IN_ORDER, running
from waiting import until

import actors
from actors import legacy_search
from actors.cli import main
from actors.cli.migrate_legacy import COLUMNS
from actors.stores.rows import ConversationRow, MessageRow
from middleware.clock import SystemClock
from middleware.errors import ExitCode

pytestmark = [pytest.mark.redis, pytest.mark.process]

PAGE = Page("docs/migrating.md")


def _commands(*, before, after=""):
    """Shell commands of the page between two headings."""
    begin = PAGE.text[: PAGE.text.index(after)].count("\n") if after else 0
    end = PAGE.text[: PAGE.text.index(before)].count("\n")
    lines = [
        line
        for block in PAGE.blocks
        if block.language == "sh" and begin <= block.line <= end
        for line in block.text.splitlines()
    ]
    return [shlex.split(line) for line in lines]


@pytest.fixture
def old(redis_server, process_world, monkeypatch):
    # A minute has passed since the old consumers were stopped.
    monkeypatch.setattr(legacy_search, "RECENT_S", 0.0)
    # A command adds the folder it runs in.
    monkeypatch.setattr(sys, "path", list(sys.path))
    product = OldProduct(redis_server)
    yield product
    product.close()


@pytest.fixture
def do(old, capsys):
    """``do(command)``: run a command of the page; returns its exit code and what it said."""

    def do(command):
        if command[0] == "redis-cli":
            assert command[1] == "-n"
            with old.server.client(int(command[2])) as client:
                return ExitCode.OK, str(client.execute_command(*command[3:]))
        assert command[0] == "chat-actors"
        code = main(command[1:])
        said = capsys.readouterr()
        return code, said.out + said.err

    return do


def _seed(world, old):
    now_ms = SystemClock().now_ms() - 60_000
    states = {"m1": "pending", "m2": "pending", "m3": "pending", "m4": "pending", "s1": "sent"}
    for number, (id_, status) in enumerate(states.items()):
        world.store.add(
            MessageRow(id=id_, conversation_id="c0", content=id_, status=status, created_at_ms=now_ms + number)
        )
    world.store.add(ConversationRow(id="g1", contact_phone=JID, conversation_type="group", instance_name="i1"))
    old.push("send_message", {"message_id": "m1"}, {"message_id": "s1"}, {"message_id": "gone"})
    old.push("fetch_profile_pic", picture("c1"))
    old.push("fetch_group_info", group("g1"))
    old.push("edit_message", {"message_id": "s1", "new_content": "x"})
    old.dead("send_message", {"message_id": "m4"})
    old.add("send_message", {"message_id": "m2"}, {"message_id": "m3", "extra": {"use_fallback": True}})
    old.consume("send_message", count=1, acknowledge=False)


def test_the_page_is_followed_to_delivered_messages(process_world, old, do, redis_server):
    _seed(process_world, old)
    commands = _commands(before="## 6. Start")
    assert [command[1:] for command in commands] == [
        ["migrate-legacy", "--dry-run"],
        ["migrate-legacy", "--yes"],
        ["migrate-legacy", "--kept"],
        ["migrate-legacy", "--dead-letters", "send", "--yes"],
    ]

    ran = [do(command) for command in commands]

    assert [code for code, _ in ran] == [ExitCode.OK] * len(commands)
    assert "chat:queue:edit_message has 1; left to its own consumer" in ran[0][1]
    assert "gone" in ran[2][1]
    assert leaks("".join(said for _, said in ran)) == []
    assert leaks(everything(redis_server)) == []

    doctor, worker = _commands(after="## 6. Start", before="## 7. Clean")
    assert (doctor, worker) == (["chat-actors", "doctor"], ["chat-actors", "worker"])
    with running(process_world, "actors.cli", *worker[1:], "--processes", "1"):
        until(lambda: process_world.all_sent(["m1", "m2", "m3", "m4"]), within_ms=60_000)
    assert process_world.faults_of_delivery() == {"accepted": 4, **EACH_ONCE_IN_ORDER}

    for command in _commands(after="## 7. Clean", before="## Going back"):
        do(command)
    assert list(old.lists.scan_iter("chat:legacy:*")) == list(old.streams.scan_iter("chat:legacy:*")) == []
    assert json.loads(old.lists.lindex("chat:queue:edit_message", 0))["message_id"] == "s1"


def test_the_way_back_gives_the_old_consumers_what_waits(process_world, old, do):
    _seed(process_world, old)
    for command in _commands(before="## 6. Start"):
        do(command)
    (back,) = _commands(after="## Going back", before="Later, start again")

    code, _ = do(back)

    assert code == ExitCode.OK
    rows = old.streams.xrange("chat:stream:send_message")
    assert [fields[b"message_id"] for _, fields in rows] == [b"m1", b"m2", b"m3", b"m4"]
    # What an old list consumer would pop is nothing of ours.
    assert [
        old.lists.exists(f"chat:queue:{name}") for name in ("send_message", "fetch_profile_pic", "fetch_group_info")
    ] == [0, 0, 0]
    assert actors.broker.transitions.stats(["send_message"])[0].unfinished == 0


def test_every_column_of_the_report_is_explained():
    explained = {row["column"].strip("`") for row in PAGE.rows("column")}

    assert explained == {*COLUMNS, "with_secrets", "unaccounted"}
