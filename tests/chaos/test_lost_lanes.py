"""Redis lost one key and kept the others (eviction, a neighbour's DEL): no lane stands still for ever."""

import json

import pytest

import actors
from middleware.outcomes import Dead, Done

pytestmark = pytest.mark.redis

QUEUE = "send_message"
LANE = {"lane": "c1"}


@pytest.fixture
def moves(world):
    return actors.broker.transitions


@pytest.fixture
def lose(queue_client):
    def lose(kind: str) -> None:
        assert queue_client.delete(actors.broker.machinery.keys.of(QUEUE, kind)) == 1

    return lose


def taken(moves):
    fetch = moves.fetch(QUEUE, limit=10, lease_ms=60_000, owner="w")
    return [fetched.lease for fetched in fetch.messages]


def test_a_lane_is_not_held_by_a_message_that_is_gone(moves, lose):
    moves.enqueue(QUEUE, "gone", b"{}", options=LANE)
    lose("messages")
    moves.enqueue(QUEUE, "next", b"{}", options=LANE)

    assert [lease.id for lease in taken(moves)] == ["next"]


def test_a_cancelled_message_gives_up_its_lane(moves, queue_client):
    for id_ in ("cancelled", "next"):
        moves.enqueue(QUEUE, id_, b"{}", options=LANE)
    queue_client.hdel(actors.broker.machinery.keys.of(QUEUE, "messages"), "cancelled")

    assert [lease.id for lease in taken(moves)] == ["next"]


def test_who_waits_is_admitted_though_the_lanes_were_lost(moves, lose):
    for id_ in ("first", "second"):
        moves.enqueue(QUEUE, id_, b"{}", options=LANE)
    (first,) = taken(moves)
    lose("lanes")
    moves.finish(first, Done(), body=b"")

    assert [lease.id for lease in taken(moves)] == ["second"]


def test_evidence_that_redis_cannot_read_costs_the_evidence_and_not_the_message(world, moves):
    for id_ in ("first", "second"):
        moves.enqueue(QUEUE, id_, b"{}", options=LANE)
    (first,) = taken(moves)
    # Half a surrogate pair: JSON to Python, an error to Redis.
    assert json.loads(json.dumps("\ud800")) == "\ud800"

    assert moves.finish(first, Dead("x", {"error": "\ud800"}), body=b"{}")

    assert [letter.reason for letter in world.letters()] == ["x"]
    assert [lease.id for lease in taken(moves)] == ["second"]
