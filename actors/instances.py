"""Look after instances in trouble, and keep every instance's gates: ``watch_instance``, ``tend_instances``, :func:`heard`.

A circuit that opens has its instance watched (``actors.traffic``): one message that puts itself back until the circuit is
closed, so nobody polls and a worker that dies leaves the watch to another.
"""

import logging
import random
from collections.abc import Collection, Iterator

import dramatiq

from actors import circuit as circuits
from actors import services, wiring
from actors.circuit import LOGGED_OUT, Cause, Circuit, Failure, State
from actors.domain import Instance
from actors.errors import AuthConfig, ChatError, WrongContract
from actors.gates import stands
from actors.gateways.base import HasContract
from actors.housekeeping import MAX_BACKOFF_MS, PAGE, QUEUE
from actors.services import Services
from actors.traffic import Traffic
from actors.updates import InstanceUpdate, SessionState
from middleware.actor import Routed, routed
from middleware.errors import Described, Snooze

logger = logging.getLogger(__name__)

#: Queue of the watches; a slow one: a server with many instances that takes its time to answer must not take all threads.
WATCH_QUEUE = "watch_instance"
#: Servers are asked for their contract for so long at a time, in milliseconds.
CONTRACTS_FOR_MS = 20_000


def _route_watch(instance_name: str, since_ms: int) -> Routed:
    # One watch per trouble; the next one does not wait until this one looks again.
    kwargs = {"instance_name": instance_name, "since_ms": since_ms}
    return Routed(kwargs=kwargs, unique_key=f"watch:{instance_name}:{since_ms}")


@dramatiq.actor(
    broker=wiring.broker,
    queue_name=WATCH_QUEUE,
    actor_class=routed(_route_watch),
    max_attempts=1_000_000,
    max_backoff=MAX_BACKOFF_MS,
)
def watch_instance(instance_name: str, since_ms: int) -> None:
    """Bring one instance back: look at its session, let a canary through, raise its pace step by step.

    ``since_ms`` names the trouble; when that is over, or a person has begun anew, this watch ends.

    Raises:
        Snooze: until its circuit is closed or an operator holds it.
    """
    work, traffic = services.get(), wiring.traffic()
    if traffic is None:
        return
    circuit = traffic.circuit(instance_name)
    if circuit.state in (State.CLOSED, State.HELD) or circuit.since_ms != since_ms:
        return
    instance = work.store.load_instance(instance_name, tenant_id=circuit.tenant_id)
    if instance is None:
        # Its messages fail by themselves when they may run.
        instance = Instance(name=instance_name, tenant_id=circuit.tenant_id)
        traffic.change(instance, lambda _: circuits.CLOSED)
        return
    circuit = step(work, traffic, instance, circuit)
    if circuit.state not in (State.CLOSED, State.HELD):
        wait_ms = circuits.look_in_ms(circuit, draw=random.random(), times=traffic.times)  # noqa: S311 - no secret
        raise Snooze(f"instance {instance_name!r} is {circuit.state}; another look follows", delay_ms=wait_ms)


def step(work: Services, traffic: Traffic, instance: Instance, circuit: Circuit) -> Circuit:
    """Do what is next for an instance that is neither closed nor held; returns how it stands then."""
    now_ms = work.clock.now_ms()
    if circuit.state is State.OPEN and _is_worth_a_look(traffic, instance, circuit, now_ms=now_ms):
        circuit = _look(work, traffic, instance)
    nobody_waits = circuit.state is State.TRYING and not traffic.gates.waiting(instance)
    circuit = traffic.change(
        instance,
        lambda now: circuits.passed_time(now, now_ms=now_ms, nobody_waits=nobody_waits, times=traffic.times),
    )
    if circuits.needs_alert(circuit, now_ms=now_ms):
        circuit = traffic.change(instance, circuits.alerted)
    if circuit.state is State.CLOSED:
        return circuit
    # A ramp's next share; a canary's gate, should another kind of work wait by now.
    return traffic.set_gates(instance)


def _is_worth_a_look(traffic: Traffic, instance: Instance, circuit: Circuit, *, now_ms: int) -> bool:
    """A refused key may be refused for trying it: it is shown again when it has changed, or seldom."""
    if (
        circuit.cause is not Cause.REFUSED
        or circuit.code == LOGGED_OUT
        or circuit.credentials != traffic.credentials_of(instance)
    ):
        return True
    return now_ms - circuit.changed_ms >= circuits.REFUSED_LOOK_MS * (circuit.looks + 1)


def _look(work: Services, traffic: Traffic, instance: Instance) -> Circuit:
    is_open, refused = False, None
    try:
        work.gateway(instance).check(instance)
        is_open = True
    except AuthConfig as error:
        refused = error
    except ChatError as error:
        logger.info("instance.still_down", extra={"instance": instance.name, "code": error.code})
    now_ms = work.clock.now_ms()

    def decide(circuit: Circuit) -> Circuit:
        if refused is not None:
            failure = Failure(
                cause=Cause.REFUSED,
                code=refused.code,
                credentials=traffic.credentials_of(instance),
                tenant_id=instance.tenant_id,
            )
            circuit = circuits.failed(circuit, failure, now_ms=now_ms)
        return circuits.looked(circuit, is_open=is_open, now_ms=now_ms)

    return traffic.change(instance, decide)


@dramatiq.actor(
    broker=wiring.broker, queue_name=QUEUE, actor_class=routed(), max_attempts=3, max_backoff=MAX_BACKOFF_MS
)
def tend_instances() -> None:
    """Set every instance's gates again, and have those in trouble watched: Redis may have lost either.

    One whose server speaks another contract is parked before a message dies of it.
    """
    work, traffic = services.get(), wiring.traffic()
    if traffic is None:
        return
    records = traffic.limits.all_records()
    set_all_gates(work, traffic)
    for name, text in records.items():
        circuit = Circuit.read(text)
        if circuit.state not in (State.CLOSED, State.HELD):
            # Harmless where it is watched already.
            traffic.watch(name, circuit, 0)
    _refuse_other_contracts(work, traffic, in_trouble=records)


def _refuse_other_contracts(work: Services, traffic: Traffic, *, in_trouble: Collection[str]) -> None:
    end_ms = work.clock.boot_ms() + CONTRACTS_FOR_MS
    for instance in all_instances(work):
        if work.clock.boot_ms() >= end_ms:
            # Servers that do not answer take their time; before a send each is asked anyway.
            return
        if instance.name in in_trouble:
            continue
        try:
            gateway = work.gateway(instance)
            if isinstance(gateway, HasContract):
                gateway.require_contract(instance)
        except WrongContract as error:
            _park_as_refused(work, traffic, instance, code=error.code)
        except ChatError:
            # A row that cannot be used is told of by the message that meets it; not every row is.
            continue


def all_instances(work: Services) -> Iterator[Instance]:
    """Every active instance of every tenant."""
    after: str | None = None
    while True:
        page, after = work.store.instances(limit=PAGE, after=after)
        yield from page
        if after is None:
            return


def set_all_gates(work: Services, traffic: Traffic) -> None:
    """Set the gates of every active instance that are not as they must be: 1,000 instances have 8,000."""
    there, in_trouble = traffic.gates.all(), traffic.limits.all_records()
    for instance in all_instances(work):
        if instance.name in in_trouble or not stands(there, instance, traffic.paces_of(instance)):
            traffic.set_gates(instance)


def heard(update: InstanceUpdate) -> None:
    """Apply what a provider says of a session by itself (``actors.updates``); safe to repeat, in any order.

    Open: a parked instance lets one message try at once. Down until a person connects it: it is parked as refused, and a
    person is told at once. Anything else is only noted: providers connect again by themselves, and a message that meets a
    session that is down parks it. An instance that nobody has a row of changes nothing.

    Raises:
        QueueUnavailable, QueueFull, QueueRefused: it could not be written; have the provider tell again.
    """
    work, traffic = services.get(), wiring.traffic()
    extra = {"instance": update.instance_name, "state": update.state, "code": update.reason_code}
    logger.info("instance.heard", extra=extra)
    if traffic is None or not (update.needs_a_person or update.state is SessionState.OPEN):
        return
    if update.state is SessionState.OPEN and traffic.circuit(update.instance_name).state is not State.OPEN:
        return
    # Webhooks name no tenant; they come seldom.
    for instance in all_instances(work):
        if instance.name == update.instance_name:
            _hear(work, traffic, instance, update)


def _hear(work: Services, traffic: Traffic, instance: Instance, update: InstanceUpdate) -> None:
    now_ms = work.clock.now_ms()
    if not update.needs_a_person:
        traffic.change(instance, lambda now: circuits.heard_open(now, now_ms=now_ms, times=traffic.times))
        return
    _park_as_refused(work, traffic, instance, code=LOGGED_OUT)


def _park_as_refused(work: Services, traffic: Traffic, instance: Instance, *, code: str) -> None:
    """Park what only a person can mend, and tell one at once: no message met it, so no dead letter does."""
    now_ms = work.clock.now_ms()
    failure = Failure(
        cause=Cause.REFUSED, code=code, credentials=traffic.credentials_of(instance), tenant_id=instance.tenant_id
    )
    circuit = traffic.change(instance, lambda now: circuits.failed(now, failure, now_ms=now_ms))
    if circuits.needs_alert(circuit, now_ms=now_ms):
        traffic.change(instance, circuits.alerted)


def _prepare() -> None:
    """Before a worker's first message: what is taken before its gates are set passes freely."""
    traffic = wiring.traffic()
    if traffic is not None:
        try:
            set_all_gates(services.get(), traffic)
        except Described as error:
            # A worker whose store or Redis is away begins to work when they are back.
            logger.warning("gates.not_set", extra={"instance": None, "code": error.code})


wiring.before_worker_boot(_prepare)
