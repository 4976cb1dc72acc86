"""How every instance stands, folded from its gates and its circuit, in the words that operators see.

``stats`` and ``instances`` show it. Pure. The words: ``open`` (all passes), ``waiting`` (for its next time), ``paused`` (by
``pause``), ``parked`` (in trouble), ``held`` (by an operator), ``trying`` (one message tries), ``ramping`` (more and more pass).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from actors.circuit import Circuit, State
from actors.domain import Instance
from actors.gates import BULK_SUFFIX
from middleware.clock import iso

_WORDS = {State.OPEN: "parked", State.HELD: "held", State.TRYING: "trying", State.RAMPING: "ramping"}
#: Words of gates, the most closed first.
_CLOSEST = ("paused", "parked", "waiting", "open")


def word_of(circuit: Circuit) -> str:
    """What an operator sees of a circuit."""
    return _WORDS.get(circuit.state, "open")


def standings(
    groups: Mapping[str, Mapping[str, Any]], circuits: Mapping[str, Circuit], instances: Iterable[Instance] = ()
) -> dict[str, dict[str, Any]]:
    """Instance → ``state``, ``cause``, ``code``, ``since``, ``parked`` (how many wait) and ``pace`` (by queue).

    Args:
        groups: the queues' gates, as ``middleware.stats`` folds them by group.
        circuits: of instances in trouble, by their name on the wire.
        instances: those whose other names are known; a group under such a name is the instance's.
    """
    wire = {alias: instance.name for instance in instances for alias in instance.names}
    found: dict[str, dict[str, Any]] = {}
    # Campaigns last: their pace says nothing of conversations.
    for group in sorted(groups, key=lambda one: (one.endswith(BULK_SUFFIX), one)):
        gate, name = groups[group], group.removesuffix(BULK_SUFFIX)
        shown = found.setdefault(wire.get(name, name), _standing())
        is_bulk = name != group
        if not is_bulk or gate["state"] in ("paused", "parked"):
            shown["state"] = min(shown["state"], gate["state"], key=_CLOSEST.index)
        shown["parked"] += gate["parked"]
        shown["pace"] |= {f"{queue}{BULK_SUFFIX if is_bulk else ''}": pace for queue, pace in gate["pace"].items()}
    for name, circuit in circuits.items():
        if circuit.state is State.CLOSED:
            continue
        found.setdefault(name, _standing()).update(
            state=word_of(circuit), cause=str(circuit.cause), code=circuit.code, since=iso(circuit.since_ms)
        )
    return dict(sorted(found.items()))


def _standing() -> dict[str, Any]:
    return {"state": "open", "cause": None, "code": None, "since": None, "parked": 0, "pace": {}}
