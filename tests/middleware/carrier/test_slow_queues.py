"""Messages of slow queues hold a share of the threads at most, and get every place of it."""

import threading
from dataclasses import replace

import dramatiq
import pytest
from broker_world import OPTIONS, working
from hypothesis import given
from hypothesis import strategies as st
from waiting import stays, until

from middleware.brokers.redis.shares import divided

SLOW = replace(OPTIONS, slow_queues=frozenset({"pictures", "infos"}))


class Desk:
    """Two slow actors that hold their thread until they are let go, and a quick one."""

    def __init__(self, broker) -> None:
        self.holding: list[str] = []
        self.done: list[str] = []
        self.let_go = threading.Semaphore(0)
        self.pictures, self.infos, self.quick = (
            dramatiq.actor(run, broker=broker, queue_name=name, actor_name=name)
            for name, run in (("pictures", self.hold), ("infos", self.hold), ("work", self.done.append))
        )

    def hold(self, word: str) -> None:
        self.holding.append(word)
        assert self.let_go.acquire(timeout=20)
        self.done.append(word)


@pytest.mark.redis
def test_slow_messages_of_two_queues_leave_the_other_threads_alone(make_broker):
    broker = make_broker(options=SLOW)
    desk = Desk(broker)
    with working(broker, threads=8):
        for number in range(4):
            desk.pictures.send(f"p{number}")
            desk.infos.send(f"i{number}")
        until(lambda: len(desk.holding) == 2, within_ms=5_000)
        for number in range(50):
            desk.quick.send(f"q{number}")
        until(lambda: len(desk.done) == 50, within_ms=5_000)
        stays(lambda: len(desk.holding) == 2, for_ms=100)
        for _ in range(8):
            desk.let_go.release()
        until(lambda: len(desk.done) == 58, within_ms=5_000)

    assert sorted(desk.holding) == sorted([*(f"p{n}" for n in range(4)), *(f"i{n}" for n in range(4))])


@pytest.mark.redis
def test_bells_of_slow_queues_are_heard_again_as_soon_as_a_place_is_free(make_broker):
    """While all slow places are taken their bells are for other processes."""
    broker = make_broker(options=SLOW)
    desk, waiter = Desk(broker), broker.machinery.waiter
    with working(broker, threads=4):
        desk.pictures.send("p0")
        until(lambda: desk.holding == ["p0"], within_ms=5_000)
        until(lambda: waiter.waits_for == {"work"}, within_ms=8_000)
        desk.let_go.release()
        # A block lasts longer.
        until(lambda: waiter.waits_for == {"work", "pictures", "infos"}, within_ms=3_000)


@pytest.mark.redis
def test_a_process_whose_slow_places_are_taken_leaves_the_bell_to_another(make_broker):
    first, second = make_broker(options=SLOW), make_broker(options=SLOW)
    desks = [Desk(first), Desk(second)]
    with working(first, threads=4), working(second, threads=4):
        for number in range(2):
            desks[0].pictures.send(f"p{number}")
        until(lambda: all(len(desk.holding) == 1 for desk in desks), within_ms=5_000)
        for desk in desks:
            desk.let_go.release()


QUEUES = st.lists(st.sampled_from("abcdef"), unique=True)


@given(
    wanted=QUEUES, slow=st.frozensets(st.sampled_from("abcdef")), room=st.integers(0, 70), slow_room=st.integers(0, 20)
)
def test_places_are_divided_without_one_too_many_and_without_one_left_over(wanted, slow, room, slow_room):
    shares = divided(dict.fromkeys(wanted, 1), room=room, slow_queues=slow, slow_room=slow_room)

    assert sum(shares.values()) <= room
    assert sum(share for name, share in shares.items() if name in slow) <= slow_room
    assert all(share > 0 for share in shares.values())
    if wanted and not slow & set(wanted):
        assert sum(shares.values()) == room


def test_without_a_bound_of_the_process_each_consumer_says_what_it_takes():
    assert divided({"a": 3, "b": 0, "c": 5}, room=None, slow_queues={"c"}, slow_room=2) == {"a": 3, "c": 2}
