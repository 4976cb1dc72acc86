"""Unique keys: at most one message has one, and it is free when that is over."""

import pytest
from carrier_world import CARE, LONG_MS, QUEUE, REMAINS, depths, existing, take

from middleware.outcomes import Dead, Done, Retry

pytestmark = pytest.mark.redis


class TestUniqueKeys:
    def test_a_live_unique_key_returns_the_message_that_has_it(self, moves, put):
        put("a", unique_key="k")
        second = moves.enqueue(QUEUE, "b", b"body", options={"unique_key": "k"})

        assert (second.state, second.id, second.body) == ("duplicate", "a", b"body of a")
        assert depths(moves) == (1, 0, 0, 0, 0)

    def test_a_unique_key_is_free_again_when_its_message_is_done(self, moves, put, queue_client, keys):
        put("a", unique_key="k")
        moves.finish(take(moves)[0].lease, Done(), body=b"last")

        assert not queue_client.exists(keys.of(QUEUE, "unique"))
        assert moves.enqueue(QUEUE, "b", b"body", options={"unique_key": "k"}).state == "new"

    @pytest.mark.parametrize("forget", ["announced", "discard"])
    def test_a_unique_key_of_a_dead_letter_is_free_once_somebody_knows_of_it(self, moves, put, forget):
        """Else a second send would start the life of a message anew that has just ended."""
        put("a", unique_key="k")
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")
        early = moves.enqueue(QUEUE, "b", b"body", options={"unique_key": "k"})
        getattr(moves, forget)(QUEUE, ["a"])

        assert (early.state, early.id, early.body) == ("duplicate", "a", b"last")
        assert moves.enqueue(QUEUE, "c", b"body", options={"unique_key": "k"}).state == "new"

    def test_a_unique_key_is_kept_through_a_retry(self, moves, put):
        put("a", unique_key="k")
        moves.finish(take(moves)[0].lease, Retry(LONG_MS, "transient"), body=b"next")

        assert moves.enqueue(QUEUE, "b", b"body", options={"unique_key": "k"}).state == "duplicate"


class TestUntilStart:
    def test_the_key_is_free_as_soon_as_it_starts(self, moves, put):
        put("a", unique_key="k", unique_until="start")
        assert put("b", unique_key="k").id == "a"
        take(moves)

        assert put("c", unique_key="k").state == "new"

    def test_its_end_does_not_free_the_key_of_the_one_after_it(self, moves, put):
        put("a", unique_key="k", unique_until="start")
        lease = take(moves)[0].lease
        put("b", unique_key="k")
        moves.finish(lease, Done(), body=b"")

        assert put("c", unique_key="k").id == "b"

    def test_a_retry_does_not_take_the_key_again(self, moves, put):
        put("a", unique_key="k", unique_until="start")
        moves.finish(take(moves)[0].lease, Retry(LONG_MS, "transient"), body=b"again")

        assert put("b", unique_key="k").state == "new"


class TestCoolingDown:
    """``unique_for``: the key stays taken for so long from the enqueue, also when its message is over."""

    @pytest.fixture
    def cooled(self, moves, put, queue_client, keys):
        """Lets the time of the key pass; the next enqueue, or ``tend``, finds that out."""

        def cooled() -> None:
            assert queue_client.zadd(keys.of(QUEUE, "cooling"), {"k": 1}, xx=True, ch=True) == 1

        return cooled

    def test_while_it_lives_its_body_is_returned_and_after_it_none(self, moves, put):
        put("a", unique_key="k", unique_for=LONG_MS)
        live = put("b", unique_key="k", unique_for=LONG_MS)
        moves.finish(take(moves)[0].lease, Done(), body=b"")
        over = put("c", unique_key="k", unique_for=LONG_MS)

        assert (live.state, live.id, live.body) == ("duplicate", "a", b"body of a")
        assert (over.state, over.id, over.body) == ("duplicate", "a", None)

    def test_it_is_free_when_the_time_is_over(self, moves, put, cooled):
        put("a", unique_key="k", unique_for=LONG_MS)
        moves.finish(take(moves)[0].lease, Done(), body=b"")
        cooled()

        assert put("b", unique_key="k").state == "new"

    def test_a_message_that_outlives_the_time_keeps_the_key(self, moves, put, cooled):
        put("a", unique_key="k", unique_for=LONG_MS)
        cooled()
        moves.tend([QUEUE], **CARE)

        assert put("b", unique_key="k").id == "a"
        moves.finish(take(moves)[0].lease, Done(), body=b"")
        assert put("c", unique_key="k").state == "new"

    def test_care_forgets_what_has_cooled_down(self, moves, put, cooled, queue_client, keys):
        put("a", unique_key="k", unique_for=LONG_MS)
        moves.finish(take(moves)[0].lease, Done(), body=b"")
        cooled()
        moves.tend([QUEUE], **CARE)

        assert existing(queue_client, keys) <= REMAINS

    def test_a_dead_letter_cools_down_too_once_it_is_announced(self, moves, put, cooled, queue_client, keys):
        put("a", unique_key="k", unique_for=LONG_MS)
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")
        unannounced = put("b", unique_key="k")
        moves.announced(QUEUE, ["a"])
        announced = put("c", unique_key="k")
        cooled()

        assert (unannounced.body, announced.state, announced.body) == (b"last", "duplicate", None)
        assert put("d", unique_key="k").state == "new"

    def test_the_time_of_a_dead_letter_that_nobody_knows_of_does_not_free_it(self, moves, put, cooled):
        put("a", unique_key="k", unique_for=LONG_MS)
        moves.finish(take(moves)[0].lease, Dead("given_up"), body=b"last")
        cooled()
        moves.tend([QUEUE], **CARE)

        assert put("b", unique_key="k").id == "a"
        moves.announced(QUEUE, ["a"])
        assert put("c", unique_key="k").state == "new"

    def test_one_that_is_unique_until_its_start_cools_down_as_well(self, moves, put):
        put("a", unique_key="k", unique_until="start", unique_for=LONG_MS)
        take(moves)

        assert put("b", unique_key="k").state == "duplicate"
