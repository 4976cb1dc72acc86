"""A backup of queues that never stand still: what lives all the time is in it, once, with all that belongs to it."""

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import redis
from backup_world import Vault, of_kind
from carrier_world import LONG_MS, MEMORY, QUEUE, gate

from middleware.brokers.redis.keys import Keys
from middleware.brokers.redis.scripts import Scripts
from middleware.brokers.redis.transitions import Settlement, Transitions
from middleware.brokers.redis.values import NewMessage, Routing
from middleware.outcomes import Dead, Done, PutBack, Retry

pytestmark = pytest.mark.redis

KEYS = Keys("test:moving")
GROUPS = ("g", "h")
#: Ends at once; all others live through the whole test, however they move.
PASSING = "passing"


def routings(lanes: int, per_lane: int) -> Iterator[Routing]:
    """Of lanes with and without groups, of groups alone, and of nothing."""
    for number in range(lanes * per_lane):
        lane = f"lane{number % lanes}"
        yield Routing(lane=lane, group=GROUPS[0] if number % lanes % 2 else "", unique_key=f"k{number}")
    for number in range(lanes):
        yield Routing(group=GROUPS[number % 2], unique_key=f"g{number}")
    for _ in range(lanes):
        yield Routing()


class Traffic:
    """Threads that fetch and put back without end, and others that put in, end and bury."""

    def __init__(self, client: redis.Redis, steady: dict[str, Routing]) -> None:
        self.client, self.steady = client, steady
        self.stop = threading.Event()
        self.errors: list[BaseException] = []
        self.rounds = count()

    @contextmanager
    def moving(self) -> Iterator[None]:
        works = [*(lambda seed=seed: self.work(seed) for seed in range(3)), self.flap]
        threads = [threading.Thread(target=self.guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()
        assert self.errors == []

    def guarded(self, work) -> None:
        try:
            work()
        except BaseException as error:
            self.errors.append(error)

    def work(self, seed: int) -> None:
        moves, draw = Transitions(Scripts(self.client, KEYS), memory=MEMORY), random.Random(seed)  # noqa: S311 - dice of a test
        while not self.stop.is_set():
            new = [NewMessage(f"{PASSING}{seed}-{next(self.rounds)}", b"{}", 0, Routing(lane=f"p{draw.randrange(5)}"))]
            moves.enqueue_many(QUEUE, new)
            fetched = moves.fetch(QUEUE, limit=20, lease_ms=LONG_MS, owner=f"w{seed}").messages
            settlements = [Settlement(one.lease, self.outcome(one.lease.id, draw), one.body) for one in fetched]
            if settlements:
                moves.scripts.replies([moves.finish_call(QUEUE, settlements)])

    def outcome(self, id_: str, draw: random.Random):
        if id_.startswith(PASSING):
            return draw.choice([Done(), Done(), Dead("x")])
        # A lane keeps its order, but for a message that yields.
        return draw.choice([Retry(0, "x"), Retry(draw.randrange(20), "x"), PutBack(0, "x"), PutBack(5, "x")])

    def flap(self) -> None:
        moves, draw = Transitions(Scripts(self.client, KEYS), memory=MEMORY), random.Random(9)  # noqa: S311 - dice of a test
        while not self.stop.is_set():
            for group in GROUPS:
                gate(moves, group, limit=draw.choice([0, 1, 5, -1]))
            moves.tend([QUEUE], max_deliveries=1_000)


def _check(path: Path, steady: dict[str, Routing]) -> None:
    found = [line for line in of_kind(path, "message") if line["id"] in steady]
    assert Counter(line["id"] for line in found) == Counter(list(steady))
    for line in found:
        meant = steady[line["id"]]
        assert (line.get("lane", ""), line.get("group", "")) == (meant.lane, meant.group)
        assert line.get("unique_key", "") == meant.unique_key
    orders: dict[str, list[int]] = {}
    for line in found:
        orders.setdefault(line.get("lane", ""), []).append(int(line["id"][1:]))
    orders.pop("", None)
    assert all(order == sorted(order) for order in orders.values())


def _body(routing: Routing) -> bytes:
    """As a sender's is: what it asked for is in it."""
    return json.dumps({"options": routing.options()}).encode()


def _explore(client: redis.Redis, folder: Path, *, lanes: int, per_lane: int, backups: int) -> None:
    moves = Transitions(Scripts(client, KEYS), memory=MEMORY)
    steady = {f"m{number}": routing for number, routing in enumerate(routings(lanes, per_lane))}
    moves.enqueue_many(QUEUE, [NewMessage(id_, _body(routing), 0, routing) for id_, routing in steady.items()])
    vault = Vault(moves, folder, [QUEUE])
    with Traffic(client, steady).moving():
        for _ in range(backups):
            path = vault.create()
            _check(path, steady)
            path.unlink()


def test_what_lives_all_the_time_is_in_every_backup_once_and_as_it_belongs(queue_client, tmp_path):
    _explore(queue_client, tmp_path, lanes=60, per_lane=20, backups=4)


@pytest.mark.slow
def test_a_hundred_backups_of_queues_that_never_stand_still_miss_nothing(queue_client, tmp_path):
    _explore(queue_client, tmp_path, lanes=400, per_lane=25, backups=100)
