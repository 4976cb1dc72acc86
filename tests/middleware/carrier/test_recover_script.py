"""Recover: a message whose place was evicted runs all the same, and none that has a place gets a second one."""

import pytest
from carrier_world import LONG_MS, QUEUE, run_all, take

from middleware.brokers.redis.values import GateChange

pytestmark = pytest.mark.redis


@pytest.fixture
def evict(queue_client, keys):
    def evict(name: str) -> None:
        assert queue_client.delete(keys.of(QUEUE, name)) == 1

    return evict


class TestRecover:
    def test_nothing_is_there_to_recover(self, moves):
        assert moves.recover(QUEUE, ["ghost"]) == []
        assert moves.recover(QUEUE, []) == []

    def test_one_that_was_ready_is_ready_again_once(self, moves, put, evict):
        for id_ in "ab":
            put(id_, lane=id_, group="g", unique_key=f"k{id_}")
        evict("ready")

        assert moves.recover(QUEUE, ["a", "b", "a"]) == ["a", "b"]
        assert moves.recover(QUEUE, ["a", "b"]) == []
        assert run_all(moves) == ["a", "b"]
        assert moves.stats([QUEUE])[0].counters["recovered"] == 2

    def test_those_that_wait_behind_it_come_in_their_order(self, moves, put, evict):
        for id_ in "abc":
            put(id_, lane="l", group="g")
        evict("ready")

        assert moves.recover(QUEUE, ["a", "b", "c"]) == ["a"]
        assert run_all(moves) == ["a", "b", "c"]

    def test_while_others_are_ready_nobody_is_moved(self, moves, put, evict):
        put("a", lane="a")
        evict("ready")
        put("b", lane="b")

        assert moves.recover(QUEUE, ["a", "b"]) == []
        assert run_all(moves) == ["b"]
        assert moves.recover(QUEUE, ["a"]) == ["a"]

    def test_one_that_runs_is_left_to_its_worker(self, moves, put):
        put("a", lane="a", group="g")
        take(moves)

        assert moves.recover(QUEUE, ["a"]) == []

    def test_one_that_is_delayed_is_left_to_its_time(self, moves, put):
        put("a", lane="a", group="g", delay_ms=LONG_MS)

        assert moves.recover(QUEUE, ["a"]) == []

    def test_one_that_waits_for_its_group_is_left_to_its_gate(self, moves, put):
        moves.set_gate(QUEUE, "g", GateChange(paused=True))
        put("a", lane="a", group="g")

        assert moves.recover(QUEUE, ["a"]) == []

    def test_one_that_was_cancelled_stays_so(self, moves, put, evict):
        put("a", lane="a")
        moves.cancel(QUEUE, "a")
        evict("ready")

        assert moves.recover(QUEUE, ["a"]) == []
