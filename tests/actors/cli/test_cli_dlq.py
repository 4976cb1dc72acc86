"""``dlq``: look at what was given up, send it again, delete it; nothing happens that nobody agreed to."""

import io
import json
import sys

import pytest

import actors
from actors.domain import MessageStatus
from middleware.errors import ExitCode
from middleware.letters import DeadLetters

pytestmark = pytest.mark.redis

PUBLIC = {
    *("id", "queue", "actor", "reason", "error", "attempts", "first_failed_at", "died_at", "kwargs", "instance", "lane")
}


def letters(site):
    return {letter.id for letter in DeadLetters(site.broker).newest()}


def ready(site):
    return site.broker.transitions.stats(["send_message"])[0].ready


def order(site, client):
    """Chat messages as their conversation will send them."""
    keys = site.broker.machinery.keys
    waiting = [member.split(b"\0")[2] for member in client.zrange(keys.of("send_message", "lane_waiting"), 0, -1)]
    bodies = client.hmget(
        keys.of("send_message", "messages"), client.lrange(keys.of("send_message", "ready"), 0, -1) + waiting
    )
    return [json.loads(body)["kwargs"]["message_id"] for body in bodies]


@pytest.fixture
def answer(monkeypatch):
    """Somebody sits at the terminal and answers."""

    def answer(text):
        terminal = io.StringIO(text + "\n")
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", terminal)

    return answer


def test_the_list_has_the_public_shape_newest_first(run, site):
    older = site.bury("m1")
    newer = site.bury("m2", "expired")

    found = json.loads(run("dlq", "list", "--json").out)

    assert [letter["id"] for letter in found] == [newer, older]
    assert all(set(letter) >= PUBLIC for letter in found)
    assert found[0]["kwargs"] == {"message_id": "m2"}
    assert (found[0]["reason"], found[0]["instance"], found[0]["lane"]) == ("expired", "support", "c-support")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--reason", "expired"], {"m2"}),
        (["--instance", "sales"], {"m3"}),
        (["--actor", "send_message"], {"m1", "m2", "m3"}),
        (["--actor", "fetch_profile_pic"], set()),
        (["--queue", "fetch_profile_pic"], set()),
        (["--reason", "not_found", "--instance", "support"], {"m1"}),
        (["--conversation", "c-sales"], {"m3"}),
        (["--arg", "message_id=m2"], {"m2"}),
        (["--arg", "message_id=m2", "--reason", "not_found"], set()),
        (["--text", "GONE"], {"m1", "m2", "m3"}),
        (["--text", "m3"], {"m3"}),
        (["--since", "1h"], {"m1", "m2", "m3"}),
        (["--until", "1h"], set()),
        (["--since", "2020-01-01", "--until", "2020-01-02T00:00+01:00"], set()),
    ],
)
def test_the_list_can_be_narrowed(run, site, options, expected):
    site.bury("m1")
    site.bury("m2", "expired")
    site.bury("m3", instance="sales")

    found = json.loads(run("dlq", "list", "--json", *options).out)

    assert {letter["kwargs"]["message_id"] for letter in found} == expected


def test_a_list_that_is_cut_says_so(run, site):
    site.bury("m1")
    newest = site.bury("m2")

    ran = run("dlq", "list", "-n", "1")

    assert newest in ran.out
    assert "… and more; see --limit" in ran.out
    assert "and more" not in run("dlq", "list", "-n", "2").out


def test_one_letter_is_found_by_its_id_and_by_its_job_id(run, site):
    letter_id = site.bury("m1")
    job_id = json.loads(run("dlq", "show", letter_id, "--json").out)["job_id"]

    assert json.loads(run("dlq", "show", job_id, "--json").out)["id"] == letter_id
    assert "reason:           not_found\n" in run("dlq", "show", letter_id).out


def test_a_letter_that_is_not_there_is_refused(run, site):
    ran = run("dlq", "show", "no-such-id")

    assert (ran.code, ran.err) == (
        ExitCode.USAGE,
        "chat-actors: no dead letter 'no-such-id'; see: chat-actors dlq list\n",
    )


def test_groups_count_what_is_alike(run, site):
    site.bury("m1")
    newest = site.bury("m2")
    site.bury("m3", "expired")

    [often, once] = json.loads(run("dlq", "groups", "--json").out)

    assert (often["count"], often["reason"], often["newest_id"]) == (2, "not_found", newest)
    assert (once["count"], once["reason"], once["actor"]) == (1, "expired", "send_message")
    assert often["first_died_at"] < often["last_died_at"] or often["first_died_at"] == often["last_died_at"]
    assert [one["count"] for one in json.loads(run("dlq", "groups", "--json", "-n", "1").out)] == [2]


def test_a_redrive_makes_the_row_pending_and_enqueues_it_again(run, site):
    letter_id = site.bury("m1")

    ran = run("dlq", "redrive", letter_id, "--yes")

    assert (ran.code, ran.out.splitlines()[-1]) == (ExitCode.OK, "1 sent again")
    assert site.store.message("m1").status == MessageStatus.PENDING
    assert (letters(site), ready(site)) == (set(), 1)


def test_a_redrive_of_many_keeps_the_order_of_their_conversation(run, site, queue_client):
    ids = [f"m{number}" for number in range(12)]
    # As if all had died within one millisecond.
    queue_client.zadd("chat:queue:send_message.dead", {site.bury(id_): 1_000 for id_ in ids}, xx=True)

    assert run("dlq", "redrive", "--all", "--yes").code == ExitCode.OK

    assert order(site, queue_client) == ids


def test_a_redrive_by_filter_takes_only_what_it_names(run, site):
    kept = site.bury("m1", "expired")
    site.bury("m2", "not_found")

    assert run("dlq", "redrive", "--reason", "not_found", "--yes").code == ExitCode.OK

    assert letters(site) == {kept}
    assert site.store.message("m1").status == MessageStatus.FAILED


@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_nothing_happens_where_nobody_can_be_asked(run, site, command):
    letter_id = site.bury("m1")

    ran = run("dlq", command, letter_id)

    assert ran.code == ExitCode.USAGE
    assert "say --yes if this is meant" in ran.err
    assert "not_found" in ran.out
    assert (letters(site), ready(site)) == ({letter_id}, 0)
    assert site.store.message("m1").status == MessageStatus.FAILED


def test_no_for_an_answer_does_nothing(run, site, answer):
    letter_id = site.bury("m1")
    answer("n")

    assert run("dlq", "redrive", letter_id).code == ExitCode.INTERRUPTED
    assert letters(site) == {letter_id}


def test_yes_for_an_answer_does_it(run, site, answer):
    letter_id = site.bury("m1")
    answer("y")

    assert run("dlq", "discard", letter_id).code == ExitCode.OK
    assert letters(site) == set()


@pytest.mark.parametrize("arguments", [[], ["--all", "--reason", "expired"], ["some-id", "--all"]])
def test_which_letters_are_meant_must_be_said_one_way(run, site, arguments):
    letter_id = site.bury("m1")

    ran = run("dlq", "discard", *arguments, "--yes")

    assert (ran.code, letters(site)) == (ExitCode.USAGE, {letter_id})


def test_what_may_have_been_delivered_is_sent_again_only_when_it_is_named(run, site):
    unknown, other = site.bury("m1", "delivery_unknown"), site.bury("m2")

    ran = run("dlq", "redrive", "--all", "--yes")

    assert "1 left out: they may have been delivered" in ran.out
    assert letters(site) == {unknown}
    assert site.store.message("m1").status == MessageStatus.FAILED
    assert other not in letters(site)

    assert run("dlq", "redrive", "--reason", "delivery_unknown", "--yes").code == ExitCode.OK
    assert letters(site) == set()


def test_a_letter_whose_message_is_being_sent_already_stays(run, site):
    letter_id = site.bury("m1")
    # Until it is announced, the letter itself is what a second send finds.
    site.broker.transitions.announced("send_message", [letter_id])
    site.broker.enqueue(actors.send_message.message("m1"))

    ran = run("dlq", "redrive", letter_id, "--yes")

    assert (ran.code, letters(site)) == (ExitCode.FAILED, {letter_id})
    assert "already being sent by a newer message" in ran.out


def test_a_discard_leaves_the_row_failed(run, site):
    site.bury("m1")

    ran = run("dlq", "discard", "--all", "--yes")

    assert (ran.code, ran.out.splitlines()[-1]) == (ExitCode.OK, "1 deleted")
    assert letters(site) == set()
    assert site.store.message("m1").status == MessageStatus.FAILED


def test_where_there_is_nothing_that_is_said(run, site):
    assert run("dlq", "list").out == "no dead letter\n"
    assert json.loads(run("dlq", "list", "--json").out) == []
    assert run("dlq", "groups").out == "no dead letter\n"
    assert (run("dlq", "redrive", "--all").code, run("dlq", "redrive", "--all").out) == (
        ExitCode.OK,
        "no dead letter matches\n",
    )


def test_what_went_to_somebody_else_holds_its_conversation_until_it_is_named(run, site):
    astray, other = site.bury("m1", "recipient_mismatch"), site.bury("m2")

    ran = run("dlq", "redrive", "--all", "--yes")

    assert "1 left out: they went to somebody else" in ran.out
    assert letters(site) == {astray}
    assert other not in letters(site)
    assert run("dlq", "redrive", astray, "--yes").code == ExitCode.OK
    assert letters(site) == set()
