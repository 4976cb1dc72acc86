"""No worker starts over the old product's entries; other work of that product is only told of."""

import json
import logging
import subprocess
import sys

import pytest
from legacy_world import OldProduct, group, picture
from process_world import ROOT

import actors
from actors.legacy_guard import LegacyGuard
from actors.settings import Hidden
from middleware.errors import ExitCode, Refusal

pytestmark = pytest.mark.redis


@pytest.fixture
def old(redis_server, site):
    product = OldProduct(redis_server)
    yield product
    product.close()


def _boot():
    LegacyGuard().before_worker_boot(actors.broker, None)


@pytest.mark.parametrize("queue", ["send_message", "fetch_profile_pic", "fetch_group_info"])
def test_an_old_entry_under_a_queues_name_refuses(old, queue):
    old.push(queue, picture("c1"))

    with pytest.raises(Refusal, match=f"chat:queue:{queue}: .* run chat-actors migrate-legacy") as refused:
        _boot()

    assert refused.value.code == ExitCode.UNSAFE


def test_an_old_entry_among_our_ids_is_seen_from_either_end(old, site):
    for number in range(30):
        site.say(f"m{number}", instance=f"i{number}")
        actors.send_message.send(f"m{number}")
    old.push("send_message", {"message_id": "m1"})
    with pytest.raises(Refusal):
        _boot()

    old.lists.rpush("chat:queue:send_message", old.lists.lpop("chat:queue:send_message"))
    with pytest.raises(Refusal):
        _boot()


def test_our_own_ids_and_those_of_a_stock_producer_are_no_old_entries(old, site):
    actors.send_message.send(site.say("m1"))
    old.lists.rpush("chat:queue:fetch_profile_pic", "6f1c1f0e-0a51-4e55-9d0e-0a6f6f1c1f0e")

    _boot()


def test_a_key_that_is_no_list_refuses(old):
    old.lists.set("chat:queue:send_message", "x")

    with pytest.raises(Refusal):
        _boot()


def test_other_work_of_the_old_product_is_told_and_lets_us_start(old, caplog):
    old.push("edit_message", {"message_id": "m1", "new_content": "x"})
    old.dead("fetch_group_info", group("g1"))

    _boot()

    told = [(record.message, record.queue, record.levelno) for record in caplog.records]
    assert told == [
        ("legacy.other_work_found", "chat:queue:edit_message", logging.WARNING),
        ("legacy.other_work_found", "chat:queue:dead_letter", logging.WARNING),
    ]


def test_the_look_is_one_round_trip(old):
    def reads():
        return old.lists.info("stats")["total_reads_processed"]

    _boot()
    first = reads()
    of_asking = reads() - first

    first = reads()
    _boot()

    assert reads() - first - of_asking == 1


def test_without_redis_it_leaves_the_word_to_those_who_come_next(site):
    site.change(redis_url=Hidden("redis://127.0.0.1:1/0"))

    _boot()


@pytest.mark.parametrize("command", [["dramatiq", "actors"], ["actors.cli", "worker", "--processes", "1"]])
def test_a_worker_process_ends_with_the_code_that_says_unsafe(process_world, redis_server, command):
    old = OldProduct(redis_server)
    old.push("send_message", {"message_id": "m1"})
    arguments = ["-p", "1", "-t", "1"] if command[0] == "dramatiq" else []

    done = subprocess.run(
        [sys.executable, "-m", *command, *arguments],
        cwd=ROOT,
        env=process_world.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == ExitCode.UNSAFE
    assert b"chat:queue:send_message: another program's entries are in it" in done.stderr + done.stdout
    assert json.loads(old.lists.lindex("chat:queue:send_message", 0)) == {"message_id": "m1"}
    old.close()
