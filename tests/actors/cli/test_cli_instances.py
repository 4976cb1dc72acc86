"""``chat-actors instances``, ``park`` and ``release``, and what ``stats`` says of the same."""

import json

import pytest

import actors
from actors import wiring
from actors.circuit import Cause, Failure, failed
from actors.domain import Instance
from actors.pace import Kind
from actors.stores.rows import InstanceRow
from middleware.brokers.redis.values import GateChange
from middleware.errors import ExitCode

pytestmark = pytest.mark.redis

SUPPORT = Instance(name="wire-1", aliases=("support",), tenant_id="t")


@pytest.fixture
def lines(site):
    """Two instances of two tenants; rows know the first one by another name."""
    site.store.add(
        InstanceRow(
            instance_name="support", evolution_instance_name="wire-1", tenant_id="t", api_key="k", api_url="http://x"
        ),
        InstanceRow(instance_name="sales", tenant_id="u", api_key="k", api_url="http://x"),
    )
    return site


def listed(run) -> dict:
    return {row["name"]: row for row in json.loads(run("instances", "--json").out)}


def stats(run) -> dict:
    return json.loads(run("stats", "--json").out)["instances"]


def break_down(now_ms: int = 1_000) -> None:
    failure = Failure(cause=Cause.SESSION_DOWN, code="connection_closed", tenant_id="t")
    wiring.traffic().change(SUPPORT, lambda now: failed(now, failure, now_ms=now_ms))


def test_every_instance_is_listed_with_its_pace(run, lines):
    found = listed(run)

    assert set(found) == {"wire-1", "sales"}
    assert (found["sales"]["state"], found["sales"]["tenant"], found["sales"]["gateway"]) == ("open", "u", "evolution")
    assert set(found["sales"]["pace"]) == {*Kind}
    assert found["sales"]["pace"]["bulk"]["per_day"] == 100


def test_an_instance_in_trouble_says_what_and_since_when_and_how_many_wait(run, lines):
    break_down()
    actors.send_message.send(lines.say("m1"))
    actors.send_message.send(lines.say("m2", instance="wire-1"), bulk=True)

    expected = {
        "state": "parked",
        "cause": "session_down",
        "code": "connection_closed",
        "since": "1970-01-01T00:00:01+00:00",
        "parked": 2,
    }
    row, standing = listed(run)["wire-1"], stats(run)
    assert {key: row[key] for key in expected} == expected
    assert {key: standing["wire-1"][key] for key in expected} == expected
    # Neither its other name nor its campaigns are instances of their own.
    assert set(standing) == {"wire-1"}
    assert {"send_message", "send_message/bulk", "fetch_profile_pic"} <= set(standing["wire-1"]["pace"])
    said = run("instances").out + run("stats").out
    assert said.count("session_down") == 2


@pytest.mark.parametrize("name", ["support", "wire-1"])
def test_an_operator_parks_and_releases_by_any_name(run, lines, name):
    assert run("instances", "park", name).out == "wire-1 is held; 0 wait or are under way\n"
    actors.send_message.send(lines.say("m1"))
    actors.send_message.send(lines.say("m2", instance="sales"))
    fetched = lines.broker.transitions.fetch("send_message", limit=9, lease_ms=1_000, owner="test").messages
    assert len(fetched) == 1
    assert (listed(run)["wire-1"]["state"], stats(run)["wire-1"]["cause"]) == ("held", "operator")

    assert run("instances", "release", name).out == "wire-1 is trying; 1 wait or are under way\n"
    fetched = lines.broker.transitions.fetch("send_message", limit=9, lease_ms=1_000, owner="test").messages
    assert len(fetched) == 1
    # Somebody looks after it from now on.
    assert lines.broker.transitions.stats(["watch_instance"])[0].ready == 1


def test_releasing_what_is_not_parked_changes_nothing(run, lines):
    assert run("instances", "release", "sales").out == "sales is open; 0 wait or are under way\n"
    assert lines.broker.transitions.stats(["watch_instance"])[0].ready == 0


@pytest.mark.parametrize("word", ["park", "release"])
def test_one_that_nobody_has_is_refused(run, lines, word):
    ran = run("instances", word, "ghost")

    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert ran.err == "chat-actors: no active instance is named 'ghost'; see chat-actors instances\n"


def test_of_two_with_one_name_the_tenant_must_be_said(run, lines):
    lines.store.add(InstanceRow(instance_name="sales", tenant_id="v", api_key="k", api_url="http://x"))

    ran = run("instances", "park", "sales")

    assert (ran.code, "of the tenants u, v; say --tenant" in ran.err) == (ExitCode.USAGE, True)
    assert run("instances", "park", "sales", "--tenant", "v").code == ExitCode.OK
    assert wiring.traffic().circuit("sales").tenant_id == "v"


def test_one_whose_row_is_gone_is_still_shown_and_can_be_let_go(run, lines):
    wiring.traffic().hold(Instance(name="old", tenant_id="t"))

    row = listed(run)["old"]
    assert (row["state"], row["tenant"], row["gateway"]) == ("held", "t", None)
    assert run("instances", "release", "old").code == ExitCode.OK


def test_a_pause_of_an_instance_holds_its_campaigns_and_its_other_names_too(run, lines):
    assert run("pause", "--instance", "wire-1").code == ExitCode.OK
    actors.send_message.send(lines.say("m1"))
    actors.send_message.send(lines.say("m2", instance="wire-1"), bulk=True)
    transitions = lines.broker.transitions

    assert transitions.fetch("send_message", limit=9, lease_ms=1_000, owner="test").messages == []
    assert (stats(run)["wire-1"]["state"], stats(run)["wire-1"]["parked"]) == ("paused", 2)
    run("resume", "--instance", "support")
    assert len(transitions.fetch("send_message", limit=9, lease_ms=1_000, owner="test").messages) == 2


def test_a_campaign_that_waits_for_its_next_time_does_not_make_its_instance_wait(run, lines):
    lines.broker.transitions.set_gate("send_message", "sales", GateChange(interval_ms=5))
    lines.broker.transitions.set_gate("send_message", "sales/bulk", GateChange(next_in_ms=600_000))

    found = stats(run)["sales"]
    assert found["state"] == "open"
    assert found["pace"]["send_message/bulk"]["next_in_ms"] > 500_000


def test_without_the_rows_depths_are_shown_all_the_same(run, site):
    site.change(store=None)
    from actors import services

    services.install(None)
    services._settings = site.settings
    site.broker.transitions.set_gate("send_message", "i1/bulk", GateChange(limit=0))

    assert stats(run)["i1"]["state"] == "parked"
    assert run("pause", "--instance", "i1").code == ExitCode.OK
