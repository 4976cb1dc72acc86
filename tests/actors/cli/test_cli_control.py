"""``chat-actors pause``, ``resume`` and ``cancel``."""

import json

import pytest

import actors
from actors.domain import MessageStatus
from middleware.errors import ExitCode

pytestmark = pytest.mark.redis

QUEUE = "send_message"


def handed_out(site) -> int:
    return len(site.broker.transitions.fetch(QUEUE, limit=10, lease_ms=1_000, owner="test").messages)


def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(run, site):
    actors.send_message.send(site.say("m1"))

    said = [run(word, QUEUE).out.strip() for word in ("pause", "pause")]
    assert said == ["paused send_message", "send_message was paused before"]
    assert handed_out(site) == 0
    assert json.loads(run("stats", "--json").out)["queues"][QUEUE]["paused_for_s"] >= 0
    assert "send_message (paused)" in run("stats").out

    assert run("resume", QUEUE).out.strip() == "resumed send_message"
    assert handed_out(site) == 1
    assert run("resume", QUEUE).out.strip() == "send_message was resumed before"


def test_a_paused_instance_holds_back_its_messages_and_no_others(run, site):
    actors.send_message.send(site.say("m1"))
    run("pause", "--instance", "support")
    actors.send_message.send(site.say("m2", instance="sales"))
    found = json.loads(run("stats", "--json").out)["instances"]

    assert found["support"]["state"] == "paused"
    assert handed_out(site) == 1
    assert json.loads(run("stats", "--json").out)["instances"]["support"]["parked"] == 1
    assert "support" in run("stats").out

    run("resume", QUEUE, "--instance", "support")
    assert handed_out(site) == 1


@pytest.mark.parametrize("word", ["pause", "resume"])
def test_what_shall_be_held_must_be_said_and_must_exist(run, site, word):
    nothing, unknown = run(word), run(word, "sendmessage")

    assert (nothing.code, unknown.code) == (ExitCode.USAGE, ExitCode.USAGE)
    assert "queues by name, or --instance" in nothing.err
    assert "no queue sendmessage; there are " in unknown.err


@pytest.mark.parametrize("waits_in", ["ready", "lane"])
def test_a_cancelled_chat_message_is_not_sent_and_its_row_says_why(run, site, waits_in):
    if waits_in == "lane":
        actors.send_message.send(site.say("before"))
    actors.send_message.send(site.say("m1"))

    ran = run("cancel", "m1", "--yes")

    assert (ran.code, ran.out.strip()) == (ExitCode.OK, "cancelled")
    assert site.store.message("m1").status == MessageStatus.FAILED
    assert handed_out(site) == (1 if waits_in == "lane" else 0)
    assert run("cancel", "m1", "--yes").code != ExitCode.OK


def test_what_a_worker_has_in_hand_is_not_cancelled(run, site):
    sent = actors.send_message.send(site.say("m1"))
    handed_out(site)

    ran = run("cancel", sent.options["redis_message_id"], "--yes")

    assert (ran.code, ran.out.strip()) == (ExitCode.FAILED, "a worker has it in hand")
    assert site.store.message("m1").status == "pending"


def test_a_message_that_nobody_knows_is_refused(run, site):
    ran = run("cancel", "ghost", "--yes")

    assert (ran.code, ran.err) == (ExitCode.USAGE, "chat-actors: no message waits with the id ghost\n")
