"""``migrate-legacy --back-to``: the old consumers get every send that waits, once, and no id of ours."""

import json

import pytest
from contracts.store_world import first
from legacy_world import OldProduct

import actors
from actors import legacy_back
from actors.domain import AttemptState
from middleware.errors import ExitCode

pytestmark = pytest.mark.redis


@pytest.fixture
def old(redis_server, site):
    product = OldProduct(redis_server)
    yield product
    product.close()


def _in_list(old):
    return [json.loads(one)["message_id"] for one in old.lists.lrange("chat:queue:send_message", 0, -1)][::-1]


def _in_stream(old):
    return [fields[b"message_id"].decode() for _, fields in old.streams.xrange("chat:stream:send_message")]


@pytest.mark.parametrize(("way", "read"), [("list", _in_list), ("stream", _in_stream)])
def test_what_waits_goes_back_once_and_nothing_of_ours_stays(run, site, old, way, read):
    for number in range(3):
        actors.send_message.send(site.say(f"m{number}"))
    site.say("never-queued")
    site.say("s1", status="sent")
    actors.fetch_profile_pic.send("c-support")

    ran = run("migrate-legacy", "--back-to", way, "--yes")

    assert (ran.code, sorted(read(old))) == (ExitCode.OK, ["m0", "m1", "m2", "never-queued"])
    left = {key for key in old.lists.scan_iter("*") if old.lists.type(key) == b"hash" and b".msgs" in key}
    assert left == set()
    assert old.lists.exists("chat:queue:fetch_profile_pic") == 0
    again = run("migrate-legacy", "--back-to", way, "--yes")
    assert (again.code, len(read(old))) == (ExitCode.USAGE, 4)


def test_what_may_be_out_is_named_and_stays(run, site, old):
    for state in (AttemptState.UNKNOWN, AttemptState.RETRYABLE):
        site.store.settle(site.store.claim(first(site.say(state), now_ms=1, instance="support")), state)

    ran = run("migrate-legacy", "--back-to", "stream", "--yes")

    assert (ran.code, _in_stream(old)) == (ExitCode.FAILED, ["retryable"])
    assert "1 may be out already and were not given back: unknown" in ran.out


def test_it_refuses_beside_a_worker_and_without_a_word(run, site, old):
    actors.send_message.send(site.say("m1"))
    assert run("migrate-legacy", "--back-to", "stream").code == ExitCode.USAGE
    site.sign_in()

    ran = run("migrate-legacy", "--back-to", "stream", "--yes")

    assert (ran.code, _in_stream(old)) == (ExitCode.UNSAFE, [])
    assert "1 worker processes still run" in ran.err
    assert site.broker.transitions.stats(["send_message"])[0].unfinished == 1


@pytest.mark.parametrize(("way", "read"), [("list", _in_list), ("stream", _in_stream)])
def test_interrupted_and_run_again_it_gives_each_back_once(run, site, old, monkeypatch, way, read):
    monkeypatch.setattr(legacy_back, "SLICE", 2)
    ids = [site.say(f"m{number}") for number in range(5)]
    is_unsent = legacy_back._is_unsent

    def dies(work, message_id):
        if message_id == "m3":
            raise KeyboardInterrupt
        return is_unsent(work, message_id)

    monkeypatch.setattr(legacy_back, "_is_unsent", dies)
    assert run("migrate-legacy", "--back-to", way, "--yes").code == ExitCode.INTERRUPTED
    monkeypatch.setattr(legacy_back, "_is_unsent", is_unsent)

    assert run("migrate-legacy", "--back-to", way, "--yes").code == ExitCode.OK

    assert read(old) == ids


def test_there_and_back_and_there_again(run, site, old):
    old.push("send_message", {"message_id": site.say("m1")})

    for arguments in (["--yes"], ["--back-to", "list", "--yes"], ["--yes"]):
        assert run("migrate-legacy", *arguments).code == ExitCode.OK

    assert site.broker.transitions.stats(["send_message"])[0].unfinished == 1
    assert old.lists.exists("chat:legacy:send_message") == 0
