"""What the scripts of a queue promise: the model that they are held to.

``tests/middleware/carrier/test_model.py`` does every step to both.
"""

from collections.abc import Callable

from queue_places import Kind, ModelGate, QueuePlaces, Waiting


class QueueModel(QueuePlaces):
    """One queue and all that may be done to it."""

    # -- keys and ends --------------------------------------------------------------------------------------------

    def free_key(self, id_: str) -> None:
        key = self.kinds[id_].key
        if self.keys.get(key) == id_:
            del self.keys[key]

    def end(self, id_: str) -> None:
        self.live.discard(id_)
        self.ended.add(id_)
        self.crashes.pop(id_, None)

    def bury(self, id_: str) -> None:
        self.end(id_)
        self.dead.append(id_)
        self.unannounced.add(id_)
        if not self.kinds[id_].holds_when_dead:
            self.leave_lane(id_)

    def stop(self, id_: str) -> None:
        self.running.discard(id_)
        if id_ in self.expired:
            self.expired.remove(id_)

    # -- the moves ------------------------------------------------------------------------------------------------

    def enqueue(self, id_: str, kind: Kind, *, is_delayed: bool) -> str:
        """``new``, or the id of the one that has its key."""
        if kind.key:
            owner = self.owner_of_key(kind.key)
            if owner:
                return owner
            self.keys[kind.key] = id_
        self.kinds[id_] = kind
        self.live.add(id_)
        if is_delayed:
            self.delayed.add(id_)
        else:
            self.admit(id_, at_head=False)
        return "new"

    def promote(self) -> None:
        for id_ in sorted(self.due):
            self.due.discard(id_)
            self.delayed.discard(id_)
            lane = self.kinds[id_].lane
            self.admit(id_, at_head=bool(lane) and self.holders.get(lane) == id_)
        for group in sorted(group for group, has_come in self.group_due.items() if has_come):
            del self.group_due[group]
            self.let_in(group)

    def fetch(self, limit: int, *, promotes: bool = True) -> list[str]:
        if promotes:
            self.promote()
        handed: list[str] = []
        while not self.is_paused and self.ready and len(handed) < limit:
            id_ = self.ready.pop(0)
            if id_ in self.live and self.may_run(id_):
                if self.kinds[id_].until_start:
                    self.free_key(id_)
                self.running.add(id_)
                handed.append(id_)
        return handed

    def may_run(self, id_: str) -> bool:
        group = self.slots.get(id_, "")
        gate = self.gates.get(group)
        if not gate or (self.has_room(gate, self.running_of(group)) and not gate.is_early):
            return True
        del self.slots[id_]
        self.in_groups.setdefault(group, Waiting()).out.append(id_)
        if self.has_room(gate, self.admitted(group)):
            self.group_due.setdefault(group, False)
        return False

    def finish_done(self, id_: str) -> None:
        self.stop(id_)
        self.end(id_)
        self.free_key(id_)
        self.leave_slot(id_)
        self.leave_lane(id_)

    def finish_dead(self, id_: str) -> None:
        self.stop(id_)
        self.leave_slot(id_)
        self.bury(id_)

    def come_again(self, id_: str, *, is_delayed: bool, yields: bool, holds_group_off: bool) -> None:
        """A retry or a put-back."""
        group = self.kinds[id_].group
        self.stop(id_)
        self.crashes.pop(id_, None)
        if group and holds_group_off:
            self.gates.setdefault(group, ModelGate()).is_early = True
        if not is_delayed and not yields:
            slot = self.slots.pop(id_, None)
            self.admit(id_, at_head=True)
            if slot:
                self.let_in(slot)
            return
        self.leave_slot(id_)
        if yields:
            self.leave_lane(id_)
        if is_delayed:
            self.delayed.add(id_)
        else:
            self.admit(id_, at_head=False)

    def give_back(self, ids: list[str], *, started: bool) -> None:
        """To the head, in this order."""
        for id_ in reversed(ids):
            self.stop(id_)
            if started:
                self.crashes[id_] = self.crashes.get(id_, 0) + 1
            self.ready.insert(0, id_)

    def tend(self) -> None:
        self.promote()
        for id_ in reversed(self.expired.copy()):
            self.stop(id_)
            crashes = self.crashes.get(id_, 0) + 1
            if crashes > self.max_crashes:
                self.leave_slot(id_)
                self.bury(id_)
            else:
                self.crashes[id_] = crashes
                self.ready.insert(0, id_)

    def cancel(self, id_: str) -> str:
        if id_ not in self.live:
            return "missing"
        if id_ in self.running:
            return "running"
        self.end(id_)
        self.delayed.discard(id_)
        self.due.discard(id_)
        self.free_key(id_)
        self.leave_slot(id_)
        self.leave_lane(id_)
        return "cancelled"

    def set_gate(self, group: str, change: Callable[[ModelGate], None]) -> None:
        change(self.gates.setdefault(group, ModelGate()))
        self.group_due.pop(group, None)
        self.let_in(group)

    def redrive(self, id_: str) -> str:
        kind = self.kinds[id_]
        if id_ not in self.dead:
            return "missing"
        if kind.key:
            if self.keys.get(kind.key) != id_ and self.keys.get(kind.key) in self.live:
                return "duplicate"
            self.keys[kind.key] = id_
        self.dead.remove(id_)
        self.unannounced.discard(id_)
        self.ended.discard(id_)
        self.live.add(id_)
        self.admit(id_, at_head=False)
        return "redriven"

    def discard(self, id_: str) -> None:
        self.dead.remove(id_)
        self.unannounced.discard(id_)
        self.free_key(id_)
        if self.kinds[id_].holds_when_dead:
            self.leave_lane(id_)

    def purge(self) -> None:
        for place in (
            self.live,
            self.crashes,
            self.ready,
            self.delayed,
            self.due,
            self.running,
            self.expired,
            self.holders,
        ):
            place.clear()
        for place in (self.in_lanes, self.in_groups, self.slots, self.group_due, self.keys):
            place.clear()
