"""The circuit of one instance: open while nothing can be sent through it, so that nothing is tried. Pure.

States::

    closed ──down · refused · not reached──► open ──looked: session open──► trying ──the canary got through──► ramping ──60 s──► closed
       ▲                                      ▲ └──looked: still down, look again later                │                 │
       │                                      └────────────── the canary failed (a lie) ◄──────────────┴── down again ◄──┘
       └── an operator closes; an operator holds ──► held (until released)

``actors.traffic`` keeps one record per instance in trouble and sets the gates by it; no record = closed.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum

from middleware.limits.limits import SHUT

#: Shortest wait between two looks, in milliseconds: nothing spins, however short a ramp is.
LOOK_FIRST_MS = 20
#: Longest wait between two looks at a session that is down, in milliseconds.
LOOK_LAST_MS = 60_000
#: A refused key or URL is a person's to mend; it is looked at this seldom.
REFUSED_LOOK_MS = 300_000
#: Until then the key that was refused is compared with the row's at least this often, in milliseconds; the gateway is not asked.
CREDENTIALS_LOOK_MS = 60_000
#: First share of the full pace after a canary.
RAMP_FROM = 0.1
#: Down for so long is worth an alert.
ALERT_AFTER_MS = 10 * 60 * 1000
#: Canaries that fail though the session says that it is open, until a person is told to restart it.
LIES = 3
#: Code of a session that its provider says stays down until a person connects it.
LOGGED_OUT = "logged_out"


class State(StrEnum):
    """How an instance stands."""

    #: Everything passes.
    CLOSED = "closed"
    #: Nothing passes; somebody looks from time to time.
    OPEN = "open"
    #: One message may try.
    TRYING = "trying"
    #: More and more may pass.
    RAMPING = "ramping"
    #: An operator holds it.
    HELD = "held"


class Cause(StrEnum):
    """Why a circuit opened."""

    #: The session with WhatsApp is down.
    SESSION_DOWN = "session_down"
    #: The server cannot be reached.
    NOT_REACHED = "not_reached"
    #: Key, URL, instance or permission: an operator must act.
    REFUSED = "refused"
    #: An operator's wish.
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What may be set: the first wait between two looks, and from the canary to the full pace, in milliseconds."""

    look_ms: int = 5_000
    ramp_ms: int = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """One instance's record.

    Attributes:
        code: error code that opened it.
        since_ms: when it opened first, or was let go by a person or its provider; stays through canaries and ramps, and names
            its watch.
        changed_ms: when it got into its state.
        looks: looks since it opened or lied last.
        lies: canaries in a row that failed though the session said that it was open.
        is_alerted: a person was told.
        tenant_id: whose instance it is.
        credentials: which key and URL were refused, as a digest; a change of them is worth a look at once.
    """

    state: State = State.CLOSED
    cause: Cause = Cause.SESSION_DOWN
    code: str = ""
    since_ms: int = 0
    changed_ms: int = 0
    looks: int = 0
    lies: int = 0
    is_alerted: bool = False
    tenant_id: str | None = None
    credentials: str = ""

    def text(self) -> str:
        """As it is kept; empty when closed. One that lets nobody pass says so to the limits, which then take nothing."""
        if self.state is State.CLOSED:
            return ""
        return (SHUT if self.lets_nobody else "") + json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> "Circuit":
        """Of a kept record; one that cannot be read is closed: the next failure opens it again."""
        if not text:
            return CLOSED
        try:
            kept = json.loads(text.removeprefix(SHUT))
            # In a rolling deploy a newer process may have written more.
            known = {one.name: kept[one.name] for one in fields(cls) if one.name in kept}
            return cls(**{**known, "state": State(kept["state"]), "cause": Cause(kept["cause"])})
        except (ValueError, TypeError, KeyError):
            return CLOSED

    @property
    def lets_nobody(self) -> bool:
        """Whether nothing may be sent or asked."""
        return self.state in (State.OPEN, State.HELD)


CLOSED = Circuit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What opens a circuit. ``is_told``: a person hears of it anyhow, by the dead letter of the message that met it."""

    cause: Cause
    code: str
    credentials: str = ""
    tenant_id: str | None = None
    is_told: bool = False


def failed(circuit: Circuit, failure: Failure, *, now_ms: int) -> Circuit:
    """After a message, or a look, met ``failure``."""
    is_refused = failure.cause is Cause.REFUSED
    if circuit.lets_nobody:
        # One that was under way when it opened says nothing new, unless that a person must act.
        if circuit.state is State.HELD or not is_refused or circuit.cause is Cause.REFUSED:
            return circuit
        return replace(
            circuit,
            cause=failure.cause,
            code=failure.code,
            changed_ms=now_ms,
            looks=0,
            credentials=failure.credentials,
            is_alerted=failure.is_told,
        )
    is_lie = circuit.state is State.TRYING and failure.cause is Cause.SESSION_DOWN
    return Circuit(
        state=State.OPEN,
        cause=failure.cause,
        code=failure.code,
        since_ms=now_ms if circuit.state is State.CLOSED else circuit.since_ms,
        changed_ms=now_ms,
        lies=circuit.lies + is_lie,
        is_alerted=failure.is_told or (circuit.is_alerted and not (is_refused and circuit.cause is not Cause.REFUSED)),
        tenant_id=failure.tenant_id,
        credentials=failure.credentials,
    )


def got_through(circuit: Circuit, *, now_ms: int) -> Circuit:
    """After the instance answered a message, well or with a refusal of that message alone."""
    if circuit.state is not State.TRYING:
        return circuit
    return replace(circuit, state=State.RAMPING, changed_ms=now_ms, lies=0)


def looked(circuit: Circuit, *, is_open: bool, now_ms: int) -> Circuit:
    """After a look at the session."""
    if circuit.state is not State.OPEN:
        return circuit
    if is_open:
        return replace(circuit, state=State.TRYING, changed_ms=now_ms, looks=0)
    return replace(circuit, looks=circuit.looks + 1)


def passed_time(circuit: Circuit, *, now_ms: int, nobody_waits: bool, times: Times) -> Circuit:
    """What time alone brings: the end of a ramp, or a ramp without a canary where nobody is there to be one."""
    in_state_ms = now_ms - circuit.changed_ms
    if circuit.state is State.RAMPING and in_state_ms >= times.ramp_ms:
        return CLOSED
    if circuit.state is State.TRYING and nobody_waits:
        return replace(circuit, state=State.RAMPING, changed_ms=now_ms)
    return circuit


def share(circuit: Circuit, *, now_ms: int, times: Times) -> float:
    """Share of the full pace that may pass now."""
    if circuit.state is not State.RAMPING:
        return 0.0 if circuit.lets_nobody else 1.0
    done = (now_ms - circuit.changed_ms) / max(1, times.ramp_ms)
    return min(1.0, max(RAMP_FROM, RAMP_FROM + (1 - RAMP_FROM) * done))


def needs_alert(circuit: Circuit, *, now_ms: int) -> bool:
    """Whether a person must be told now: refused, down for long, or a session that lies."""
    if circuit.is_alerted or circuit.state in (State.CLOSED, State.HELD):
        return False
    if circuit.lies >= LIES:
        return True
    return circuit.state is State.OPEN and (
        circuit.cause is Cause.REFUSED or now_ms - circuit.since_ms >= ALERT_AFTER_MS
    )


def alerted(circuit: Circuit) -> Circuit:
    """A person was told."""
    return circuit if circuit.is_alerted or circuit.state is State.CLOSED else replace(circuit, is_alerted=True)


def look_in_ms(circuit: Circuit, *, draw: float, times: Times) -> int:
    """How long until the next look; ``draw`` in [0, 1) makes it uneven by a fifth."""
    uneven = 0.8 + 0.4 * draw
    if circuit.state is State.TRYING:
        return int(times.look_ms * uneven)
    if circuit.state is State.RAMPING:
        return int(max(LOOK_FIRST_MS, min(times.look_ms, times.ramp_ms // 4)) * uneven)
    if circuit.cause is Cause.REFUSED:
        return int(CREDENTIALS_LOOK_MS * (0.6 + 0.4 * draw))
    # A session that lied is not believed sooner each time.
    doubled = min(circuit.looks + circuit.lies, 10)
    return int(min(LOOK_LAST_MS, times.look_ms * 2**doubled) * uneven)


def held(circuit: Circuit, *, now_ms: int, tenant_id: str | None = None) -> Circuit:
    """An operator holds the instance."""
    if circuit.state is State.HELD:
        return circuit
    return Circuit(
        state=State.HELD, cause=Cause.OPERATOR, code="held", since_ms=now_ms, changed_ms=now_ms, tenant_id=tenant_id
    )


def heard_open(circuit: Circuit, *, now_ms: int, times: Times) -> Circuit:
    """After the provider said by itself that the session is open: the next look is not waited for.

    One that has just opened, a canary's lie say, is left to its watch: a provider that says "open" once a second would have
    a message tried as often. A refused key or URL does not mend itself.
    """
    if circuit.state is not State.OPEN or now_ms - circuit.changed_ms < times.look_ms:
        return circuit
    if circuit.cause is Cause.REFUSED and circuit.code != LOGGED_OUT:
        return circuit
    return _anew(circuit, now_ms=now_ms)


def released(circuit: Circuit, *, now_ms: int) -> Circuit:
    """An operator says that all is well: one canary, then the ramp."""
    if circuit.state is State.CLOSED:
        return circuit
    return replace(_anew(circuit, now_ms=now_ms), lies=0, is_alerted=False)


def _anew(circuit: Circuit, *, now_ms: int) -> Circuit:
    # Under another name: the watch that there may be sleeps for up to a minute, and ends when it finds another's trouble.
    since_ms = max(now_ms, circuit.since_ms + 1)
    return replace(circuit, state=State.TRYING, since_ms=since_ms, changed_ms=now_ms, looks=0)
