"""Where the messages of a queue are, in lists and dicts: what the model of the scripts is made of.

``queue_model`` moves them. Ids of cancelled messages stay where they stood, as in Redis,
until somebody comes past them; what a person sees (``standing``) leaves them out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kind:
    """Where a message belongs; empty = nowhere."""

    lane: str = ""
    group: str = ""
    key: str = ""
    holds_when_dead: bool = False
    until_start: bool = False

    @property
    def is_plain(self) -> bool:
        return self == Kind()


@dataclass
class ModelGate:
    limit: int = -1
    is_paused: bool = False
    #: Nobody passes before a time that has not come.
    is_early: bool = False

    def is_open(self) -> bool:
        return self.limit < 0 and not self.is_paused and not self.is_early


@dataclass
class Waiting:
    """Who waits behind a gate: came back, was taken out of ready, came in order."""

    back: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def all(self) -> list[str]:
        return self.back + self.out + self.new

    def pop(self) -> str:
        return next(ids for ids in (self.back, self.out, self.new) if ids).pop(0)


class QueuePlaces:
    """One queue: its places, and how a message passes its lane and its group."""

    def __init__(self, max_crashes: int) -> None:
        self.max_crashes = max_crashes
        self.kinds: dict[str, Kind] = {}
        #: Every message that has not ended.
        self.live: set[str] = set()
        self.ended: set[str] = set()
        self.crashes: dict[str, int] = {}
        self.ready: list[str] = []
        self.delayed: set[str] = set()
        self.due: set[str] = set()
        self.running: set[str] = set()
        self.expired: list[str] = []
        self.holders: dict[str, str] = {}
        self.in_lanes: dict[str, list[str]] = {}
        self.in_groups: dict[str, Waiting] = {}
        self.slots: dict[str, str] = {}
        self.gates: dict[str, ModelGate] = {}
        #: Groups that time lets in, and whether it has come.
        self.group_due: dict[str, bool] = {}
        self.keys: dict[str, str] = {}
        self.dead: list[str] = []
        self.unannounced: set[str] = set()
        self.is_paused = False

    # -- what others may see --------------------------------------------------------------------------------------

    def standing(self, ids: Iterable[str]) -> list[str]:
        return [id_ for id_ in ids if id_ in self.live]

    def admitted(self, group: str) -> int:
        return sum(one == group for one in self.slots.values())

    def running_of(self, group: str) -> int:
        return sum(self.slots.get(id_) == group for id_ in self.running)

    def owner_of_key(self, key: str) -> str | None:
        owner = self.keys.get(key)
        return owner if owner in self.live or owner in self.unannounced else None

    # -- lanes ----------------------------------------------------------------------------------------------------

    def admit(self, id_: str, *, at_head: bool) -> None:
        lane = self.kinds[id_].lane
        if lane:
            if self.holders.get(lane, id_) != id_:
                self.in_lanes.setdefault(lane, []).append(id_)
                return
            self.holders[lane] = id_
        self.admit_to_group(id_, at_head=at_head)

    def leave_lane(self, id_: str) -> None:
        lane = self.kinds[id_].lane
        if not lane or self.holders.get(lane, id_) != id_:
            return
        self.holders.pop(lane, None)
        waiting = self.in_lanes.get(lane, [])
        while waiting:
            following = waiting.pop(0)
            if following in self.live:
                self.holders[lane] = following
                self.admit_to_group(following, at_head=False)
                return

    # -- groups ---------------------------------------------------------------------------------------------------

    def has_room(self, gate: ModelGate, taken: int) -> bool:
        return not gate.is_paused and (gate.limit < 0 or taken < gate.limit)

    def admit_to_group(self, id_: str, *, at_head: bool) -> None:
        group = self.kinds[id_].group
        gate = self.gates.get(group)
        if gate:
            waiting = self.in_groups.setdefault(group, Waiting())
            has_room = self.has_room(gate, self.admitted(group))
            if not has_room or gate.is_early or (not at_head and waiting.all()):
                if at_head:
                    waiting.back.insert(0, id_)
                else:
                    waiting.new.append(id_)
                if has_room:
                    self.group_due[group] = self.group_due.get(group, False) or not gate.is_early
                return
        self.make_ready(id_, at_head=at_head)

    def make_ready(self, id_: str, *, at_head: bool) -> None:
        if self.kinds[id_].group:
            self.slots[id_] = self.kinds[id_].group
        self.ready.insert(0 if at_head else len(self.ready), id_)

    def let_in(self, group: str) -> None:
        gate = self.gates.get(group, ModelGate())
        waiting = self.in_groups.get(group, Waiting())
        while self.has_room(gate, self.admitted(group)):
            if not waiting.all():
                if gate.is_open():
                    self.gates.pop(group, None)
                return
            if gate.is_early:
                self.group_due.setdefault(group, False)
                return
            id_ = waiting.pop()
            if id_ in self.live:
                self.make_ready(id_, at_head=False)
            else:
                self.leave_lane(id_)

    def leave_slot(self, id_: str) -> None:
        group = self.slots.pop(id_, None)
        if group:
            self.let_in(group)
