"""Everything fails at once, and every message arrives once, in order, at its person, or fails for the reason it must.

Real worker processes over SQLite or PostgreSQL, a Redis with an append-only file, a sandbox in a process of its own. While
messages are saved and sent, a fifth of the requests fail in every way of ``storm_faults`` (which says what is left out, and
why), worker processes and Redis are killed, workers are replaced, the database ends its connections (SQLite: is locked), the
gateway refuses connections, two sessions close (one lies about it), and one instance's key is revoked and mended later. Every
second pair of storms tells its webhooks, twice and out of order.

Judged by the sandbox's log of deliveries, the rows, the dead letters and what lies in Redis: ``storm_judge``. ``make test`` has
one small storm, ``make prove`` twenty of a thousand messages.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from chaos_rows import Rows
from storm_judge import broken_promises, counted, stories
from storm_plan import make_storm
from storm_world import StormWorld
from waiting import until

import actors
from actors.intake import Applied
from middleware.clock import SystemClock

pytestmark = [pytest.mark.redis, pytest.mark.process]

SEEDS = 20
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Size:
    """Of a storm; ``stuck_ms`` is the longest wait for the next thing to go wrong, and for the end."""

    messages: int
    conversations: int
    worker_kills: int
    redis_kills: int
    disturbances: int
    rolls: int
    stuck_ms: int


SMALL = Size(messages=120, conversations=40, worker_kills=2, redis_kills=1, disturbances=1, rolls=0, stuck_ms=120_000)
FULL = Size(messages=1_000, conversations=50, worker_kills=10, redis_kills=2, disturbances=4, rolls=1, stuck_ms=600_000)


def test_a_small_storm_loses_doubles_reorders_and_misdirects_nothing(sqlite_rows, tmp_path, record_property):
    ride(*sqlite_rows, tmp_path, seed=1, size=SMALL, record=record_property)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_a_storm_of_a_thousand_loses_doubles_reorders_and_misdirects_nothing(seed, request, tmp_path, record_property):
    store = ("sqlite", "postgres")[seed % 2]
    ride(*request.getfixturevalue(f"{store}_rows"), tmp_path, seed=seed, size=FULL, record=record_property)


def ride(rows: Rows, environ: dict[str, str], directory: Path, *, seed: int, size: Size, record: Record) -> None:
    storm = make_storm(seed=seed, messages=size.messages, conversations=size.conversations)
    begin_ms = SystemClock().boot_ms()
    with StormWorld(storm, rows, environ, directory, is_told=seed // 2 % 2 == 1) as world:
        with world.working():
            go_through(world, size)
        found = broken_promises(world)
        told = stories(world, found)
        struck = sum(one["hits"] for one in world.sandbox.faults() if one["id"] != "slow")
        stats = actors.broker.transitions.stats(world.queues())
        for name in ("reclaimed", "retried", "snoozed", "stale_finishes"):
            record(name, counted(stats, name))
        asked = len(world.sandbox.requests())
    record("webhooks", world.hooks.applied)
    record("bound by webhook", world.hooks.came_to[Applied.BOUND])
    record("seconds", (SystemClock().boot_ms() - begin_ms) / 1000)
    record("requests", asked)
    record("faults", struck)
    record("redriven", len(world.redriven))

    assert found == {key: [] for key in found}, "\n".join(told)
    # What did not go wrong proves nothing.
    assert struck > 0.1 * size.messages
    assert counted(stats, "reclaimed") >= 1


def go_through(world: StormWorld, size: Size) -> None:
    """Let everything happen, each act once so much of the messages has arrived, until all is over."""
    sender = threading.Thread(target=world.say_everything, daemon=True)
    sender.start()
    total = sum(len(one.parts) for one in world.storm.plan.messages if one.thread.exists)
    for share, act in sorted(acts(world, size), key=lambda one: one[0]):
        until(
            lambda share=share: world.tended() and world.accepted() >= share * total,
            within_ms=size.stuck_ms,
            poll_ms=100,
        )
        act()
    sender.join(size.stuck_ms / 1000)
    assert world.is_said.is_set()
    ended: list[list[str]] = []
    with suppress(AssertionError):
        until(lambda: world.tended() and not noted(ended, world.unfinished()), within_ms=size.stuck_ms, poll_ms=200)
    assert ended[-1] == []


def noted(kept: list[list[str]], found: list[str]) -> list[str]:
    """``found``, which is kept: what is told when the time is up."""
    kept.append(found)
    return found


def acts(world: StormWorld, size: Size) -> list[tuple[float, Callable[[], None]]]:
    """What goes wrong, and after which share of the messages; when exactly depends on the seed."""
    draw = world.draw
    kills = [(draw.uniform(0.05, 0.85), world.kill_worker) for _ in range(size.worker_kills)]
    kills += [(draw.uniform(0.1, 0.8), world.kill_redis) for _ in range(size.redis_kills)]
    disturbances = [world.disturb_store] * size.disturbances + [world.roll] * size.rolls
    return [
        *kills,
        *((draw.uniform(0.3, 0.9), act) for act in disturbances),
        (0.03, world.refuse),
        (draw.uniform(0.1, 0.4), lambda: world.disconnect(1)),
        (draw.uniform(0.3, 0.6), lambda: world.disconnect(2, lie=True)),
        (draw.uniform(0.2, 0.4), world.revoke),
        (draw.uniform(0.6, 0.75), world.mend),
    ]
