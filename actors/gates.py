"""Set the gates of an instance's groups by its pace and its circuit.

``actors.traffic`` is the only caller. A gate that is lost with its Redis is set again by the next watch of all instances.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from actors.circuit import CLOSED, Circuit, State, Times, share
from actors.domain import Instance
from actors.pace import Kind, Pace, Paces
from middleware.brokers.redis.transitions import Transitions
from middleware.brokers.redis.values import Gate, GateChange

#: Queue of each kind of work that waits at a gate of its own; a look is part of a send.
QUEUES = {
    Kind.SEND: "send_message",
    Kind.BULK: "send_message",
    Kind.PICTURE: "fetch_profile_pic",
    Kind.GROUP_INFO: "fetch_group_info",
}
#: Ends the group of an instance's campaigns; no instance has a ``/`` in its name.
BULK_SUFFIX = "/bulk"
#: Pace of a ramp where there is no other, in milliseconds.
RAMP_INTERVAL_MS = 100.0


def group_of(instance_name: str, kind: Kind) -> str:
    """Group whose gate a message of this kind passes."""
    return f"{instance_name}{BULK_SUFFIX}" if kind is Kind.BULK else instance_name


def gate_for(pace: Pace, circuit: Circuit, *, is_canary: bool, share: float) -> GateChange:
    """What a gate shall say; ``share`` of the full pace in a ramp. Pure."""
    limit = -1 if pace.concurrency is None else pace.concurrency
    if circuit.lets_nobody or (circuit.state is State.TRYING and not is_canary):
        return GateChange(limit=0)
    if circuit.state is State.TRYING:
        return GateChange(limit=1, interval_ms=pace.interval_ms, burst=1, jitter=pace.jitter)
    if circuit.state is State.RAMPING:
        interval_ms = (pace.interval_ms or RAMP_INTERVAL_MS) / share
        return GateChange(limit=limit, interval_ms=interval_ms, burst=1, jitter=pace.jitter)
    return GateChange(limit=limit, interval_ms=pace.interval_ms, burst=pace.burst, jitter=pace.jitter)


def stands(there: Mapping[tuple[str, str], Gate], instance: Instance, paces: Paces) -> bool:
    """Whether all gates of an instance whose circuit is closed are as its pace has them; ``there`` of :meth:`Gates.all`.

    But for their jitter, which a gate does not tell.
    """
    for kind, queue_name in QUEUES.items():
        wanted = gate_for(paces[kind], CLOSED, is_canary=False, share=1.0)
        limit = None if wanted.limit == -1 else wanted.limit
        for name in filter(None, instance.names):
            gate = there.get((queue_name, group_of(name, kind)))
            if gate is None:
                if limit is not None or wanted.interval_ms:
                    return False
            elif (gate.limit, gate.burst) != (limit, wanted.burst) or not math.isclose(
                gate.interval_ms, wanted.interval_ms or 0, rel_tol=1e-9
            ):
                return False
    return True


@dataclass
class Gates:
    """Gates of all instances. ``transitions`` None: a broker that has no gates (for tests); nothing is set then."""

    transitions: Callable[[], Transitions | None]
    times: Times
    _known: dict[tuple[str | None, str], Paces] = field(default_factory=dict)

    def knows(self, instance: Instance, paces: Paces) -> bool:
        """Whether this process has set the gates of an instance to this pace."""
        # Two tenants may have an instance of one name: each message would set the gates anew.
        return self._known.get((instance.tenant_id, instance.name)) == paces

    def set(self, instance: Instance, paces: Paces, circuit: Circuit, *, now_ms: int) -> None:
        """Set every gate of an instance, under each of its names.

        Raises: see :func:`middleware.brokers.redis.scripts.translated`.
        """
        transitions = self.transitions()
        if transitions is None:
            return
        part = share(circuit, now_ms=now_ms, times=self.times)
        canary = self._canary(instance) if circuit.state is State.TRYING else None
        for kind, queue_name in QUEUES.items():
            # A row may have no name (yet): it has no messages either, and must not keep the others from their gates.
            for name in filter(None, instance.names):
                where = queue_name, group_of(name, kind)
                change = gate_for(paces[kind], circuit, is_canary=where == canary, share=part)
                transitions.set_gate(*where, change)
        self._known[instance.tenant_id, instance.name] = paces

    def hold_off(self, instance: Instance, kinds: Sequence[Kind], *, for_ms: int) -> None:
        """Let nobody of these kinds of work pass for so long.

        Raises: see :func:`middleware.brokers.redis.scripts.translated`.
        """
        transitions = self.transitions()
        if transitions is None:
            return
        for kind in kinds:
            for name in instance.names:
                transitions.set_gate(QUEUES[kind], group_of(name, kind), GateChange(next_in_ms=for_ms))

    def all(self) -> dict[tuple[str, str], Gate]:
        """(queue, group) → gate, of every instance.

        Raises: see :func:`middleware.brokers.redis.scripts.translated`.
        """
        transitions = self.transitions()
        queues = [] if transitions is None else list(dict.fromkeys(QUEUES.values()))
        return {(queue, gate.group): gate for queue in queues for gate in transitions.gates(queue)}  # type: ignore[union-attr]

    def waiting(self, instance: Instance) -> dict[tuple[str, str], int]:
        """(queue, group) → messages that wait at the gate or have passed it.

        Only those that have any and that no operator pauses; who may pass first comes first, sends before questions.
        """
        gates = self.all()
        wheres = [(queue, group_of(name, kind)) for kind, queue in QUEUES.items() for name in instance.names]
        found = [(where, gates[where]) for where in wheres if where in gates and gates[where].paused_at_ms is None]
        found.sort(key=lambda one: one[1].next_in_ms)
        return {where: gate.waiting + gate.admitted for where, gate in found if gate.waiting + gate.admitted}

    def _canary(self, instance: Instance) -> tuple[str, str]:
        # Somebody must be there to be one; a message tells most.
        return next(iter(self.waiting(instance)), (QUEUES[Kind.SEND], instance.name))
