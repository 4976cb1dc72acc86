"""Leases: given back, prolonged, disowned."""

import pytest
from carrier_world import (
    CARE,
    LONG_MS,
    QUEUE,
    depths,
    existing,
    expire,
    gate,
    gate_of,
    ids,
    take,
)

from middleware.brokers.redis.values import Lease
from middleware.outcomes import Done

pytestmark = pytest.mark.redis


class TestRelease:
    def test_messages_come_back_to_the_head_in_their_order(self, moves, put):
        for id_ in "abcd":
            put(id_)
        leases = [one.lease for one in take(moves, 3)]

        assert moves.release(QUEUE, leases, started=False) == 3
        assert ids(take(moves)) == ["a", "b", "c", "d"]

    @pytest.mark.parametrize(("started", "deliveries"), [(False, 1), (True, 2)])
    def test_only_a_message_that_ran_counts_as_delivered(self, moves, put, started, deliveries):
        put("a")
        moves.release(QUEUE, [take(moves)[0].lease], started=started)

        assert take(moves)[0].deliveries == deliveries

    def test_somebody_elses_lease_is_left_alone(self, moves, put):
        put("a")
        take(moves)

        assert moves.release(QUEUE, [Lease(QUEUE, "a", "w9.9")], started=True) == 0
        assert depths(moves) == (0, 0, 1, 0, 0)


class TestRenew:
    def test_a_renewed_lease_is_not_reclaimed(self, moves, put, queue_client, keys):
        put("a")
        lease = take(moves)[0].lease
        expire(queue_client, keys, "a")

        assert moves.renew(QUEUE, [lease], lease_ms=LONG_MS) == set()
        assert moves.tend([QUEUE], **CARE)[0].reclaimed == 0

    def test_a_lost_lease_is_named_and_not_prolonged(self, moves, put):
        put("a")
        take(moves)

        assert moves.renew(QUEUE, [Lease(QUEUE, "a", "w9.9"), Lease(QUEUE, "ghost", "w9.1")], lease_ms=1) == {
            "a",
            "ghost",
        }


class TestDisown:
    def test_what_a_lost_reply_handed_out_comes_back_uncounted(self, moves, put):
        for id_ in "abc":
            put(id_, group="g")
        kept = take(moves, 1)[0].lease
        take(moves, 1)

        assert moves.disown(QUEUE, owner="w1", in_hand=[kept]) == 1
        again = take(moves)
        assert (ids(again), again[0].deliveries) == (["b", "c"], 1)
        assert depths(moves) == (0, 0, 3, 0, 0)

    def test_it_gives_up_the_running_place_in_its_group(self, moves, put):
        gate(moves, "g", limit=1)
        put("a", group="g")
        take(moves)
        moves.disown(QUEUE, owner="w1", in_hand=[])

        assert (gate_of(moves, "g").admitted, gate_of(moves, "g").running) == (1, 0)

    def test_nothing_to_disown_is_fine_and_so_is_a_repeat(self, moves, put):
        put("a")
        take(moves)

        assert [moves.disown(QUEUE, owner="w1", in_hand=[]) for _ in range(2)] == [1, 0]
        assert moves.disown("nothing", owner="w1", in_hand=[]) == 0

    @pytest.mark.parametrize("other", ["w", "w11", "w1.1", "w1+", ""])
    def test_what_others_hold_is_left_alone(self, moves, put, other):
        put("a")
        lease = moves.fetch(QUEUE, limit=1, lease_ms=LONG_MS, owner=other).messages[0].lease

        assert moves.disown(QUEUE, owner="w1", in_hand=[]) == 0
        assert moves.finish(lease, Done(), body=b"")

    def test_what_came_with_a_wait_is_disowned_alone(self, moves, put):
        for id_ in "ab":
            put(id_)
        _, first = moves.fetch_first([QUEUE], lease_ms=LONG_MS, owner="w1+")
        in_hand = take(moves, 1)[0].lease

        assert moves.disown(QUEUE, owner="w1+", in_hand=[]) == 1
        assert moves.finish(in_hand, Done(), body=b"")
        assert not moves.finish(first.messages[0].lease, Done(), body=b"")


class TestAdopt:
    @pytest.fixture
    def hands(self, keys):
        return keys.stock_hands("gone", QUEUE)

    def test_what_a_stock_worker_had_in_hand_comes_back(self, moves, queue_client, keys, hands):
        queue_client.sadd(hands, "a", "without a body")
        queue_client.hset(keys.of(QUEUE, "messages"), "a", b"body")

        assert (moves.adopt(QUEUE, "gone"), moves.adopt(QUEUE, "gone")) == (1, 0)
        assert ids(take(moves)) == ["a"]
        assert not queue_client.exists(hands)

    def test_nothing_in_hand_is_fine(self, moves, queue_client, keys):
        assert moves.adopt(QUEUE, "nobody") == 0
        assert existing(queue_client, keys) == set()

    def test_another_workers_hands_are_left_alone(self, moves, queue_client, keys):
        other = keys.stock_hands("other", QUEUE)
        queue_client.sadd(other, "a")
        moves.adopt(QUEUE, "gone")

        assert queue_client.exists(other)
