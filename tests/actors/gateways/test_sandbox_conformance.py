"""The contract file, asked of the sandbox; and that asking could fail, and sends nothing where it should not."""

import json

import pytest
from sandbox_fixture import Sandbox, sandbox

from actors.cli import main
from actors.gateways.sandbox import conformance
from actors.gateways.sandbox.admin_client import SandboxAdmin
from actors.gateways.sandbox.conformance import Target, check, differences, load
from actors.gateways.sandbox.server import SandboxServer

__all__ = ["sandbox"]

pytestmark = pytest.mark.contract

NUMBER = "5511988887777"


@pytest.fixture(scope="module")
def findings():
    with SandboxServer() as server, SandboxAdmin(server.url, server.admin_token) as admin:
        return {one.name: one for one in check(Target(server.url, "i1", server.apikey, NUMBER, admin))}


@pytest.mark.parametrize("name", [case["name"] for case in load()])
def test_the_sandbox_answers_as_evolution_does(findings, name):
    assert findings[name].differences == ()


def test_every_operation_is_asked_and_every_case_has_a_source():
    paths = {"/".join(case["path"].lower().split("?")[0].split("/")[1:3]) for case in load()}

    assert paths >= {
        "",
        "instance/connectionstate",
        "instance/fetchinstances",
        "message/sendtext",
        "message/sendmedia",
        "message/sendwhatsappaudio",
        "chat/fetchprofilepictureurl",
        "chat/markmessageasread",
        "chat/updatemessage",
        "chat/whatsappnumbers",
        "chat/findmessages",
        "chat/findstatusmessage",
        "group/findgroupinfos",
    }
    assert {case["source"] for case in load()} == {"executed", "routed", "stated"}
    assert sum(case["source"] == "executed" for case in load()) > 130


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {"a": 0}),
        ([1, 2], [1]),
        ([{"a": 1}], [{"a": "1"}]),
        ({"$re": "3EB0.*"}, "BAE5"),
        ({"$re": "3EB0"}, "3EB01"),
        ({"$type": "integer"}, "1"),
        ("x", None),
        ([], {}),
    ],
)
def test_an_answer_that_differs_is_seen(wanted, found):
    assert len(differences({"in": wanted}, {"in": found})) == 1


@pytest.mark.parametrize(("wanted", "found"), [({"$re": "3EB0[0-9]"}, "3EB01"), ({"$type": "integer"}, 7), ([1], [1])])
def test_an_answer_that_does_not_differ_is_not(wanted, found):
    assert differences(wanted, found) == []


def test_a_drift_of_the_sandbox_is_found(monkeypatch):
    monkeypatch.setattr("actors.gateways.sandbox.lookups.CLOSED", "Connection Open")
    with SandboxServer() as server, SandboxAdmin(server.url, server.admin_token) as admin:
        wrong = [one for one in check(Target(server.url, "i1", server.apikey, NUMBER, admin)) if one.differences]

    assert [one.name for one in wrong] == ["closed: a group", "closed: numbers"]
    assert "Connection Open" in wrong[0].differences[0]


def test_a_server_without_our_fixtures_is_sent_nothing(sandbox: Sandbox):
    asked = list(check(Target(sandbox.url, "i1", sandbox.apikey)))

    assert sandbox.admin.deliveries() == []
    assert len(asked) > 100
    assert [one for one in asked if one.differences] == []


def test_a_server_is_sent_to_the_number_that_was_given_only(sandbox: Sandbox):
    asked = list(check(Target(sandbox.url, "i1", sandbox.apikey, "5511900000000")))

    assert [one for one in asked if one.differences] == []
    assert {one["requested_number"] for one in sandbox.admin.deliveries()} == {"5511900000000"}


def run(capsys, *arguments):
    code = main(["sandbox", "check", *arguments])
    told = capsys.readouterr()
    return int(code or 0), told.out, told.err


def test_the_command_asks_a_sandbox_of_its_own(capsys):
    code, out, _ = run(capsys)

    assert (code, out) == (0, f"{len(load())} of {len(load())} answers are those of Evolution 2.3.6\n")


def test_the_command_asks_a_sandbox_that_runs(capsys, sandbox):
    code, out, _ = run(capsys, "--url", sandbox.url, "--admin-token", sandbox.server.admin_token, "--json")

    told = json.loads(out)
    assert (code, told["passed"], told["failed"], told["not_asked"]) == (0, len(load()), [], 0)


def test_the_command_says_what_differs_and_fails(capsys, sandbox):
    sandbox.admin.delete_instance("i1")

    code, out, _ = run(capsys, "--url", sandbox.url)

    assert code == 1
    assert "text: no number (executed)\n  status is 404, not 400\n" in out
    assert "were not asked" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--url", "https://evolution.example"], 2, "say --allow-remote"),
        (["--url", "https://evolution.example", "--send-to", NUMBER], 2, "say --allow-remote"),
        (["--url", "https://evolution.example", "--allow-remote", "--admin-token", "t"], 2, "on this machine"),
        (["--url", "file:///etc"], 2, "must begin with http"),
        (["--url", "http://127.0.0.1:1"], 69, "is it running"),
    ],
)
def test_the_command_refuses_what_it_should_not_ask(capsys, monkeypatch, arguments, code, said):
    asked = []
    monkeypatch.setattr(conformance, "_ask", lambda *_: asked.append(1))
    if code == 69:
        monkeypatch.undo()

    got, _, err = run(capsys, *arguments)

    assert (got, asked) == (code, [])
    assert said in err
