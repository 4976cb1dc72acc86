"""What a worker process says of itself, and whether that is well: pure.

``health`` takes it in the worker, ``board`` judges it there or in the launcher. Two questions, as a supervisor asks them: *live*,
would a new process help (a thread hangs or is gone), and *ready*, could it work at this moment (Redis, the store, leases).
Redis being away makes nobody less alive: restarting workers would bring it back no sooner.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Longest time without a successful fetch, or a look while all threads are busy, in milliseconds. A block lasts 5 s.
FETCH_LATE_MS = 15_000
#: Longest time without a round of care, in milliseconds; less where leases are shorter than that.
ROUND_LATE_MS = 8_000
ROUND_LATE_AT_LEAST_MS = 3_000
#: A thread of ours that did not come round for so long hangs, in milliseconds: one round over eight queues of a silent Redis
#: takes half a minute.
HANGS_MS = 120_000
#: A probe asks every ten seconds; an answer older than this is none, in milliseconds.
PROBE_LATE_MS = 25_000
#: A process that does not serve by then never will, in milliseconds.
STARTS_MS = 120_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What a probe of something outside found last. ``age_ms`` is that of the last answer, None before the first."""

    is_well: bool
    found: str
    age_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Facts of one process. Ages are in milliseconds, None where nothing was done yet or there is no such part.

    Attributes:
        state: ``starting``, ``serving``, ``draining``, or ``scheduling`` for a process that only sends ticks.
        up_ms: since it was started.
        gone: threads that should run and do not.
        overdue: actor and seconds of attempts that run although their limit is over.
        round_age_ms: since the last round of care, which renews the leases; ``turn_age_ms``: since the last try of one.
        fetch_age_ms: since Redis answered the waiting connection, or it was seen that all threads are busy.
        probes: by name.
    """

    pid: int
    state: str
    up_ms: int
    threads: int = 0
    busy: int = 0
    gone: tuple[str, ...] = ()
    overdue: tuple[tuple[str, int], ...] = ()
    lease_ms: int = 15_000
    round_age_ms: int | None = None
    turn_age_ms: int | None = None
    fetch_age_ms: int | None = None
    has_queue: bool = False
    probes: Mapping[str, Probed] = field(default_factory=dict)
    resident_bytes: int | None = None
    cpu_s: float = 0.0

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Vitals":
        """What ``dataclasses.asdict`` made, after a journey."""
        probes = {name: Probed(**probed) for name, probed in found["probes"].items()}
        overdue = tuple((str(actor), int(seconds)) for actor, seconds in found["overdue"])
        return cls(**{**found, "probes": probes, "overdue": overdue, "gone": tuple(found["gone"])})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``is_of_life``: a new process would help."""

    name: str
    is_well: bool
    found: str
    is_of_life: bool = False


def findings(vitals: Vitals) -> Iterator[Finding]:
    """Everything that the facts say, well or not."""
    yield _state(vitals)
    yield Finding("threads", not vitals.gone, _list("gone", vitals.gone) or f"{vitals.threads} alive", is_of_life=True)
    late = [f"{actor} for {seconds} s" for actor, seconds in vitals.overdue]
    yield Finding("attempts", not late, _list("hang", late) or f"{vitals.busy} running", is_of_life=True)
    if vitals.has_queue and vitals.state != "starting":
        limit_ms = min(ROUND_LATE_MS, max(vitals.lease_ms, ROUND_LATE_AT_LEAST_MS))
        yield _hangs("lease_keeper", vitals.turn_age_ms)
        yield _timely("lease_renewal", vitals.round_age_ms, limit_ms)
        if vitals.state == "serving":
            # Redis is known to answer: then a wait that is never answered is the process's own fault.
            redis_answers = vitals.round_age_ms is not None and vitals.round_age_ms <= limit_ms
            yield _hangs("fetching", vitals.fetch_age_ms if redis_answers else None)
            yield _timely("fetch", vitals.fetch_age_ms, FETCH_LATE_MS)
    for name, probed in vitals.probes.items():
        yield _probed(name, probed)


def _state(vitals: Vitals) -> Finding:
    if vitals.state == "starting" and vitals.up_ms > STARTS_MS:
        return Finding("state", is_well=False, found=f"starting for {vitals.up_ms // 1000} s", is_of_life=True)
    return Finding("state", vitals.state in ("serving", "scheduling"), vitals.state)


def _list(word: str, names: "tuple[str, ...] | list[str]") -> str:
    return f"{word}: {', '.join(names)}" if names else ""


def _hangs(name: str, age_ms: int | None) -> Finding:
    found = "not asked" if age_ms is None else f"came round {_ago(age_ms)}"
    return Finding(name, age_ms is None or age_ms <= HANGS_MS, found, is_of_life=True)


def _timely(name: str, age_ms: int | None, limit_ms: int) -> Finding:
    return Finding(name, age_ms is not None and age_ms <= limit_ms, f"last {_ago(age_ms)}")


def _probed(name: str, probed: Probed) -> Finding:
    if probed.age_ms is None or probed.age_ms > PROBE_LATE_MS:
        return Finding(name, is_well=False, found=f"no answer; last {_ago(probed.age_ms)}")
    return Finding(name, probed.is_well, probed.found)


def _ago(age_ms: int | None) -> str:
    return "never" if age_ms is None else f"{age_ms / 1000:.1f} s ago"
