"""What hypothesis may put into a queue, and how attempts may end. For the model of the scripts."""

from dataclasses import dataclass

import hypothesis.strategies as st
from carrier_world import LONG_MS
from queue_places import Kind

from middleware.brokers.redis.values import Routing
from middleware.outcomes import Dead, Done, Outcome, PutBack, Retry

GROUPS = ("g", "h")
KINDS = st.builds(
    Kind,
    lane=st.sampled_from(["", "l", "m"]),
    group=st.sampled_from(["", "g", *GROUPS]),
    key=st.sampled_from(["", "", "j", "k"]),
    holds_when_dead=st.booleans(),
    until_start=st.booleans(),
).map(
    lambda kind: Kind(
        kind.lane, kind.group, kind.key, kind.holds_when_dead and bool(kind.lane), kind.until_start and bool(kind.key)
    )
)


@dataclass(frozen=True)
class End:
    """How an attempt ends."""

    name: str
    is_delayed: bool
    holds_group_off: bool

    def outcome(self) -> Outcome:
        delay_ms, group_for_ms = LONG_MS * self.is_delayed, LONG_MS * self.holds_group_off
        if self.name == "done":
            return Done()
        if self.name == "dead":
            # Two of one reason, and two of one fingerprint.
            return Dead(f"reason {int(self.is_delayed)}", fingerprint="alike" if self.holds_group_off else "")
        if self.name == "retry":
            return Retry(delay_ms, "x", group_for_ms=group_for_ms)
        return PutBack(delay_ms, "x", yields=self.name == "yield", group_for_ms=group_for_ms)


ENDS = st.builds(
    End,
    name=st.sampled_from(["runs on", "crashes", "done", "done", "retry", "snooze", "yield", "dead"]),
    is_delayed=st.booleans(),
    holds_group_off=st.sampled_from([False, False, False, True]),
)


def routing(kind: Kind) -> Routing:
    options = {"lane": kind.lane, "group": kind.group, "unique_key": kind.key, "dead_holds_lane": kind.holds_when_dead}
    return Routing.of("", {**options, "unique_until": "start" if kind.until_start else "finish"})
