"""What goes wrong in the demo: the sandbox's faults, a session that is down, a worker that is killed.

``demo_world`` hands the rules to the sandbox; ``demo_run`` lets the acts happen.
"""

import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.cli.demo_plan import Line
from actors.cli.demo_watch import Look, Queues
from actors.cli.demo_world import World
from actors.gateways.sandbox.rules import AFTER, BEFORE

#: How long the session of one instance is down, in seconds.
OUTAGE_S = 6
#: A worker is worth killing while it has at least this many messages in hand.
KILL_WITH_IN_HAND = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that the sandbox does wrong. ``chance`` is of every request; 0 for what is not a failure.

    ``is_ambiguous``: the client cannot know whether the message went out, and must ask the gateway.
    """

    id: str
    what: str
    chance: float
    action: dict[str, Any]
    is_ambiguous: bool = False

    def as_rules(self, lines: Sequence[Line]) -> list[dict[str, Any]]:
        """As the sandbox takes it; its draws depend on the seed, the rule's id and the request, never on timing."""
        trigger = {"probability": self.chance} if self.chance else {"always": True}
        rule = {"trigger": trigger, "action": self.action}
        if not self.is_ambiguous:
            return [{**rule, "id": self.id}]
        # A gateway that refuses the key cannot be asked what became of a request: such a message rightly ends as
        # "delivery unknown". Which ones would then depend on the draw, and no end could be computed beforehand.
        open_ = [line.name for line in lines if not line.is_revoked]
        return [{**rule, "id": f"{self.id} {name}", "match": {"instance": name}} for name in open_]


def _fault(id_: str, what: str, chance: float, *, ambiguous: bool = False, **action: Any) -> Fault:
    return Fault(id_, what, chance, action, ambiguous)


#: Every tenth request fails in one of these ways; the last two fail after the message went out.
FAULTS = (
    _fault("slow", "takes 30 to 150 ms", 0, type="latency", ms=[30, 150], when=BEFORE),
    _fault("503", "503 of a proxy, not passed on", 0.025, type="status", preset="nginx_503", when=BEFORE),
    _fault("429", "429, try again in 1 s", 0.015, type="status", preset="429", retry_after=1, when=BEFORE),
    _fault("502", "502, lost before it went out", 0.02, ambiguous=True, type="status", preset="nginx_502", when=BEFORE),
    _fault("cut", "connection cut before it went out", 0.015, ambiguous=True, type="drop", when=BEFORE),
    _fault("502 late", "502 after it went out", 0.0125, ambiguous=True, type="status", preset="nginx_502", when=AFTER),
    _fault("cut late", "connection cut after it went out", 0.0125, ambiguous=True, type="drop", when=AFTER),
)


def rules(lines: Sequence[Line], more: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Rules for the sandbox; ``more`` come first, so that none of ours hides them."""
    return [*more, *(rule for fault in FAULTS for rule in fault.as_rules(lines))]


def strikes(listed: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How often each fault struck, from the sandbox's own list of rules: what it is → times."""
    counted: dict[str, int] = {}
    for rule in listed:
        ours = [fault.what for fault in FAULTS if fault.action == rule["action"]]
        what = ours[0] if ours else _in_words(rule["action"])
        counted[what] = counted.get(what, 0) + int(rule["hits"])
    return counted


def _in_words(action: Mapping[str, Any]) -> str:
    more = ", ".join(f"{name} {value}" for name, value in action.items() if name != "type")
    return f"{action['type']} ({more})" if more else str(action["type"])


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens once ``share`` of the messages has ended; ``do`` tells what it did, None to try again.

    ``after_refusals``: not before every message that must fail has failed.
    """

    what: str
    share: float
    do: Callable[[World, Look], str | None]
    after_refusals: bool = False


def disconnect(world: World, _: Look) -> str | None:
    """Take down the session of one instance for a while."""
    name = world.plan.disconnected
    world.sandbox.add_fault({"type": "disconnect", "instance": name, "for_s": OUTAGE_S})
    return f"instance {name} lost its session with WhatsApp for {OUTAGE_S} s"


def kill_worker(world: World, look: Look) -> str | None:
    """Kill the worker process that has the most messages in hand, as a power cut would."""
    with Queues(world.redis) as queues:
        busiest = next(iter(queues.in_hand()), None)
    # With little left to wait for, one must do.
    enough = KILL_WITH_IN_HAND if look.ended < look.total / 2 else 1
    if busiest is None or busiest.messages < enough:
        return None
    pid = busiest.entry.worker.pid
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return f"kill -9 {pid}: a worker process with {busiest.messages} messages in hand is gone"


ACTS = (
    # What was in hand is asked for at the gateway, which a revoked key cannot do: see Fault.as_rules.
    Act("a worker process is killed", 0.15, kill_worker, after_refusals=True),
    Act("an instance loses its session", 0.3, disconnect),
)
