"""Every command on a Redis that is down, silent, read-only, full, or hides what it is: a clear sentence, a documented code,
JSON that parses, and nothing lost.
"""

import json
import re
import shutil
import time
from contextlib import ExitStack

import pytest
import typer
from deaf_servers import silent_server
from doctor_world import Patient
from waiting import until

import actors
from actors.cli.app import app
from middleware.errors import ExitCode

pytestmark = pytest.mark.redis

#: Command → arguments, in an order in which none takes from another what it needs. ``{letter}`` and ``{other}`` are dead
#: letters, ``{folder}`` is an empty one of the test's own, ``{backup}`` a backup of what is there, ``{letters}`` the letters of it. Each says yes to what it asks.
CALLS: dict[str, list[str]] = {
    "stats": [],
    "memory": [],
    "doctor": [],
    "audit": [],
    "migrate-legacy": ["--dry-run"],
    "instances": [],
    "dlq list": [],
    "dlq show": ["{letter}"],
    "dlq groups": [],
    "dlq export": ["{folder}/letters.jsonl"],
    "backup create": ["{folder}/queues.jsonl.gz"],
    "backup verify": ["{backup}"],
    "backup list": ["{folder}"],
    "backup restore": ["{backup}", "--yes"],
    "dlq import": ["{letters}", "--yes"],
    "dlq redrive": ["{letter}", "--yes"],
    "dlq discard": ["{other}", "--yes"],
    "instances park": ["support"],
    "instances release": ["support"],
    "pause": ["send_message"],
    "resume": ["send_message"],
    "cancel": ["m1", "--yes"],
}
#: They run until they are stopped, or need no Redis of ours.
OTHERS = {"worker", "demo", "sandbox", "sandbox check"}
#: What asks no Redis.
OFFLINE = {"backup list", "backup verify"}
#: What changes nothing.
READERS = {
    "backup create",
    "backup list",
    "backup verify",
    "stats",
    "memory",
    "doctor",
    "instances",
    "dlq list",
    "dlq show",
    "dlq groups",
    "dlq export",
    "audit",
    "migrate-legacy",
}


def _commands(command, path=()):
    if (
        path
        and getattr(command, "callback", None) is not None
        and (not hasattr(command, "commands") or command.invoke_without_command)
    ):
        yield " ".join(path), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))


def _takes_json(name):
    return any("--json" in option.opts for option in COMMANDS[name].params)


def test_every_command_is_tried():
    assert set(COMMANDS) == CALLS.keys() | OTHERS


@pytest.fixture
def patient(site):
    with ExitStack() as stack:
        yield Patient(site, stack)
        site.broker.close()


@pytest.fixture
def sick(run, patient, tmp_path, tmp_path_factory):
    """``sick(spoil)``: a product with two dead letters and a message that waits, on a server that is then spoilt.

    Returns the arguments of every command.
    """

    def sick(spoil):
        patient.serve(persist=False)
        words = {"letter": patient.site.bury("m0"), "other": patient.site.bury("m2"), "folder": tmp_path}
        patient.site.broker.enqueue(actors.send_message.message(patient.site.say("m1")))
        words["backup"] = tmp_path_factory.mktemp("backup") / "queues.jsonl.gz"
        assert run("backup", "create", str(words["backup"])).code == ExitCode.OK
        words["letters"] = words["backup"].with_name("letters.jsonl")
        assert run("dlq", "export", str(words["letters"])).code == ExitCode.OK
        spoil(patient)
        return {name: [*name.split(), *(one.format(**words) for one in CALLS[name])] for name in CALLS}

    return sick


def _down(patient):
    patient.server.kill()


def _read_only(patient):
    primary = patient.server
    patient.client().execute_command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    patient.serve(persist=False, replicaof=f"127.0.0.1 {primary.port}", masterauth=primary.password)
    client = patient.client()
    until(lambda: client.info("replication")["master_link_status"] == "up", within_ms=15_000)


def _full(patient):
    patient.client().config_set("maxmemory", 1_000_000)


def _hidden(patient):
    patient.client().execute_command(
        *("ACL", "SETUSER", "shy", "reset", "on", ">shy", "~*", "&*", "+@all"),
        *("-info", "-config", "-slowlog", "-memory", "-acl", "-latency", "-keys"),
    )
    patient.use(f"redis://shy:shy@127.0.0.1:{patient.server.port}/0")


def _no_rights(patient):
    patient.client().execute_command(
        "ACL", "SETUSER", "nobody", "reset", "on", ">shy", "+ping", "+hello", "+select", "+client"
    )
    patient.use(f"redis://nobody:shy@127.0.0.1:{patient.server.port}/0")


def _disk_full(patient):
    """It refuses every write (MISCONF), because its last snapshot failed."""
    client = patient.client()
    client.config_set("save", "3600 1")
    shutil.rmtree(patient.server.directory)
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", within_ms=10_000)


def _silent(patient):
    patient.behind(patient.stack.enter_context(silent_server()))


#: States in which Redis answers whoever only looks.
ANSWERING = {"read-only", "full", "disk full", "hidden"}
SICK = {
    "down": _down,
    "read-only": _read_only,
    "full": _full,
    "disk full": _disk_full,
    "hidden": _hidden,
    "no rights": _no_rights,
}


@pytest.mark.slow
def test_no_command_waits_for_ever_for_a_silent_server(run, sick):
    for name, call in sick(_silent).items():
        began_s = time.monotonic()

        ran = run(*call)

        assert time.monotonic() - began_s < 15, call
        _is_clear(ran)
        assert ran.code == ExitCode.UNAVAILABLE or name in OFFLINE, call


@pytest.mark.parametrize("state", SICK)
def test_every_command_says_what_is_wrong_and_its_json_parses(run, sick, patient, tmp_path, state):
    for name, call in sick(SICK[state]).items():
        before = _kept(patient, state)

        ran = run(*call)

        _is_clear(ran)
        if ran.code:
            assert _kept(patient, state) == before, f"{name} was refused and changed something"
            assert list(tmp_path.iterdir()) == [], "half a file"
        if state in ANSWERING and name in READERS - {"doctor"}:
            assert ran.code == ExitCode.OK, f"{name}: {ran.err}"
        if state not in ANSWERING and name not in OFFLINE:
            assert ran.code in (ExitCode.UNAVAILABLE, ExitCode.WRONG_DATABASE), name
        if _takes_json(name):
            _is_json(run(*call, "--json"), name)
        for file in tmp_path.iterdir():
            file.unlink()


def _kept(patient, state):
    """What lies in the queue, by counts."""
    if state == "down":
        return None
    keys, client = patient.site.broker.machinery.keys, patient.client(2)
    return [client.hlen(keys.of("send_message", key)) for key in ("messages", "bodies", "letters", "gates")]


def _is_json(ran, name):
    told = json.loads(ran.out)
    if ran.code and name != "doctor":
        assert set(told) == {"error"}
        assert set(told["error"]) == {"code", "exit_code", "message"}
        assert told["error"]["exit_code"] == ran.code
        assert told["error"]["message"] in ran.err


def _is_clear(ran):
    assert "Traceback" not in ran.err + ran.out
    assert "it failed with" not in ran.err, "an error that nobody foresaw"
    assert "redis://" not in ran.err
    if ran.code and ran.err:
        assert re.match(r"chat-actors: \S", ran.err)
    ExitCode(ran.code)


@pytest.mark.parametrize(
    "arguments",
    [
        ["stats", "--queue", "no-such-queue", "--json"],
        ["stats", "--json", "--no-such-option"],
        ["memory", "--json", "-n", "x"],
        ["no-such-command", "--json"],
        ["dlq", "show", "no-such-letter", "--json"],
    ],
)
def test_a_wrong_command_line_is_json_too(run, site, arguments):
    ran = run(*arguments)

    told = json.loads(ran.out)["error"]
    assert (told["code"], told["exit_code"], ran.code) == ("usage", 2, ExitCode.USAGE)
    assert told["message"]


def test_missing_settings_are_json_too(run, unset):
    ran = run("stats", "--json")

    told = json.loads(ran.out)["error"]
    assert (told["exit_code"], ran.code) == (64, ExitCode.SETTINGS)
    assert "REDIS_URL is not set" in told["message"]


def test_a_bug_is_json_too_and_quotes_nothing(run, site, monkeypatch):
    def break_():
        raise RuntimeError("a row with a secret in it")

    monkeypatch.setattr(site.broker, "get_declared_queues", break_)

    ran = run("stats", "--json")

    assert json.loads(ran.out)["error"] == {
        "code": "failed",
        "exit_code": 1,
        "message": "it failed with RuntimeError; run it again with --debug to see where",
    }
