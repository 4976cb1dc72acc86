"""Checks of what waits: does it get done, was something forgotten, does what is periodic happen.

``run`` makes them, through a :class:`Probe`, once the database is known to be the pinned one. Times are those of Redis.
"""

import os
import shlex
from pathlib import Path
from typing import Any

from actors.amounts import age
from actors.backups import found
from actors.doctor.checks import Check, fail, ok, unknown, warn
from actors.doctor.connection import Probe
from middleware import memory

#: A message that may run, and has waited so long, in seconds.
WARN_AGE_S, FAIL_AGE_S = 300, 3_600
#: Leases are taken back within seconds; one this overdue is not, in milliseconds.
OVERDUE_MS = 30_000
#: A pause this old was forgotten, in seconds.
PAUSED_S = 3_600
#: Dead letters of one hour that are worth a look; one that nobody was told of after so long, in milliseconds.
MANY_DEAD, HOUR_MS, UNTOLD_MS = 10, 60 * 60 * 1000, 2 * 60 * 1000
#: Share of the most that is kept.
FULL_SHARE = 0.9
#: Periodic sends that did not come for this long are missing; none is looked for before a worker is that old, in milliseconds.
MISSED_MS = 3 * 60 * 1000
#: Slots looked at, the newest first.
_SLOTS = 50
_SWEEP = "sweep_pending"


def backlog(probe: Probe) -> Check:
    """What may run is run soon."""
    old = [one for one in probe.snapshot.queues if (one.oldest_ready_age_s or 0) > WARN_AGE_S]
    if not old:
        return ok("backlog", "nothing that may run waits for long")
    found = ", ".join(f"{one.queue_name} waits for {age(one.oldest_ready_age_s)}" for one in old)
    why = "workers are too few or too slow, or nobody serves it; people wait"
    fix = "start more: `chat-actors worker --processes 4 --threads 16`, and see `chat-actors stats`"
    make = fail if any((one.oldest_ready_age_s or 0) > FAIL_AGE_S for one in old) else warn
    return make("backlog", found, why=why, fix=fix)


def leases(probe: Probe) -> Check:
    """What a dead worker held is taken back."""
    names = [one.queue_name for one in probe.snapshot.queues]
    overdue = _counts(probe, names, "leases", "-inf", probe.now_ms - OVERDUE_MS)
    if not any(overdue):
        return ok("leases", "none is overdue")
    found = ", ".join(f"{count} of {name}" for name, count in zip(names, overdue, strict=True) if count)
    why = "their workers are gone and none is left that would run them again"
    return fail("leases", f"overdue: {found}", why=why, fix="run `chat-actors worker`")


def paused(probe: Probe) -> Check:
    """No pause was forgotten."""
    queues = [one for one in probe.snapshot.queues if (one.paused_for_s or 0) > PAUSED_S]
    before_ms = probe.now_ms - PAUSED_S * 1000
    gates = sorted(
        {
            gate.group.partition("/")[0]
            for gates in probe.snapshot.gates.values()
            for gate in gates
            if gate.paused_at_ms is not None and gate.paused_at_ms < before_ms
        }
    )
    if not queues and not gates:
        return ok("paused", "nothing for long")
    found = [f"{one.queue_name} for {age(one.paused_for_s)}" for one in queues] + [f"instance {name}" for name in gates]
    lines = [f"`chat-actors resume {one.queue_name}`" for one in queues]
    lines += [f"`chat-actors resume --instance {shlex.quote(name)}`" for name in gates]
    why = "what waits there expires"
    return warn("paused", ", ".join(found), why=why, fix=f"if that is over: {', '.join(lines)}")


def dead_letters(probe: Probe) -> Check:
    """Few messages are given up, and somebody was told."""
    names = [one.queue_name for one in probe.snapshot.queues]
    recent = sum(_counts(probe, names, "dead", probe.now_ms - HOUR_MS, "+inf"))
    untold = sum(_counts(probe, names, "unannounced", "-inf", probe.now_ms - UNTOLD_MS))
    crowded = [
        one.queue_name for one in probe.snapshot.queues if one.dead >= FULL_SHARE * probe.settings.dead_max and one.dead
    ]
    if untold:
        why = "their rows are pending still, and no event was sent"
        return warn("dead_letters", f"{untold} that nobody was told of", why=why, fix="run `chat-actors worker`")
    if crowded:
        why = "the oldest are deleted to make room"
        fix = "see to them: `chat-actors dlq groups`; or raise `CHAT_DEAD_MAX`"
        return warn("dead_letters", f"{', '.join(crowded)} keep nearly as many as there may be", why=why, fix=fix)
    if recent >= MANY_DEAD:
        fix = "see why: `chat-actors dlq groups`"
        return warn("dead_letters", f"{recent} in the last hour", why="their messages are not delivered", fix=fix)
    return ok("dead_letters", f"{recent} in the last hour")


def periodic(probe: Probe) -> Check:
    """Periodic sends come, once each, at the times of this process' table."""
    from actors.schedule import entries

    slots = _slots(probe)
    strange = [
        f"{entry.actor}@{slot_ms}"
        for entry in entries(probe.settings)
        for slot_ms in slots.get(entry.actor, ())
        if slot_ms > probe.now_ms - 2 * MISSED_MS and not entry.cron.between(slot_ms - 1, slot_ms)
    ]
    if strange:
        why = "another scheduler runs with other settings, so that some are sent twice as often"
        fix = "give every process the same `CHAT_MEMORY_EVERY_S`, and stop the one that is not yours"
        return warn("periodic", f"sent at times that are not in the table: {', '.join(strange[:3])}", why=why, fix=fix)
    if not _has_settled(probe, MISSED_MS):
        return unknown("periodic", "no worker has run for long enough to tell")
    latest_ms = max(slots.get(_SWEEP, ()), default=0)
    if latest_ms >= probe.now_ms - MISSED_MS:
        return ok(
            "periodic",
            f"the last sweep was sent {age((probe.now_ms - latest_ms) / 1000)} ago; several schedulers do no harm",
        )
    return fail(
        "periodic",
        f"no sweep was sent for {age((probe.now_ms - latest_ms) / 1000)}" if latest_ms else "no sweep was ever sent",
        why="no scheduler runs: what Redis loses is not sent again, and nothing is sampled",
        fix="set `CHAT_SCHEDULER=apscheduler` for the workers, or run `periodiq actors`",
    )


def samples(probe: Probe) -> Check:
    """Memory is sampled."""
    every_ms = probe.settings.memory_every_s * 1000
    if not _has_settled(probe, 3 * every_ms):
        return unknown("samples", "no worker has run for long enough to tell")
    newest = memory.latest(probe.client(), probe.keys.memory, count=1)
    since_ms = probe.now_ms - newest[-1].at_ms if newest else None
    if since_ms is not None and abs(since_ms) < 3 * every_ms:
        return ok("samples", f"the last one is {age(since_ms / 1000)} old")
    if since_ms is not None and since_ms < 0:
        why = "it keeps all others out until its time comes: Redis' clock was ahead, and was set back"
        fix = (
            f'`redis-cli -u "$REDIS_URL" -n {probe.settings.queue_db} DEL {probe.keys.memory}`, which loses the history'
        )
        return warn("samples", f"the last one is from {age(-since_ms / 1000)} ahead", why=why, fix=fix)
    found = "there is none" if since_ms is None else f"the last one is {age(since_ms / 1000)} old"
    why = "nobody would see the memory fill up; the sampler is stuck, or Redis refuses its writes"
    fix = "see `chat-actors stats` for the queue housekeeping, and that `CHAT_SCHEDULER` is not none"
    return warn("samples", found, why=why, fix=fix)


def backups(probe: Probe) -> Check:
    """The periodic backup is made, where one is wanted."""
    if probe.settings.backup_dir is None:
        return ok("backups", "not asked: CHAT_BACKUP_DIR names no folder")
    folder, every_s = Path(probe.settings.backup_dir), probe.settings.backup_every_s
    try:
        # Its mode too: one that this user may not write to holds yesterday's.
        is_usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        newest = next(iter(found(folder)), None)
    except OSError as error:
        return unknown("backups", f"{folder} cannot be read ({type(error).__name__})", fix="look at its owner and mode")
    if not is_usable:
        why = "no backup can be made there; the dead letter of each that fails says so too"
        fix = f"make it, as the user of the workers: `mkdir -p {shlex.quote(str(folder))}`; every worker must have it"
        return warn("backups", f"{folder} is no folder that this user may write to", why=why, fix=fix)
    why = (
        "what is lost with Redis and is not in the rows is as old: dead letters, waits, fetches of pictures and groups"
    )
    fix = "see why: `chat-actors dlq list --queue housekeeping`; and make one now: `chat-actors backup create`"
    if newest is None:
        if not _has_settled(probe, 2 * every_s * 1000):
            return unknown("backups", "there is none yet, and no worker has run for long enough to tell")
        return warn("backups", f"there is none in {folder}", why=why, fix=fix)
    age_s = (probe.now_ms - newest.at_ms) / 1000
    if age_s <= 2 * every_s:
        return ok("backups", f"the last one is {age(max(0.0, age_s))} old")
    return warn(
        "backups", f"the last one is {age(age_s)} old, and one shall come every {age(every_s)}", why=why, fix=fix
    )


def _counts(probe: Probe, names: list[str], key: str, least: Any, most: Any) -> list[int]:
    with probe.client().pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.zcount(probe.keys.of(name, key), least, most)
        counts: list[int] = pipeline.execute()
    return counts


def _slots(probe: Probe) -> dict[str, list[int]]:
    """Slots that were sent of late, by actor."""
    marks: Any = probe.client().zrange(probe.keys.ticks, 0, _SLOTS - 1, desc=True)
    found: dict[str, list[int]] = {}
    for mark in marks:
        actor, _, slot_ms = mark.decode().rpartition("@")
        found.setdefault(actor, []).append(int(slot_ms))
    return found


def _has_settled(probe: Probe, for_ms: int) -> bool:
    return any(probe.now_ms - entry.worker.started_at_ms > for_ms for entry in probe.snapshot.workers)
