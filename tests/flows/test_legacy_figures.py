"""100,000 entries of the old product: moved in a minute, killed on the way, each delivered once."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from legacy_world import OldProduct, everything, group, leaks, picture
from process_world import EACH_ONCE_IN_ORDER, LANES, ROOT, running
from waiting import until

import actors
from actors.legacy_queues import ASIDE, LEDGER
from actors.stores.rows import MessageRow
from middleware.clock import SystemClock

pytestmark = [pytest.mark.redis, pytest.mark.process]

MOVE = ("actors.cli", "migrate-legacy", "--yes", "--despite-consumers", "--json")
KILLS = 20


class Seed:
    """Old entries and the rows that they name; ``pending`` and ``missing`` are what the judge looks for."""

    def __init__(self, world, old, *, sends, fetches, streamed):
        self.old, self.pending, self.missing = old, [], []
        dice = random.Random(7)  # noqa: S311  # no secret
        now_ms = SystemClock().now_ms() - 60_000
        rows, names = [], []
        for number in range(sends):
            state = dice.choices(("pending", "sent", "failed", "missing"), (80, 10, 5, 5))[0]
            id_ = f"m{number}"
            names.append(id_)
            (self.pending if state == "pending" else self.missing if state == "missing" else []).append(id_)
            if state != "missing":
                row = {"status": state, "content": f"text {number}", "created_at_ms": now_ms + number}
                rows.append(MessageRow(id=id_, conversation_id=f"c{number % LANES}", **row))
        world.store.add(*rows)
        listed, given = names[: sends - streamed], names[sends - streamed :]
        again = dice.sample(listed, len(listed) // 10)
        self._push("send_message", [{"message_id": id_, "enqueued_at": "x"} for id_ in listed + again])
        lanes = [f"c{number % LANES}" for number in range(fetches)]
        self._push("fetch_profile_pic", [picture(id_) for id_ in lanes[::2]])
        self._push("fetch_group_info", [group(id_) for id_ in lanes[1::2]])
        old.add("send_message", *({"message_id": id_} for id_ in given[: streamed // 3]))
        if given:
            old.consume("send_message", count=streamed // 6, acknowledge=False)
        old.add("send_message", *({"message_id": id_} for id_ in given[streamed // 3 :]))
        self.listed, self.streamed = len(listed) + len(again), streamed

    def _push(self, queue, payloads):
        for start in range(0, len(payloads), 1_000):
            self.old.push(queue, *payloads[start : start + 1_000])

    def judge(self):
        """Every send that waits is queued once, every other is accounted for."""
        bodies = self.old.lists.hvals("chat:queue:send_message.msgs")
        assert sorted(json.loads(body)["kwargs"]["message_id"] for body in bodies) == sorted(self.pending)
        self.judge_counts()

    def judge_counts(self):
        ledger = {name.decode(): int(amount) for name, amount in self.old.lists.hgetall(LEDGER).items()}
        settled = sum(
            amount for name, amount in ledger.items() if name.startswith("send_message.") and "taken" not in name
        )
        assert ledger["send_message.taken"] == settled >= self.listed
        kept = [
            json.loads(one)["ids"][0]
            for client in (self.old.lists, self.old.streams)
            for one in client.lrange(ASIDE, 0, -1)
        ]
        assert set(kept) == set(self.missing)
        for client, pattern in ((self.old.lists, "chat:legacy:*"), (self.old.streams, "chat:*:send_message")):
            assert set(client.scan_iter(pattern)) <= {ASIDE.encode(), LEDGER.encode()}


@pytest.fixture
def old(redis_server, process_world):
    product = OldProduct(redis_server)
    yield product
    product.close()


def _settled(old):
    return sum(
        int(amount)
        for client in (old.lists, old.streams)
        for name, amount in client.hgetall(LEDGER).items()
        if not name.endswith(b".taken")
    )


def _kill_on_the_way(world, old, *, times, entries):
    """Start and kill the command, each time when it has settled some more; how often it was still there to be killed."""
    killed = 0
    for number in range(times):
        begun, step = _settled(old), entries // (times + 2)
        process = subprocess.Popen(
            [sys.executable, "-m", *MOVE], cwd=ROOT, env=world.environ, stdout=subprocess.DEVNULL
        )
        until(
            lambda: _settled(old) >= begun + (step if number else 1) or process.poll() is not None,  # noqa: B023
            within_ms=120_000,
        )
        os.kill(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    return killed


def _move(world):
    done = subprocess.run(
        [sys.executable, "-m", *MOVE], cwd=ROOT, env=world.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_what_a_killed_migration_moved_is_delivered_once_and_in_order(process_world, old, redis_server):
    seed = Seed(process_world, old, sends=60, fetches=600, streamed=18)
    _kill_on_the_way(process_world, old, times=1, entries=700)
    done = _move(process_world)
    seed.judge()
    assert leaks(everything(redis_server) + done.stdout + done.stderr) == []

    with running(process_world, "actors.cli", "worker", "--processes", "1", "--queues", "send_message"):
        until(lambda: process_world.all_sent(seed.pending), within_ms=60_000)

    assert process_world.faults_of_delivery() == {"accepted": len(seed.pending), **EACH_ONCE_IN_ORDER}


@pytest.mark.slow
def test_100_000_entries_are_moved_in_a_minute(process_world, old, redis_server, record_property):
    seed = Seed(process_world, old, sends=76_000, fetches=21_000, streamed=5_000)
    entries = seed.listed + seed.streamed + 21_000
    begun = time.monotonic()

    done = _move(process_world)

    seconds = time.monotonic() - begun
    record_property("legacy_entries", entries)
    record_property("legacy_move_s", round(seconds, 1))
    seed.judge()
    assert leaks(everything(redis_server) + done.stdout + done.stderr) == []
    assert entries >= 100_000
    assert seconds < 60


@pytest.mark.slow
def test_killed_20_times_on_the_way_nothing_is_lost_or_doubled(process_world, old, redis_server, record_property):
    seed = Seed(process_world, old, sends=76_000, fetches=21_000, streamed=5_000)

    killed = _kill_on_the_way(process_world, old, times=KILLS, entries=seed.listed + seed.streamed + 21_000)

    _move(process_world)
    record_property("legacy_kills", killed)
    seed.judge()
    assert leaks(everything(redis_server)) == []
    assert killed == KILLS
    assert actors.broker.transitions.stats(["send_message"])[0].unfinished == len(seed.pending)
