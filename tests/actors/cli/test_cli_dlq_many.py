"""``dlq`` over many letters: searched in parts, sent again with care, exported; and the audit trail says who did it."""

import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

import actors
from actors.domain import MessageStatus
from middleware.errors import ExitCode
from middleware.letters import DeadLetters

pytestmark = pytest.mark.redis


def letters(site):
    return {letter.id for letter in DeadLetters(site.broker).newest()}


def facts(run):
    """What the audit trail says, oldest first."""
    return [(one["what"], one["facts"]) for one in reversed(json.loads(run("audit", "--json").out))]


def test_a_search_that_looked_at_enough_says_how_to_go_on(run, site):
    for number in range(130):
        site.bury(f"m{number:03}")
    query = ["--queue", "send_message", "--text", "m005", "--look-at", "1"]

    first = run("dlq", "list", *query)
    told = re.search(r"send_message: (\d+) letters looked at; go on with (--queue \S+ --after \S+)\n", first.err)
    rest = run("dlq", "list", "--text", "m005", *told[2].split(), "--json")

    assert (first.out, told[1]) == ("", "100")
    assert [letter["kwargs"]["message_id"] for letter in json.loads(rest.out)] == ["m005"]
    assert rest.err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--after", "x"], "name it with --queue"),
        (["list", "--queue", "send_message", "--after", "é"], "copy it whole"),
        (["list", "--queue", "send_message", "--after", "bm90aGluZw"], "copy it whole"),
        (["list", "--arg", "message_id"], "write --arg name=value"),
        (["list", "--since", "yesterday"], "is no time"),
        (["list", "--queue", "nope"], "no queue 'nope'"),
        (["redrive", "--all", "--set", "force"], "write --set name=value"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(run, site, arguments, said):
    ran = run("dlq", *arguments)

    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert said in ran.err


@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_a_dry_run_says_which_and_does_nothing(run, site, command):
    letter_id = site.bury("m1")

    ran = run("dlq", command, "--all", "--dry-run")

    assert ran.code == ExitCode.OK
    assert "not_found" in ran.out
    assert ran.out.endswith("this dead letter; nothing was done\n")
    assert (letters(site), facts(run)) == ({letter_id}, [])
    assert site.store.message("m1").status == MessageStatus.FAILED


def test_a_limit_takes_the_oldest(run, site):
    oldest, newer = site.bury("m1"), site.bury("m2")

    ran = run("dlq", "redrive", "--all", "--limit", "1", "--yes")

    assert (ran.code, letters(site)) == (ExitCode.OK, {newer})
    assert oldest not in letters(site)
    assert ran.out.splitlines()[-1] == "1 sent again"


def test_a_redrive_stops_by_itself_when_they_fail_again(run, site, monkeypatch):
    for number in range(4):
        site.bury(f"m{number}")
    redrive = DeadLetters.redrive

    def and_die(self, letter, **given):
        state = redrive(self, letter, **given)
        # The worker of another process was fast.
        site.broker.client.zadd(site.broker.machinery.keys.of("send_message", "dead"), {letter.id: 1})
        return state

    monkeypatch.setattr(DeadLetters, "redrive", and_die)
    monkeypatch.setattr("middleware.redrives.LOOK_EVERY", 1)

    ran = run("dlq", "redrive", "--all", "--stop-after", "2", "--yes")

    assert ran.code == ExitCode.FAILED
    assert ran.out.splitlines()[-3:] == [
        "2 sent again",
        "2 of them are dead letters again; see: chat-actors dlq groups",
        "stopped: 2 were left alone, because those before them fail again (--stop-after)",
    ]
    assert facts(run)[-1][1] == {
        "letters": 4,
        "filter": facts(run)[-1][1]["filter"],
        "states": {"redriven": 2},
        "died_again": 2,
        "stopped": True,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("message_id=m2", "whom a message goes to"),
        ("use_fallback=true", "through what"),
        ("bulk=true", "through what"),
        ("force=true", "send_message has no argument 'force' that may be changed; there are: none"),
    ],
)
def test_whom_a_message_goes_to_is_never_changed(run, site, change, said):
    letter_id = site.bury("m1")

    ran = run("dlq", "redrive", letter_id, "--set", change, "--yes")

    assert (ran.code, letters(site)) == (ExitCode.USAGE, {letter_id})
    assert said in ran.err
    assert "nothing was done" in ran.err


def test_a_search_for_a_group_may_be_forced_on_the_way(run, site, queue_client: redis.Redis):
    from middleware.outcomes import Dead

    site.say("m1")
    site.broker.enqueue(actors.fetch_group_info.message("c-support"))
    [fetched] = site.broker.transitions.fetch("fetch_group_info", limit=1, lease_ms=1_000, owner="t").messages
    site.broker.transitions.finish(fetched.lease, Dead("not_found", {}), body=fetched.body)

    assert run("dlq", "redrive", "--all", "--set", 'force="yes"', "--yes").code == ExitCode.USAGE
    assert run("dlq", "redrive", "--all", "--set", "force=true", "--yes").code == ExitCode.OK

    [body] = queue_client.hvals(site.broker.machinery.keys.of("fetch_group_info", "messages"))
    assert json.loads(body)["kwargs"] == {"conversation_id": "c-support", "force": True}


def test_an_export_has_every_letter_and_says_how_many(run, site, tmp_path):
    ids = [site.bury(f"m{number}") for number in range(3)]
    other = site.bury("m9", "expired")
    file = tmp_path / "letters.jsonl"

    ran = run("dlq", "export", str(file), "--reason", "not_found")

    head, *rows, end = map(json.loads, file.read_text().splitlines())
    assert (ran.code, ran.err) == (ExitCode.OK, f"3 dead letters written to {file}\n")
    assert (head["version"], end) == (1, {"letters": 3})
    assert [row["id"] for row in rows] == ids
    assert json.loads(rows[0]["body"])["kwargs"] == {"message_id": "m0"}
    assert rows[0]["letter"]["reason"] == "not_found"
    assert (file.stat().st_mode & 0o777, [*tmp_path.iterdir()]) == (0o600, [file])
    assert {*ids, other} == letters(site)
    assert run("dlq", "export", "-").out.count("\n") == 6


def test_an_export_that_cannot_be_written_leaves_nothing(run, site, tmp_path):
    site.bury("m1")

    ran = run("dlq", "export", str(tmp_path / "missing" / "letters.jsonl"))

    assert (ran.code, [*tmp_path.iterdir()]) == (ExitCode.DISK, [])
    assert "could not be written" in ran.err


def test_an_export_replaces_no_pipe_and_sees_a_full_disk(run, site, tmp_path):
    site.bury("m1")
    pipe, full = tmp_path / "pipe", tmp_path / "full"
    os.mkfifo(pipe)
    # A device of its own: what is wrong here shall not break that of the machine.
    full.symlink_to("/dev/full")
    with ThreadPoolExecutor(1) as pool:
        came = pool.submit(pipe.read_text)
        assert run("dlq", "export", str(pipe)).code == ExitCode.OK

    assert came.result(timeout=10).count("\n") == 3
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    ran = run("dlq", "export", str(full))
    assert (ran.code, "No space left" in ran.err) == (ExitCode.DISK, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "pipe"]


def test_an_import_brings_back_what_is_not_there(run, site, tmp_path, queue_client):
    ids = [site.bury(f"m{number}") for number in range(3)]
    file = tmp_path / "letters.jsonl"
    run("dlq", "export", str(file))
    before = DeadLetters(site.broker).newest()
    run("dlq", "discard", ids[0], ids[1], "--yes")
    # Some minutes later: ids of what ended just now are remembered.
    queue_client.delete(site.broker.machinery.keys.of("send_message", "finished"))

    ran = run("dlq", "import", str(file), "--yes")

    assert (ran.code, ran.out.splitlines()[-2:]) == (
        ExitCode.OK,
        ["2 brought back", "1 left alone: there already, alive or over"],
    )
    assert DeadLetters(site.broker).newest() == before
    assert run("dlq", "import", str(file), "--yes").out.splitlines()[-1].startswith("3 left alone")
    assert letters(site) == set(ids)
    assert facts(run)[-1][0] == "dlq.import"
    # Back as it was: it can be found by its index, and be sent again.
    assert run("dlq", "redrive", "--reason", "not_found", "--yes").out.splitlines()[-1] == "3 sent again"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "has a line that is no JSON object"),
        (lambda text: "[]\n", "has a line that is no JSON object"),
        (lambda text: '{"format": "other"}\n', "is no export of dead letters"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "is no export of dead letters"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "was cut"),
        (lambda text: "".join(text.splitlines(keepends=True)[:1] + text.splitlines(keepends=True)[2:]), "was cut"),
        (lambda text: text[: len(text) // 2], "has a line that is no JSON object"),
        (lambda text: text.replace('"letter"', '"lettre"'), "has a line that is no dead letter"),
        (lambda text: text.replace('"queue": "send_message"', '"queue": "else"'), "no queue else here"),
        (lambda text: text + '{"id": "x"}\n', "was cut"),
    ],
    ids=["empty", "list", "foreign", "newer", "no end", "one less", "half", "no letter", "queue", "behind the end"],
)
def test_a_file_that_is_not_whole_changes_nothing(run, site, tmp_path, change, said):
    site.bury("m1")
    site.bury("m2")
    file = tmp_path / "letters.jsonl"
    run("dlq", "export", str(file))
    run("dlq", "discard", "--all", "--yes")
    file.write_text(change(file.read_text()))

    ran = run("dlq", "import", str(file), "--yes")

    code = ExitCode.USAGE if said == "no queue else here" else ExitCode.BAD_FILE
    assert (ran.code, ran.out, letters(site)) == (code, "", set())
    assert said in ran.err
    assert "nothing was done" in ran.err


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_said(run, site, tmp_path, content):
    file = tmp_path / "letters.jsonl"
    if content is not None:
        file.write_bytes(content)

    ran = run("dlq", "import", str(file), "--yes")

    assert ran.code == (ExitCode.DISK if content is None else ExitCode.BAD_FILE)
    assert ("could not be read" if content is None else "is no text") in ran.err


def test_whatever_an_operator_does_is_in_the_audit_trail(run, site):
    letter_id = site.bury("m1")
    site.bury("m2", "expired")
    waiting = site.broker.enqueue(actors.send_message.message(site.say("m3")))

    run("dlq", "redrive", letter_id, "--yes")
    run("dlq", "discard", "--reason", "expired", "--yes")
    run("pause", "send_message")
    run("resume", "--instance", "support")
    run("cancel", waiting.kwargs["message_id"], "--yes")

    told = facts(run)
    assert [what for what, _ in told] == [
        *("dlq.redrive", "dlq.redriven", "dlq.discard", "queue.pause", "queue.resume", "queue.cancel")
    ]
    assert told[0][1]["ids"] == [letter_id]
    assert told[2][1]["filter"]["reason"] == "expired"
    assert told[4][1]["instance"] == "support"
    assert told[5][1] == {"queue": "send_message", "id": "m3"}
    assert re.search(r"@\S+ +dlq\.redrive ", run("audit").out)
