"""The fetch that is sent with a wait: it takes no place that is another's, and what it brings is nobody's loss."""

from collections.abc import Iterator

import pytest
from carriage import QUEUE, SOON_MS, Carriage, Held
from lossy_redis import LossyRedis
from waiting import stays, until

from middleware.brokers.redis.values import Fetched, Lease, NewMessage

pytestmark = pytest.mark.redis


@pytest.fixture
def proxy(redis_server, queue_client) -> Iterator[LossyRedis]:
    with LossyRedis(redis_server.port, queue_client) as made:
        yield made


@pytest.fixture
def carried(redis_server, make_carriage, proxy) -> Carriage:
    """A process behind ``proxy``."""
    return make_carriage(url=redis_server.url(0).replace(f":{redis_server.port}/", f":{proxy.port}/"))


@pytest.fixture
def sender(make_carriage) -> Carriage:
    """Who sends and serves nothing."""
    return make_carriage()


def in_wait(carried: Carriage, proxy: LossyRedis) -> None:
    """Wait until it waits and has nothing else to ask, and end its rounds of care, which would find what rings no bell."""
    until(lambda: carried.broker.machinery.keeper.last_round_boot_ms, within_ms=SOON_MS)
    carried.broker.machinery.keeper.stop()
    counts = [-1]
    until(lambda: counts.append(proxy.seen("fetch")) or counts[-1] == counts[-2], within_ms=SOON_MS, poll_ms=200)
    until(lambda: carried.broker.machinery.in_flight.kept == 1, within_ms=SOON_MS)


def test_the_message_comes_with_the_wait(carried, sender, proxy):
    slow = Held()
    carried.plans["a"] = [slow]
    with carried.working():
        in_wait(carried, proxy)
        fetches = proxy.seen("fetch")
        sender.send("a")
        slow.wait_for_begin()
        (lease,) = sender.broker.transitions.leases(QUEUE)
        slow.go_on.set()
        carried.drained(done=1)

    assert (lease.owner, lease.fetcher) == (carried.broker.broker_id, f"{carried.broker.broker_id}+")
    assert proxy.seen("fetch") == fetches


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_more_is_in_hand_than_threads_can_run(carried, sender, threads):
    """Rounds of busy threads and the waiter fetch at the same time, and none knows what the other is being given."""
    most, in_flight = [], carried.broker.machinery.in_flight
    carried.each = lambda: most.append(len(in_flight))
    with carried.working(threads):
        for number in range(60):
            sender.send(*(f"m{number}.{one}" for one in range(number % 5 + 1)))
            if number % 3 == 0:
                until(lambda: sender.stats().unfinished == 0, within_ms=SOON_MS)
        carried.drained(done=180)

    carried.broker.close()
    assert max(most) <= threads
    assert (len(in_flight), in_flight.kept) == (0, 0)


def test_what_comes_due_gets_the_place_that_is_kept(carried, sender, proxy):
    """Its other place was filled while it waited, and no bell rings for what time brings."""
    in_flight, other = carried.broker.machinery.in_flight, Lease(QUEUE, "other", "somebody.1")
    with carried.working(threads=2):
        in_wait(carried, proxy)
        fetches = proxy.seen("fetch")
        sender.send("due", delay=1_500)
        until(lambda: proxy.seen("fetch") > fetches, within_ms=SOON_MS)
        in_wait(carried, proxy)
        in_flight.take([Fetched(other, 1, b"")], asked_boot_ms=0)
        assert (in_flight.kept, in_flight.room()) == (1, 0)
        # Before the wait is over, which lasts for five seconds.
        until(lambda: carried.ended == ["due"], within_ms=3_500)
        in_flight.drop([other])


def put_in(sender: Carriage, **delays_ms: int) -> None:
    """Enqueue messages by one call, which rings one bell."""
    broker = sender.broker
    new = [
        NewMessage(name, broker.encode(sender.message(name)), delay_ms=delay_ms) for name, delay_ms in delays_ms.items()
    ]
    broker.transitions.enqueue_many(QUEUE, new)


def test_a_time_that_is_told_beside_the_message_is_kept(carried, sender, proxy):
    """One bell for both: what comes due would lie until somebody looks for another reason."""
    with carried.working():
        in_wait(carried, proxy)
        put_in(sender, due=500, now=0)
        until(lambda: carried.ended == ["now", "due"], within_ms=SOON_MS)


def test_what_is_left_behind_the_message_is_fetched_together(carried, sender, proxy):
    slow = {f"m{number}": Held() for number in range(6)}
    carried.plans.update({name: [held] for name, held in slow.items()})
    with carried.working(threads=8):
        in_wait(carried, proxy)
        waits = proxy.seen("fetch_first")
        put_in(sender, **dict.fromkeys(slow, 0))
        for held in slow.values():
            held.wait_for_begin()
        asked = proxy.seen("fetch_first") - waits
        for held in slow.values():
            held.go_on.set()
        carried.drained(done=6)

    # One by one they would come with five more.
    assert asked <= 3


def test_a_server_that_forgot_its_scripts_is_taught_again(carried, sender, proxy, queue_client):
    with carried.working():
        in_wait(carried, proxy)
        for number in range(3):
            queue_client.script_flush()
            sender.send(f"m{number}")
            until(lambda number=number: len(carried.ended) == number + 1, within_ms=SOON_MS)

    assert carried.ended == ["m0", "m1", "m2"]
    assert carried.counter("disowned") == 0


def test_a_process_that_ends_keeps_nothing_that_came_with_its_wait(carried, sender, proxy):
    """Its last message runs for long: what comes meanwhile is for others, and uncounted."""
    slow = Held()
    carried.plans["slow"] = [slow]
    worker = carried.start(threads=3)
    sender.send("slow")
    slow.wait_for_begin()
    in_wait(carried, proxy)
    carried.broker.emit_before("worker_shutdown", worker)
    sender.send("a", "b")
    until(lambda: sender.stats().ready == 2, within_ms=SOON_MS)
    stays(lambda: sender.stats().ready == 2, for_ms=100)
    found = sender.broker.do_fetch(QUEUE, 5).messages
    slow.go_on.set()
    worker.stop(timeout=5_000)

    assert [(sender.broker.decode(one.body).args, one.deliveries) for one in found] == [(("a",), 1), (("b",), 1)]
    assert carried.began == ["slow"]


@pytest.mark.parametrize("ends_between", [False, True])
def test_what_comes_with_the_last_wait_is_given_back(carried, sender, proxy, queue_client, ends_between):
    """The end of the waiting thread ends its wait, and the fetch behind it is carried out."""
    worker = carried.start(threads=3)
    in_wait(carried, proxy)
    sender.send("a")
    waiter = carried.broker.machinery.waiter
    until(lambda: carried.ended == ["a"], within_ms=SOON_MS)
    now_ms = carried.broker.clock.boot_ms()
    if ends_between:
        waiter.again(QUEUE, 1_500)
    in_wait(carried, proxy)
    worker.stop(timeout=5_000)
    keys, id_ = carried.broker.machinery.keys, "no bell"
    queue_client.hset(keys.of(QUEUE, "messages"), id_, sender.broker.encode(sender.message("b")))
    queue_client.rpush(keys.of(QUEUE, "ready"), id_)
    if ends_between:
        # It learns of its end from its alarm, with the wait still asked.
        waiter._stopping.set()
        until(lambda: carried.broker.clock.boot_ms() > now_ms + 2_000, within_ms=SOON_MS)
    carried.broker.close()

    assert (sender.stats().ready, sender.stats().in_flight) == (1, 0)
    assert carried.ended == ["a"]
