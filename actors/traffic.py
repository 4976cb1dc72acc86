"""Let work of an instance pass at its pace, park it while the instance is in trouble, and let it come back carefully.

Every request has a turn (:meth:`Traffic.turn`, through ``actors.turns``); ``actors.instances`` watches what is parked.
Pace and concurrency are gates of the queue, set here; what a gate cannot know (the recipient's pace, a day's quota, a gate
that was lost with its Redis) is asked of the limits. What is decided stands in ``pace`` and ``circuit``.
"""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from actors import circuit as circuits
from actors.circuit import Cause, Circuit, Failure, State, Times
from actors.domain import Instance
from actors.errors import (
    AuthConfig,
    ChatError,
    GatewayUnreachable,
    InstanceUnavailable,
    Paced,
    Permanent,
    Throttled,
)
from actors.gates import Gates
from actors.pace import Kind, Pace, Paces
from actors.trips import (
    Trip,
    buckets_of,
    pair_of,
    place_of,
    place_wait_ms,
    quota_of,
    spread_ms,
    throttle_of,
    ungated_wait_ms,
)
from middleware.clock import Clock
from middleware.errors import PipelineError, QueueFull
from middleware.limits.limits import ANYWHERE, Limits, Place, Taking

logger = logging.getLogger(__name__)

#: Requests in a row that did not reach the server, in one process, until the instance is parked.
UNREACHED = 3
#: Without the limits nothing is sent for so long.
NO_LIMITS_WAIT_MS = 1_000
#: A group that has used up its pace or quota is held back for so long at most, in milliseconds; then one asks again.
HOLD_LAST_MS = 10 * 60 * 1000
#: Refusals that an operator mends, and that say nothing of other recipients of the instance.
OF_THE_RECIPIENT = frozenset({"not_in_test_list"})
#: The same of a question: who may send need not be allowed to read groups.
OF_THE_QUESTION = OF_THE_RECIPIENT | {"permission"}


@dataclass
class Traffic:
    """Safe to share between threads. ``watch`` has an instance looked after, in so many ms; ``alert`` tells a person."""

    limits: Limits
    gates: Gates
    clock: Clock
    paces_of: Callable[[Instance], Paces]
    credentials_of: Callable[[Instance], str]
    watch: Callable[[str, Circuit, int], None]
    alert: Callable[[str, Circuit], None]
    times: Times
    draw: Callable[[], float] = random.random
    _unreached: dict[str, int] = field(default_factory=dict)
    _owed: dict[tuple[str, str], Place] = field(default_factory=dict)

    # -- a turn -------------------------------------------------------------------------------------------------------

    @contextmanager
    def turn(self, instance: Instance, trip: Trip) -> Iterator[None]:
        """Do the request of ``trip`` within; what it comes to is noted.

        Raises:
            Paced: not now; nothing was done.
        """
        pace = self.paces_of(instance)[trip.kind]
        self._ensure_gates(instance)
        place = place_of(instance, pace, trip)
        circuit = self._enter(instance, pace, trip, place)
        try:
            yield
        except ChatError as error:
            self._met(instance, circuit, trip, pace, error)
            raise
        else:
            self._got_through(instance, circuit)
        finally:
            self._leave(place)

    def _ensure_gates(self, instance: Instance) -> None:
        """Set the gates of an instance that this process has not met yet, or whose pace has changed."""
        if not self.gates.knows(instance, self.paces_of(instance)):
            self._try_gates(instance)

    def _try_gates(self, instance: Instance) -> None:
        try:
            self.set_gates(instance)
        except PipelineError as error:
            # They are set when all instances are tended next; until then a turn says no.
            logger.warning("gates.not_set", extra={"instance": instance.name, "code": error.code})

    def abandon(self, instance: Instance, trip: Trip) -> None:
        """Give back the place that an earlier run of this message took and, killed, never gave back."""
        self._leave(place_of(instance, self.paces_of(instance)[trip.kind], trip))

    def give_back(self, instance: Instance, holder: str) -> None:
        """Give back the place that a message has, whatever its kind."""
        self._leave(Place(name=instance.name, limit=1, holder=holder, for_ms=1))

    def _enter(self, instance: Instance, pace: Pace, trip: Trip, place: Place) -> Circuit:
        quota, buckets = quota_of(instance, pace, trip), buckets_of(instance, pace, trip)
        # A place that this message kept is its own again.
        self._owed.pop((place.name, place.holder), None)
        self._give_back()
        try:
            try:
                taking = self.limits.take(record=instance.name, place=place, quota=quota, buckets=buckets)
            except QueueFull:
                # A full Redis must still drain: what is sent leaves it. Reading is allowed there.
                logger.warning("limits.full", extra={"instance": instance.name})
                return self._let_in(instance, trip, place, Taking(wait_ms=0, record=self.limits.record(instance.name)))
            return self._let_in(instance, trip, place, taking)
        except PipelineError as error:
            self._leave(place)
            text = f"instance {instance.name!r}: its limits cannot be asked ({error.code}); put back"
            raise _paced(text, NO_LIMITS_WAIT_MS, NO_LIMITS_WAIT_MS, code=error.code) from error

    def _let_in(self, instance: Instance, trip: Trip, place: Place, taking: Taking) -> Circuit:
        circuit, gated = Circuit.read(taking.record), trip.came_through_gate(instance)
        if circuit.lets_nobody or (circuit.state is State.TRYING and not gated):
            if taking.wait_ms == 0:
                # A full Redis, or nobody at a gate to be the canary: such a one is not waited for, nor one of many.
                self._leave(place)
            # Its gate was lost, or it was ready before the gate closed: there it waits before all others.
            self.set_gates(instance)
            wait_ms = 0 if gated else ungated_wait_ms(circuit, now_ms=self.clock.now_ms(), draw=self.draw())
            raise _paced(f"instance {instance.name!r} is {circuit.state}: {circuit.code}", wait_ms)
        if taking.wait_ms is None:
            raise _paced(f"instance {instance.name!r} is sending another message; put back", place_wait_ms(trip))
        if taking.wait_ms > 0:
            text, wait_ms = f"instance {instance.name!r}: the pace of {trip.kind} says later", taking.wait_ms
            if taking.by.startswith(f"{instance.name}:pair:"):
                raise _paced(text, wait_ms)
            if gated:
                # All behind it would be told the same, one after the other. Not for a whole day: a quota may be raised.
                raise _paced(text, 0, min(wait_ms, HOLD_LAST_MS))
            raise _paced(text, spread_ms(wait_ms, trip, draw=self.draw()))
        return circuit

    def _leave(self, place: Place) -> None:
        if place is not ANYWHERE:
            self._owed[place.name, place.holder] = place
            if not self._give_back():
                # A connection that Redis has closed is noticed by the first try.
                self._give_back()

    def _give_back(self) -> bool:
        """Give back every place that could not be given back before: while Redis was away, say. Kept, it would hold up its instance."""
        for key, place in list(self._owed.items()):
            try:
                self.limits.leave(place)
            except PipelineError as error:
                logger.warning("limits.place_kept", extra={"instance": place.name, "code": error.code})
                return False
            self._owed.pop(key, None)
        return True

    # -- what a request came to ---------------------------------------------------------------------------------------

    def _got_through(self, instance: Instance, circuit: Circuit) -> None:
        self._unreached.pop(instance.name, None)
        if circuit.state is State.TRYING:
            self._note(instance, lambda now: circuits.got_through(now, now_ms=self.clock.now_ms()))

    def _met(self, instance: Instance, circuit: Circuit, trip: Trip, pace: Pace, error: ChatError) -> None:
        if isinstance(error, GatewayUnreachable):
            self._unreached[instance.name] = met = self._unreached.get(instance.name, 0) + 1
            if met >= UNREACHED or circuit.state is State.TRYING:
                self._unreached.pop(instance.name, None)
                self._park(instance, Cause.NOT_REACHED, error)
            return
        if isinstance(error, InstanceUnavailable):
            if self._park(instance, Cause.SESSION_DOWN, error):
                # It waits at the gate, before all others of its instance.
                error.delay_ms = 0
        elif isinstance(error, AuthConfig) and not _is_of_this_alone(error, trip):
            self._park(instance, Cause.REFUSED, error)
        elif isinstance(error, Throttled):
            self._throttled(instance, trip, pace, error)
        elif isinstance(error, Permanent) and error.request_written:
            # The gateway answered; this message alone was refused.
            self._got_through(instance, circuit)

    def _throttled(self, instance: Instance, trip: Trip, pace: Pace, error: Throttled) -> None:
        """Hold off what the gateway named, longer each time in a row where it asked for that."""
        is_pair = error.scope == "pair"
        bucket = pair_of(instance, pace, trip) if is_pair else throttle_of(instance, trip)
        try:
            error.delay_ms = self.limits.hold_off(
                bucket, base_ms=error.delay_ms or 1, factor=error.grows_by, cap_ms=error.cap_ms
            )
            if not is_pair and not trip.kind.is_question:
                # The gate of its own group it takes along; those who wait at the other one would each ask in vain.
                self.gates.hold_off(instance, (Kind.SEND, Kind.BULK), for_ms=error.delay_ms)
        except PipelineError as failure:
            logger.warning("limits.hold_off_failed", extra={"instance": instance.name, "code": failure.code})
        if not is_pair:
            error.group_for_ms = error.delay_ms or 0

    def _park(self, instance: Instance, cause: Cause, error: ChatError) -> bool:
        """Whether the instance's gates are closed now."""
        is_refused = cause is Cause.REFUSED
        failure = Failure(
            cause=cause,
            code=error.code,
            credentials=self.credentials_of(instance) if is_refused else "",
            tenant_id=instance.tenant_id,
            # The message that met it is a dead letter.
            is_told=is_refused,
        )
        after = self._note(instance, lambda now: circuits.failed(now, failure, now_ms=self.clock.now_ms()))
        return after is not None and after.lets_nobody

    def _note(self, instance: Instance, decide: Callable[[Circuit], Circuit]) -> Circuit | None:
        try:
            return self.change(instance, decide)
        except PipelineError as failure:
            # The message itself must come to its end, which is known; the next one tells the same of its instance.
            logger.warning("instance.change_failed", extra={"instance": instance.name, "code": failure.code})
            return None

    # -- circuits -----------------------------------------------------------------------------------------------------

    def circuit(self, instance_name: str) -> Circuit:
        """How an instance stands."""
        return Circuit.read(self.limits.record(instance_name))

    def change(self, instance: Instance, decide: Callable[[Circuit], Circuit]) -> Circuit:
        """Apply a decision, once for all processes; returns how the instance stands then.

        Raises: see :func:`middleware.brokers.redis.scripts.translated`.
        """
        while True:
            seen = self.limits.record(instance.name)
            before = Circuit.read(seen)
            after = decide(before)
            if after is before:
                return after
            if self.limits.swap(instance.name, seen=seen, new=after.text()):
                self._changed(instance, before, after)
                return after

    def set_gates(self, instance: Instance) -> Circuit:
        """Set an instance's gates by how it stands, which is returned."""
        while True:
            seen = self.limits.record(instance.name)
            circuit = Circuit.read(seen)
            self.gates.set(instance, self.paces_of(instance), circuit, now_ms=self.clock.now_ms())
            if self.limits.record(instance.name) == seen:
                # Else somebody who changed it meanwhile may have set the gates before us.
                return circuit

    def hold(self, instance: Instance) -> Circuit:
        """Park an instance until :meth:`release`, for an operator."""
        now_ms = self.clock.now_ms()
        return self.change(instance, lambda now: circuits.held(now, now_ms=now_ms, tenant_id=instance.tenant_id))

    def release(self, instance: Instance) -> Circuit:
        """Let one message of a parked instance try, then more and more."""
        return self.change(instance, lambda now: circuits.released(now, now_ms=self.clock.now_ms()))

    def _changed(self, instance: Instance, before: Circuit, after: Circuit) -> None:
        if (after.state, after.cause) != (before.state, before.cause):
            extra = {"instance": instance.name, "state": after.state, "cause": after.cause, "code": after.code}
            level = logging.WARNING if after.lets_nobody else logging.INFO
            logger.log(level, "instance.changed", extra=extra)
            self._try_gates(instance)
        if after.since_ms != before.since_ms and after.state not in (State.CLOSED, State.HELD):
            wait_ms = circuits.look_in_ms(after, draw=self.draw(), times=self.times)
            self.watch(instance.name, after, 0 if after.state is State.TRYING else wait_ms)
        if after.is_alerted and after == circuits.alerted(before):
            # Of a refusal that a message met its dead letter tells.
            self.alert(instance.name, after)


def _paced(text: str, delay_ms: int, group_for_ms: int = 0, *, code: str | None = None) -> Paced:
    error = Paced(text, delay_ms=delay_ms, code=code)
    error.group_for_ms = group_for_ms
    return error


def _is_of_this_alone(error: AuthConfig, trip: Trip) -> bool:
    return error.code in (OF_THE_QUESTION if trip.kind.is_question else OF_THE_RECIPIENT)
