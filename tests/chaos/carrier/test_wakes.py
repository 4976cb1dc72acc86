"""Work wakes who has a place for it, and nobody else: counted by the scripts that each process calls."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from carriage import QUEUE, SOON_MS, Carriage, Held
from lossy_redis import LossyRedis
from waiting import stays, until

pytestmark = pytest.mark.redis


@pytest.fixture
def processes(redis_server, queue_client, make_carriage) -> Iterator[list[tuple[Carriage, LossyRedis]]]:
    """Two carriers that stand for two processes, each behind a proxy of its own that counts what it asks for."""
    with ExitStack() as open_proxies:
        made = []
        for _ in range(2):
            proxy = open_proxies.enter_context(LossyRedis(redis_server.port, queue_client))
            url = redis_server.url(0).replace(f":{redis_server.port}/", f":{proxy.port}/")
            made.append((make_carriage(url=url), proxy))
        yield made


@pytest.fixture
def sender(make_carriage) -> Carriage:
    """Who sends and serves nothing."""
    return make_carriage()


def at_rest(processes: list[tuple[Carriage, LossyRedis]]) -> None:
    """Wait until both are idle, and end the rounds of care, which would find in time what nobody was woken for."""
    for carried, _ in processes:
        until(lambda carried=carried: carried.broker.machinery.keeper.last_round_boot_ms, within_ms=SOON_MS)
        carried.broker.machinery.keeper.stop()
    counts = [-1]
    until(lambda: counts.append(fetches(processes)) or counts[-1] == counts[-2], within_ms=SOON_MS, poll_ms=300)


def fetches(processes: list[tuple[Carriage, LossyRedis]]) -> int:
    return sum(asked(proxy) for _, proxy in processes)


def asked(proxy: LossyRedis) -> int:
    """How often a process asked for messages, with its wait or without."""
    return proxy.seen("fetch") + proxy.seen("fetch_first")


def test_one_message_wakes_one_of_two_idle_processes(processes, sender):
    with processes[0][0].working(), processes[1][0].working():
        at_rest(processes)
        until(lambda: all(one.broker.machinery.in_flight.kept for one, _ in processes), within_ms=SOON_MS)
        for number in range(10):
            before = [proxy.seen("fetch") for _, proxy in processes]
            sender.send(f"m{number}")
            until(lambda number=number: sender.counter("done") == number + 1, within_ms=SOON_MS)
            # It came with the wait of one. The other stays asleep, and who ran it does not look again either.
            stays(lambda before=before: [proxy.seen("fetch") for _, proxy in processes] == before, for_ms=30)


def test_a_full_process_leaves_the_work_to_one_that_has_a_place(processes, sender):
    (full, full_proxy), (idle, _) = processes
    slow = [Held(), Held()]
    with full.working(threads=2):
        for number, plan in enumerate(slow):
            full.plans[f"slow {number}"] = [plan]
            sender.send(f"slow {number}")
            plan.wait_for_begin()
        with idle.working(threads=2):
            at_rest(processes)
            before = asked(full_proxy)
            sender.send("quick")
            until(lambda: idle.began == ["quick"], within_ms=SOON_MS)
            took_none = asked(full_proxy) == before
        for plan in slow:
            plan.go_on.set()
        full.drained(done=3)

    assert took_none
    assert sorted(full.began) == ["slow 0", "slow 1"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_token_that_came_to_a_process_that_has_filled_up_meanwhile_is_passed_on(processes, sender, threads):
    """It waits for a token while it has a place, and by the time the token comes it has none: nobody may be left asleep.

    With two threads the message comes with the token, and is given back.
    """
    (filling, _), (idle, _) = processes
    with filling.working(threads=threads), idle.working(threads=1):
        at_rest(processes)
        filling.broker.machinery.in_flight.capacity = 0
        for number in range(5):
            sender.send(f"m{number}")
            until(lambda number=number: len(idle.began) == number + 1, within_ms=SOON_MS)

    assert (filling.began, len(idle.began)) == ([], 5)
    assert sender.broker.transitions.stats([QUEUE])[0].unfinished == 0
