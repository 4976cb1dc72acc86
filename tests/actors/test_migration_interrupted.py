"""A move that is killed, raced or outlived by an old producer is made again: each entry still goes once."""

import itertools

import pytest
import redis
from legacy_world import picture
from migration_world import site

import actors
from actors import legacy_queues
from actors.legacy_queues import LEDGER
from actors.migration import Migration

__all__ = ["site"]

pytestmark = pytest.mark.redis


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("arrives", [True, False])
def test_killed_at_any_command_and_run_again_it_loses_and_doubles_nothing(site, monkeypatch, arrives):
    monkeypatch.setattr(legacy_queues, "SLICE", 2)
    for at in itertools.count(1):
        site.old.lists.flushall()
        ids = [f"k{at}-{number}" for number in range(5)]
        site.rows(*ids)
        site.rows(f"k{at}-sent", status="sent")
        names = [*ids[:3], f"k{at}-sent", f"k{at}-gone", ids[0]]
        site.old.push("send_message", *({"message_id": id_} for id_ in names))
        site.old.push("fetch_profile_pic", picture("c1"))
        for id_ in ids[2:]:
            site.old.add("send_message", {"message_id": id_})
        site.old.consume("send_message", count=1, acknowledge=False)

        with monkeypatch.context() as patched:
            was_killed = _run_killed(site, patched, at, arrives=arrives)
        # Whoever died took its connections along.
        for client in (site.old.lists, site.old.streams):
            client.connection_pool.disconnect()
        actors.broker.close()
        site.move()

        assert (site.queued(), site.queued("fetch_profile_pic")) == (ids, ["c1"])
        assert [one["ids"] for one in site.kept()] == [[f"k{at}-gone"]]
        ledger = site.old.lists.hgetall(LEDGER)
        assert ledger[b"send_message.taken"] == b"6"
        if not was_killed:
            break
    assert at > 30


def _run_killed(site, patched, at, *, arrives):
    counted = itertools.count(1)
    send = redis.connection.Connection.send_packed_command

    def sending(self, command, check_health=True):
        number = next(counted)
        if number > at:
            # What cleans up behind the dead.
            raise redis.ConnectionError("gone")
        if number < at or arrives:
            send(self, command, check_health)
        if number == at:
            assert not arrives or self.can_read(timeout=5)
            raise Killed

    patched.setattr(redis.connection.Connection, "send_packed_command", sending)
    try:
        site.move()
    except Killed:
        return True
    return False


def test_two_that_move_at_once_share_the_work(site, monkeypatch):
    site.rows("m1", "m2", "m3")
    site.old.push("send_message", *({"message_id": id_} for id_ in ("m1", "m2", "m3")))
    other = Migration(site.work, actors.broker)
    carry_out = Migration._carry_out
    raced = []

    def interrupted(self, queue, found):
        done = carry_out(self, queue, found)
        if not raced:
            raced.append(True)
            raced.append(dict(other.move(queue).outcomes))
        return done

    monkeypatch.setattr(Migration, "_carry_out", interrupted)

    assert site.move() == {"send_message": {}}
    # The first had sent them; the second met their unique keys and settled them.
    assert raced[1] == {"repeated": 3}
    assert site.queued() == ["m1", "m2", "m3"]


def test_an_old_producer_that_goes_on_is_moved_again(site):
    site.rows("m1", "m2")
    site.old.push("send_message", {"message_id": "m1"})
    site.move()
    site.old.push("send_message", {"message_id": "m2"})

    # The id of the first is in the same list by now, and goes back.
    assert site.move() == {"send_message": {"enqueued": 1, "own": 1}}
    assert site.queued() == ["m1", "m2"]
    assert site.old.lists.hget(LEDGER, "send_message.taken") == b"3"
