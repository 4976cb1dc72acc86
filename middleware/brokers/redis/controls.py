"""What operators and policies do with a queue as typed calls: look, pause, gate, cancel, and care for dead letters.

The half of ``transitions`` that no worker's thread needs while it works.
"""

import json
from collections.abc import Sequence
from typing import Any

from middleware.brokers.redis.scripts import MAX_BATCH, Scripts, translated
from middleware.brokers.redis.values import Gate, GateChange, LaneHolder, Lease, QueueStats, RawLetter, age_s, due


class Controls:
    """See the head of this file. Safe to share between threads.

    All methods raise the errors of :func:`middleware.brokers.redis.scripts.translated`.
    """

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts

    def pause(self, queue_name: str) -> bool:
        """Hand out nothing of a queue until :meth:`resume`; what runs goes on. False when it was paused before."""
        return bool(self.scripts.run("pause", queue_name, 1, doing=f"pausing {queue_name}"))

    def resume(self, queue_name: str) -> bool:
        """Hand out messages of a queue again, in their order. False when it was not paused."""
        return bool(self.scripts.run("pause", queue_name, 0, doing=f"resuming {queue_name}"))

    def set_gate(self, queue_name: str, group: str, change: GateChange) -> None:
        """Say how a group of a queue may pass; a group without a gate passes freely.

        Raises:
            ValueError: no group, or NUL in its name.
        """
        if not group or "\0" in group:
            raise ValueError(f"a gate needs the name of a group, without NUL: {group!r}")
        self.scripts.run(
            "gate", queue_name, group, *change.args(), doing=f"setting the gate of {group} on {queue_name}"
        )

    def gates(self, queue_name: str) -> list[Gate]:
        """Every gate of a queue, by name of its group."""
        reply = self.scripts.run("groups", queue_name, doing=f"reading the gates of {queue_name}")
        return sorted((_gate(row) for row in reply), key=lambda gate: gate.group)

    def lane(self, queue_name: str, lane: str) -> LaneHolder | None:
        """What a lane waits for; None when nobody is in it."""
        reply = self.scripts.run("lane", queue_name, lane, doing=f"reading lane {lane} of {queue_name}")
        if not reply:
            return None
        return LaneHolder(id=reply[0].decode(), since_ms=reply[1], is_dead=bool(reply[2]), waiting=reply[3])

    def leases(self, queue_name: str) -> list[Lease]:
        """Every lease of a queue, the one that runs out first in front; as many as all workers have in flight."""
        with translated(f"reading the leases of {queue_name}"):
            members: Any = self.scripts.client.zrange(self.scripts.keys.of(queue_name, "leases"), 0, -1)
        return [Lease(queue_name, *member.decode().split("\0")) for member in members]

    def cancel(self, queue_name: str, id_: str) -> str:
        """Take a message back: ``cancelled``, ``running`` (it ends as its attempt decides) or ``missing``."""
        return str(self.scripts.run("cancel", queue_name, id_, doing=f"cancelling {id_}").decode())

    def holds(self, queue_name: str, id_: str) -> bool:
        """Whether a message that has not ended has this id."""
        with translated(f"looking for {id_}"):
            return bool(self.scripts.client.hexists(self.scripts.keys.of(queue_name, "messages"), id_))

    def holder_of_key(self, queue_name: str, unique_key: str) -> str | None:
        """Id of the message that has a unique key; None when nobody has."""
        with translated(f"looking for the holder of {unique_key}"):
            id_: Any = self.scripts.client.hget(self.scripts.keys.of(queue_name, "unique"), unique_key)
        return None if id_ is None else str(id_.decode())

    def holders_of_keys(self, queue_name: str, unique_keys: Sequence[str]) -> dict[str, str]:
        """Unique key → id of the message that has it, for those that somebody has."""
        if not unique_keys:
            return {}
        with translated(f"looking for the holders of {len(unique_keys)} unique keys"):
            ids: Any = self.scripts.client.hmget(self.scripts.keys.of(queue_name, "unique"), list(unique_keys))
        return {key: id_.decode() for key, id_ in zip(unique_keys, ids, strict=True) if id_ is not None}

    def recover(self, queue_name: str, ids: Sequence[str]) -> list[str]:
        """Put messages back that have a body and no place, because their list was evicted; returns their ids.

        They are known only while nothing is ready; call it now and then.
        """
        recovered: list[str] = []
        for first in range(0, len(ids), MAX_BATCH):
            batch = ids[first : first + MAX_BATCH]
            reply = self.scripts.run("recover", queue_name, *batch, doing=f"recovering {len(batch)} of {queue_name}")
            recovered += [id_.decode() for id_ in reply]
        return recovered

    def stats(self, queue_names: Sequence[str]) -> list[QueueStats]:
        """Depths of all states, in one command."""
        if not queue_names:
            return []
        reply = self.scripts.run("stats", queue_names, doing="reading queue depths")
        return [_stats(name, row) for name, row in zip(queue_names, reply, strict=True)]

    def adopt(self, queue_name: str, stock_broker_id: str) -> int:
        """Put back what a stock worker that is gone had fetched; returns how many."""
        hands = self.scripts.keys.stock_hands(stock_broker_id, queue_name)
        doing = f"taking over from a stock worker on {queue_name}"
        return int(self.scripts.run("adopt", queue_name, doing=doing, more_keys=(hands,)))

    # -- dead letters ---------------------------------------------------------------------------------------------

    def announce(self, queue_name: str, *, limit: int, hold_ms: int) -> list[RawLetter]:
        """Claim dead letters nobody has been told of; unless struck off they come again after ``hold_ms``."""
        reply = self.scripts.run(
            "announce", queue_name, min(limit, MAX_BATCH), hold_ms, doing=f"announcing dead letters of {queue_name}"
        )
        rows = zip(reply[0::3], reply[1::3], reply[2::3], strict=True)
        return [RawLetter(queue_name, id_.decode(), json.loads(letter), body) for id_, letter, body in rows]

    def announced(self, queue_name: str, ids: Sequence[str]) -> int:
        """Strike dead letters off the list of those to announce."""
        return int(self.scripts.run("announced", queue_name, *ids, doing=f"marking {len(ids)} letters as announced"))

    def withhold(self, queue_name: str, id_: str, *, hold_ms: int) -> bool:
        """Keep a dead letter from being announced for a time; False when somebody is telling of it right now."""
        return bool(self.scripts.run("withhold", queue_name, id_, hold_ms, doing=f"withholding {id_}"))

    def redrive(self, queue_name: str, id_: str, *, body: bytes) -> str:
        """Send a dead letter again: ``redriven``, ``missing`` or ``duplicate``."""
        reply = self.scripts.run("redrive", queue_name, id_, body, doing=f"redriving {id_}")
        return str(reply.decode())

    def discard(self, queue_name: str, ids: Sequence[str]) -> int:
        """Delete dead letters; returns how many existed."""
        return int(self.scripts.run("discard", queue_name, *ids, doing=f"discarding {len(ids)} letters"))


def _gate(row: list[Any]) -> Gate:
    group, limit, next_in_ms, interval_ms, burst, paused_at_ms, admitted, running, waiting = row
    return Gate(
        group=group.decode("utf-8", "surrogatepass"),
        limit=None if limit < 0 else limit,
        next_in_ms=next_in_ms,
        interval_ms=float(interval_ms),
        burst=burst,
        paused_at_ms=paused_at_ms or None,
        admitted=admitted,
        running=running,
        waiting=waiting,
    )


def _stats(queue_name: str, row: list[Any]) -> QueueStats:
    (
        ready,
        delayed,
        in_flight,
        in_lane,
        in_group,
        dead,
        oldest,
        oldest_death,
        lanes,
        next_due,
        paused_at,
        now_ms,
        rest,
    ) = row
    counters = {name.decode(): int(value) for name, value in zip(rest[0::2], rest[1::2], strict=True)}
    return QueueStats(
        queue_name=queue_name,
        ready=ready,
        delayed=delayed,
        in_flight=in_flight,
        waiting_in_lane=in_lane,
        waiting_in_group=in_group,
        dead=dead,
        oldest_ready_age_s=age_s(oldest or b"", now_ms=now_ms),
        oldest_dead_age_s=None if oldest_death < 0 else (now_ms - oldest_death) / 1000,
        lanes_held=lanes,
        next_due_in_ms=due(next_due),
        paused_for_s=(now_ms - paused_at) / 1000 if paused_at else None,
        counters={name: value for name, value in counters.items() if name not in ("sequence", "token")},
    )
