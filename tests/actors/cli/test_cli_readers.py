"""``stats``: the public shape, and what a person sees."""

import json

import pytest

import actors
from middleware.errors import ExitCode

pytestmark = pytest.mark.redis

DEPTHS = {
    *("ready", "delayed", "in_flight", "waiting_in_lane", "waiting_in_group", "dead"),
    *("oldest_ready_age_s", "oldest_dead_age_s", "next_due_in_s", "paused_for_s"),
}


def test_stats_have_the_public_shape(run, site):
    site.bury("m1")
    actors.send_message.send(site.say("m2"))
    actors.send_message.send(site.say("m3"))

    found = json.loads(run("stats", "--json").out)

    assert set(found) == {"queues", "instances", "workers"}
    assert set(found["queues"]) == site.broker.get_declared_queues()
    assert all(set(depths) == DEPTHS for depths in found["queues"].values())
    sends = found["queues"]["send_message"]
    assert (sends["dead"], sends["ready"], sends["waiting_in_lane"]) == (1, 1, 1)
    assert sends["oldest_ready_age_s"] >= 0
    assert (found["instances"], found["workers"]) == ({}, [])


def test_stats_show_the_workers_that_are_alive(run, site):
    site.sign_in("send_message", threads=3)

    assert json.loads(run("stats", "--json").out)["workers"] == [
        {
            "id": "worker-1",
            "host": "box",
            "pid": 7,
            "threads": 3,
            "queues": ["send_message"],
            "in_flight": 2,
            "rss_bytes": None,
            "started_at": "1970-01-01T00:00:01+00:00",
        }
    ]
    assert "worker-1" in run("stats").out


def test_stats_can_be_asked_for_one_queue(run, site):
    assert list(json.loads(run("stats", "--json", "-Q", "send_message").out)["queues"]) == ["send_message"]


def test_an_unknown_queue_is_refused_with_the_known_ones(run, site):
    ran = run("stats", "--queue", "sendmessage")

    assert ran.code == ExitCode.USAGE
    assert "no queue sendmessage; there are " in ran.err
    assert "send_message" in ran.err


def test_a_person_sees_a_table_and_that_nobody_works(run, site):
    actors.send_message.send(site.say("m1"))

    said = run("stats").out

    assert [line.split()[:2] for line in said.splitlines() if line.startswith("send_message")] == [
        ["send_message", "1"]
    ]
    assert "no worker is alive; start one with: chat-actors worker" in said


def test_a_redis_that_does_not_answer_is_said_with_its_code(run, site):
    from actors.settings import Hidden

    site.change(redis_url=Hidden("redis://127.0.0.1:1/0"))

    ran = run("stats")

    assert ran.code == ExitCode.UNAVAILABLE
    assert ran.err.startswith("chat-actors: the queue's Redis cannot be asked")
