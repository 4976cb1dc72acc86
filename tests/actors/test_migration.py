"""What the old product left is moved or kept, each entry as its row says, and nothing secret stays."""

import json
import logging

import pytest
from contracts.store_world import first
from legacy_world import JID, PHONE, OldProduct, everything, group, leaks, picture
from migration_world import site

import actors
from actors.domain import AttemptState
from actors.legacy_queues import DEAD, LEDGER
from actors.legacy_search import find
from actors.migration import Migration

__all__ = ["site"]

pytestmark = pytest.mark.redis


def test_what_still_waits_is_sent_and_the_rest_is_told_apart(site):
    site.rows("m1", "m2")
    site.rows("s1", status="sent", message_id="P1")
    site.rows("f1", status="failed")
    site.old.push("send_message", *({"message_id": id_} for id_ in ("m1", "s1", "m2", "f1", "gone", "m1")))
    site.old.push("fetch_profile_pic", picture("c1"), picture("c1"), picture("nobody"))
    site.old.push("fetch_group_info", group("g1"), group("g1", group_jid=None))

    moved = site.move()

    assert moved == {
        "send_message": {"enqueued": 2, "repeated": 1, "ended": 2, "aside": 1},
        "fetch_profile_pic": {"enqueued": 1, "repeated": 1, "aside": 1},
        "fetch_group_info": {"enqueued": 1, "repeated": 1},
    }
    assert (site.queued(), site.queued("fetch_profile_pic"), site.queued("fetch_group_info")) == (
        ["m1", "m2"],
        ["c1"],
        ["g1"],
    )
    assert sorted((one["operation"], *one["ids"], one["why"]) for one in site.kept()) == [
        ("fetch_profile_pic", "nobody", "no_row"),
        ("send_message", "gone", "no_row"),
    ]
    assert site.move() == {}


def test_the_oldest_is_sent_first(site):
    ids = [f"m{number}" for number in range(4)]
    site.rows(*ids)
    site.old.push("send_message", *({"message_id": id_} for id_ in ids))

    site.move()

    first_out = actors.broker.transitions.fetch("send_message", limit=9, lease_ms=1_000, owner="test").messages
    assert [json.loads(one.body)["kwargs"]["message_id"] for one in first_out] == ["m0"]


def test_a_message_carries_its_place_and_its_fallback(site):
    site.rows("m1")
    site.old.push("send_message", {"message_id": "m1", "extra": {"use_fallback": True}})

    site.move()

    (fetched,) = actors.broker.transitions.fetch("send_message", limit=1, lease_ms=1_000, owner="test").messages
    assert json.loads(fetched.body)["kwargs"] == {"message_id": "m1", "use_fallback": True}
    assert (fetched.routing.lane, fetched.routing.unique_key) == ("c0", "m1")
    assert site.store.options_of(["m1"])["m1"].use_fallback


def test_of_a_stream_what_is_owed_and_what_nobody_was_given_is_moved(site):
    site.rows(*(f"m{number}" for number in range(7)))
    add = lambda number: site.old.add("send_message", {"message_id": f"m{number}"})  # noqa: E731
    add(0)
    site.old.consume("send_message", count=1, acknowledge=True)
    add(1)
    site.old.consume("send_message", count=1, acknowledge=False)
    [trimmed] = add(2)
    site.old.consume("send_message", count=1, acknowledge=False)
    site.old.streams.xdel("chat:stream:send_message", trimmed)
    add(3)
    site.old.add("send_message", {"message_ids": ["m4", "m5", "nobody"]})

    preview = site.preview()
    moved = site.move()

    assert preview == {"stream:send_message": {"enqueued": 3, "trimmed": 1}}
    assert moved == {"stream:send_message": {"enqueued": 3, "trimmed": 1, "finished": 1}}
    # m0 was acknowledged, m2 was trimmed: their rows say what becomes of them, not the stream.
    assert site.queued() == ["m1", "m3", "m4", "m5"]
    assert site.old.streams.exists("chat:stream:send_message", "chat:legacy:stream:send_message") == 0


def test_a_stream_without_a_group_was_read_by_nobody(site):
    site.rows("m1")
    site.old.add("send_message", {"message_id": "m1"})

    assert site.move() == {"stream:send_message": {"enqueued": 1}}
    assert site.queued() == ["m1"]


def test_a_row_with_the_providers_id_was_sent_and_is_not_sent_again(site):
    site.rows("m1", message_id="P1")
    site.old.push("send_message", {"message_id": "m1"})
    assert site.preview() == {"send_message": {"ended": 1}}

    moved = site.move()

    assert moved == {"send_message": {"ended": 1}}
    assert site.queued() == []
    row = site.store.message("m1")
    assert (row.status, row.message_id) == ("sent", "P1")


def test_a_row_that_was_tried_from_here_is_left_to_its_attempts(site):
    site.rows("m1", message_id="P1")
    site.store.settle(site.store.claim(first("m1", now_ms=1, instance="support")), AttemptState.UNKNOWN)

    assert Migration(site.work, actors.broker).adopt_sent(dry_run=False) == 0
    assert site.store.message("m1").status == "pending"


def test_a_preview_changes_nothing_and_says_what_the_move_does(site):
    site.rows("m1", "m2")
    site.rows("s1", status="delivered")
    site.old.push("send_message", *({"message_id": id_} for id_ in ("m1", "s1", "m2", "gone")), b"{broken")
    site.old.dead("send_message", {"message_id": "m2"})
    before = everything(site.server)

    preview = site.preview()

    assert everything(site.server) == before
    assert preview == site.move()


def test_ids_of_this_project_in_the_same_list_go_back_in_their_order(site):
    site.rows("m1", "m2", "new1", "new2", "new3")
    for number, id_ in enumerate(("new1", "new2", "new3")):
        site.rows(id_, conversation_id=f"c{number}")
        actors.send_message.send(id_)
    ours = site.old.lists.lrange("chat:queue:send_message", 0, -1)
    site.old.push("send_message", {"message_id": "m1"}, {"message_id": "m2"})

    moved = site.move()

    assert moved == {"send_message": {"enqueued": 2, "own": 3}}
    assert site.queued() == ["m1", "m2", "new1", "new2", "new3"]
    left = site.old.lists.lrange("chat:queue:send_message", 0, -1)
    assert [id_ for id_ in left if id_ in ours] == ours
    assert site.old.lists.exists("chat:legacy:send_message") == 0


def test_a_list_of_ids_alone_is_nobodys_but_ours(site):
    site.rows("m1")
    actors.send_message.send("m1")

    assert site.queues() == []


def test_old_dead_letters_are_kept_by_id_and_sent_when_it_is_asked_for(site):
    site.rows("m1")
    site.rows("f1", status="failed")
    site.old.dead("send_message", {"message_id": "m1"})
    site.old.dead("send_message", {"message_id": "f1"})
    site.old.dead("fetch_group_info", group("g1"))

    assert site.move() == {"dead_letter": {"kept": 3}}
    assert site.queued() == []
    assert [(one["operation"], one["ids"]) for one in site.kept(DEAD)] == [
        ("send_message", ["m1"]),
        ("send_message", ["f1"]),
        ("fetch_group_info", ["g1"]),
    ]
    assert leaks(everything(site.server)) == []

    assert site.move(sends_dead=True) == {"dead_again": {"enqueued": 2, "ended": 1}}
    assert (site.queued(), site.queued("fetch_group_info")) == (["m1"], ["g1"])
    assert site.kept(DEAD) == []


def test_other_work_is_found_and_left(site):
    site.old.push("edit_message", {"message_id": "m1", "new_content": "x", "edited_by_id": 1})
    site.old.add("mark_as_read", {"conversation_id": "c1", "message_id": "m1"})
    before = everything(site.server)

    assert site.move() == {}
    assert sorted(queue.key for queue in site.queues()) == ["chat:queue:edit_message", "chat:stream:mark_as_read"]
    assert everything(site.server) == before


def test_the_old_lists_are_found_in_the_caches_database_too(site, redis_server):
    old = OldProduct(redis_server, list_db=0)
    site.rows("m1")
    old.push("send_message", {"message_id": "m1"})
    old.lists.set("cache:1:page", "x")

    (queue,) = find(old.lists, 0)
    Migration(site.work, actors.broker).move(queue)

    assert site.queued() == ["m1"]
    assert set(old.lists.scan_iter("*")) == {b"cache:1:page", LEDGER.encode()}
    old.close()


def test_nothing_secret_stays_in_redis_or_reaches_the_log(site, caplog):
    caplog.set_level(logging.DEBUG)
    site.rows("m1")
    site.old.push("fetch_profile_pic", picture("c1"), picture("nobody"), picture(PHONE), picture(PHONE[1:]))
    site.old.push("fetch_group_info", group("g1"), group(JID), json.dumps(group("c1")).encode()[:-7])
    site.old.push("fetch_profile_pic", {"tenant_id": "t", "phone": PHONE, "profile_url": "https://x/y"})
    site.old.dead("fetch_group_info", group("g1"))
    site.old.add("send_message", {"message_id": "m1", "phone": PHONE})
    assert len(leaks(everything(site.server))) == 6

    site.move()

    assert leaks(everything(site.server)) == []
    assert leaks(caplog.text) == []
    assert len(site.kept()) == 6
