"""Whether a storm broke a promise: by the gateway's own log, the rows, the dead letters and what lies in Redis.

What had to come of every message is compared by the demo's checks (``actors.cli.demo_checks``).
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from queue_look import look
from storm_world import StormWorld

import actors
from actors.cli import demo_checks as checks
from actors.cli.demo_facts import Delivery, Facts, Letter, Row
from middleware.brokers.redis.values import QueueStats

#: Places in which nothing may stay; bodies first, which say what it is.
_EMPTY = ("bodies", "ready", "delayed", "leases", "deliveries", "holders", "in_lanes", "groups", "slots", "in_groups")


def facts_of(world: StormWorld) -> Facts:
    """Everything that is known when it is over."""
    rows = [world.rows.message(message.id) for message in world.storm.plan.messages]
    return Facts(
        rows={
            row.id: Row(
                id=row.id,
                status=row.status,
                reason=row.error_message.partition(":")[0] or None,
                provider_id=row.message_id,
                saved_at_ms=row.created_at_ms,
            )
            for row in rows
        },
        threads={},
        deliveries=[Delivery.of(one) for one in world.sandbox.deliveries()],
        letters=[
            Letter(
                id=one.id, queue=one.queue, reason=one.reason, subject=str(one.kwargs.get("message_id")),
                attempts=one.attempts,
            )
            for one in world.letters()
        ],
        queues={},
    )  # fmt: skip


def broken_promises(world: StormWorld) -> dict[str, list[str]]:
    """promise → what broke it, with ids; every promise is named, so that none is forgotten."""
    plan, facts = world.storm.plan, facts_of(world)
    return {
        "ended": list(checks.wrong_endings(plan, facts)),
        "once": checks.duplicates(plan, facts),
        # What was redriven went to the end of its conversation.
        "in order": checks.order_violations(plan, _without(facts, world.redriven)),
        "faithful": list(checks.unfaithful(plan, _without(facts, _replies_to(world)))),
        "explained": list(checks.wrong_letters(plan, facts)),
        "left in the queues": list(_left_in_queues(world)),
        "left in the limits": list(_left_in_limits(world)),
    }


def stories(world: StormWorld, found: dict[str, list[str]]) -> list[str]:
    """Of what broke a promise, what its letter and its attempt rows say: enough to find the cause of a storm long over."""
    named = " ".join(text for texts in found.values() for text in texts)
    told = []
    for letter in world.letters():
        id_ = str(letter.kwargs.get("message_id"))
        if id_ in named or letter.id in named:
            failures = [(one["attempt"], one["at_ms"] - letter.died_at_ms, one["code"]) for one in letter.failures]
            rows = [(row.part, row.state, row.reason, row.number, row.looks) for row in world.rows.store.attempts(id_)]
            told.append(
                f"{id_} {letter.reason} after {letter.attempts} ({letter.options.get('causes')}): {failures}, {rows}"
            )
    return told


def _without(facts: Facts, ids: set[str]) -> Facts:
    return replace(facts, deliveries=[one for one in facts.deliveries if one.message_id not in ids])


def _replies_to(world: StormWorld) -> set[str]:
    """Replies that may have gone out before what they quote, because that was redriven."""
    quotes = {(one.id, part.quotes) for one in world.storm.plan.messages for part in one.parts}
    return {id_ for id_, quoted in quotes if quoted in world.redriven}


def _left_in_queues(world: StormWorld) -> Iterator[str]:
    client, keys = actors.broker.client, actors.broker.machinery.keys
    for name in world.queues():
        now = look(client, keys, name)
        left: dict[str, Any] = {what: getattr(now, what) for what in _EMPTY if getattr(now, what)}
        left |= {"unannounced": now.unannounced} if now.unannounced else {}
        yield from (f"{name}.{what}: {value}" for what, value in left.items())
        # Fetches keep theirs for a while; nobody fetches here.
        yield from (f"{name}.unique: {key}" for key in now.unique)


def _left_in_limits(world: StormWorld) -> Iterator[str]:
    yield from (f"record of {name}: {text}" for name, text in world.limits().all_records().items())
    with closing(world.redis.client(3)) as client:
        for line in world.storm.plan.lines:
            key = f"{world.limits().namespace}:place:{line.name}"
            yield from (f"{key}: {holder!r}" for holder in client.zrange(key, 0, -1))


def counted(stats: list[QueueStats], name: str) -> int:
    """How often something happened in all queues."""
    return sum(one.counters.get(name, 0) for one in stats)
