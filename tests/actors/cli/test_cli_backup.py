"""``chat-actors backup``: a file is made, looked at and put back, and what disk or Redis refuse is said in words."""

import json
import os
import resource
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyrage
import pytest
import redis
from backup_site import filled
from backup_world import of_kind
from waiting import until

import actors
from middleware.brokers.redis.copies import Copies
from middleware.brokers.redis.embedded import EmbeddedRedis
from middleware.errors import ExitCode

__all__ = ["filled"]

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parents[3]
QUEUES = {"send_message", "fetch_profile_pic", "fetch_group_info", "watch_instance", "housekeeping"}


def ready(client: redis.Redis) -> tuple[int, int, int]:
    [stats] = actors.broker.transitions.stats(["send_message"])
    return stats.ready, stats.waiting_in_lane, stats.dead


def test_what_was_lost_is_put_back(run, filled, queue_client):
    made = run("backup", "create", str(filled), "--json")
    assert made.code == 0
    found = json.loads(made.out)
    assert (found["messages"], found["dead_letters"], found["way"]) == (3, 1, "slices")
    assert set(found["queues"]) == QUEUES
    queue_client.flushall()

    assert run("backup", "restore", str(filled), "--yes").code == 0
    assert ready(queue_client) == (1, 2, 1)

    again = run("backup", "restore", str(filled), "--yes", "--json")
    assert json.loads(again.out)["messages"] == {"known": 3}
    assert json.loads(again.out)["dead_letters"] == {"known": 1}
    assert ready(queue_client) == (1, 2, 1)


def test_it_says_what_it_did_and_asks_before_it_puts_anything_back(run, filled, queue_client):
    assert "b.jsonl.gz: 3 messages, 1 dead letters of 5 queues" in run("backup", "create", str(filled)).out
    checked = run("backup", "verify", str(filled))
    assert (checked.code, checked.out.splitlines()[0]) == (0, "b.jsonl.gz is whole")
    assert json.loads(run("backup", "verify", str(filled), "--json").out)["status"] == "ok"
    queue_client.flushall()

    asked = run("backup", "restore", str(filled))
    assert (asked.code, "--yes" in asked.err) == (ExitCode.USAGE, True)
    assert ready(queue_client) == (0, 0, 0)
    assert "3 messages put back" in run("backup", "restore", str(filled), "--yes").out


def test_only_its_owner_may_read_it_and_nothing_is_overwritten(run, filled):
    run("backup", "create", str(filled))
    before = filled.read_bytes()

    again = run("backup", "create", str(filled))

    assert (again.code, "file exists" in again.err) == (ExitCode.DISK, True)
    assert (filled.read_bytes(), filled.stat().st_mode & 0o777) == (before, 0o600)
    assert [path.name for path in filled.parent.iterdir()] == [filled.name]


def test_a_folder_gets_a_file_with_its_time_and_lists_it(run, site, filled, tmp_path):
    assert run("backup", "create").code == ExitCode.USAGE
    site.change(backup_dir=str(tmp_path))

    assert run("backup", "create").code == 0

    [listed] = json.loads(run("backup", "list", "--json").out)
    assert (tmp_path / listed["file"]).stat().st_size == listed["bytes"]
    assert listed["file"] in run("backup", "list", str(tmp_path)).out
    assert run("backup", "list", str(tmp_path / "nowhere")).code == ExitCode.USAGE


def test_a_backup_is_encrypted_for_whoever_holds_a_key(run, site, filled, queue_client, tmp_path):
    secret = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"# made for a test\n{secret}\n")
    (tmp_path / "other").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    site.change(backup_recipients=str(secret.to_public()))
    assert run("backup", "create", str(filled)).code == 0

    assert b"send_message" not in filled.read_bytes()
    without = run("backup", "verify", str(filled))
    assert (without.code, "--identity" in without.err) == (ExitCode.BAD_FILE, True)
    wrong = run("backup", "restore", str(filled), "-i", str(tmp_path / "other"), "--yes")
    assert (wrong.code, "made for another key" in wrong.err) == (ExitCode.BAD_FILE, True)
    queue_client.flushall()
    assert run("backup", "restore", str(filled), "-i", str(tmp_path / "key"), "--yes").code == 0
    assert ready(queue_client) == (1, 2, 1)


def test_a_key_that_is_none_is_refused_unquoted(run, filled, tmp_path):
    (tmp_path / "key").write_text("AGE-SECRET-KEY-1NOTAKEY\n")
    run("backup", "create", str(filled), "-r", str(pyrage.x25519.Identity.generate().to_public()))

    refused = run("backup", "verify", str(filled), "-i", str(tmp_path / "key"))

    assert (refused.code, "NOTAKEY" in refused.err) == (ExitCode.BAD_FILE, False)
    assert run("backup", "create", str(tmp_path / "x"), "-r", "nobody").code == ExitCode.BAD_FILE
    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_said_and_leaves_nothing_behind(site, filled, tmp_path):
    for number in range(300):
        actors.send_message.send(site.say(f"more{number}"))
    environ = {**os.environ, "REDIS_URL": site.settings.redis_url.get_secret_value(), "CHAT_STORE": "memory"}
    environ["PYTHONPATH"] = str(ROOT)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    ended = subprocess.run(
        [sys.executable, "-c", "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
         "from actors.cli import main; sys.exit(main(sys.argv[1:]))", "backup", "create", str(filled)],
        env=environ, preexec_fn=small_files, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert ended.returncode == ExitCode.DISK
    assert "cannot be written: file too large; no backup was made" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_stdout_that_is_full_is_said(run, filled, monkeypatch):
    with open("/dev/full", "wb") as full, monkeypatch.context() as patched:  # noqa: PTH123 - a device
        patched.setattr(sys, "stdout", type("Out", (), {"buffer": full, "flush": lambda self: None})())
        code = actors_main("backup", "create", "-")
        with pytest.raises(OSError, match="No space"):
            full.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert code == ExitCode.DISK


def actors_main(*arguments: str) -> int:
    from actors.cli import main

    return int(main(list(arguments)))


def test_two_restores_at_once_are_one_and_a_refusal(run, site, filled, queue_client):
    run("backup", "create", str(filled))
    queue_client.flushall()
    copies = Copies(site.broker.transitions.scripts)
    copies.begin("another")

    refused = run("backup", "restore", str(filled), "--yes")

    assert (refused.code, "another restore is under way" in refused.err) == (ExitCode.BUSY, True)
    assert ready(queue_client) == (0, 0, 0)
    copies.end("another")
    assert run("backup", "restore", str(filled), "--yes").code == 0


def test_json_is_json_whatever_happens(run, site, filled, tmp_path):
    run("backup", "create", str(filled))
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"x")
    Copies(site.broker.transitions.scripts).begin("another")
    failures = {
        ("create", str(filled)): ("backup_disk", ExitCode.DISK),
        ("create", str(tmp_path / "no" / "where")): ("backup_disk", ExitCode.DISK),
        ("verify", str(foreign)): ("backup_file", ExitCode.BAD_FILE),
        ("restore", str(foreign), "--yes"): ("backup_file", ExitCode.BAD_FILE),
        ("restore", str(filled), "--yes"): ("restore_under_way", ExitCode.BUSY),
        ("list", str(tmp_path / "nowhere")): ("usage", ExitCode.USAGE),
    }
    for command, (name, code) in failures.items():
        ended = run("backup", *command, "--json")
        assert (json.loads(ended.out)["error"]["code"], ended.code) == (name, code)


def test_a_redis_that_is_down_is_said(run, site, filled):
    run("backup", "create", str(filled))
    with EmbeddedRedis() as gone:
        url = gone.url(0)
    site.change(redis_url=type(site.settings.redis_url)(url))

    for command in (["create", f"{filled}.2"], ["restore", str(filled), "--yes"]):
        ended = run("backup", *command)
        assert (ended.code, "cannot be asked for its database" in ended.err) == (ExitCode.UNAVAILABLE, True)
    assert [path.name for path in filled.parent.iterdir()] == [filled.name]


def test_a_full_redis_is_copied_and_a_restore_into_it_goes_on_when_there_is_room(run, site, filled, queue_client):
    run("backup", "create", str(filled))
    queue_client.flushall()
    queue_client.config_set("maxmemory", 1)

    refused = run("backup", "restore", str(filled), "--yes")
    assert (refused.code, "Redis is full" in refused.err) == (ExitCode.UNAVAILABLE, True)
    assert run("backup", "create", f"{filled}.2").code == 0

    queue_client.config_set("maxmemory", 0)
    assert run("backup", "restore", str(filled), "--yes").code == 0
    assert ready(queue_client) == (1, 2, 1)


def test_a_replica_is_copied_and_not_restored_into(run, site, filled, redis_server, queue_client):
    run("backup", "create", str(filled))
    queue_client.config_set("repl-diskless-sync-delay", 0)
    options = {"replicaof": f"127.0.0.1 {redis_server.port}", "masterauth": redis_server.password}
    with EmbeddedRedis(options=options) as replica:
        with closing(replica.client(2)) as client:
            until(lambda: client.info("replication")["master_link_status"] == "up", within_ms=15_000)
        site.change(redis_url=type(site.settings.redis_url)(replica.url(0)))

        assert run("backup", "create", f"{filled}.2").code == 0
        refused = run("backup", "restore", str(filled), "--yes")

    assert (refused.code, "read-only replica" in refused.err) == (ExitCode.UNAVAILABLE, True)
    assert of_kind(filled, "message") == of_kind(filled.with_name(f"{filled.name}.2"), "message")


def test_a_snapshot_of_the_whole_redis_gives_its_queues(run, filled, queue_client, redis_server, tmp_path):
    queue_client.save()
    queue_client.flushall()

    made = run("backup", "create", str(filled), "--from-rdb", str(redis_server.directory / "dump.rdb"), "--json")

    found = json.loads(made.out)
    assert (found["messages"], found["dead_letters"], found["way"]) == (3, 1, "rdb")
    assert run("backup", "restore", str(filled), "--yes").code == 0
    assert ready(queue_client) == (1, 2, 1)
    (tmp_path / "no.rdb").write_bytes(b"REDIS no")
    assert run("backup", "create", f"{filled}.2", "--from-rdb", str(tmp_path / "no.rdb")).code == ExitCode.FAILED
