"""Put the parts together: which broker, with which middleware, ready for what host.

Imported by ``actors.chat`` and ``actors.housekeeping``, whose actors it gives a broker. Importing it connects to nothing,
starts nothing and needs no setting; whatever is wrong shows when a message is sent or a worker boots.
"""

import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import dramatiq
from dramatiq import Broker, Middleware
from dramatiq.middleware import TimeLimit

from actors import backends, services
from actors.alert_rules import circuit_fact
from actors.circuit import Circuit, Times
from actors.errors import ChatError, SettingsError
from actors.gates import Gates
from actors.legacy_guard import LegacyGuard
from actors.pace import paces_of
from actors.reporting import raise_one, start_sentry
from actors.services import Services
from actors.traffic import Traffic
from middleware import default_stack, sentry
from middleware.brokers.redis import connections
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.brokers.redis.transitions import Memory
from middleware.dead_letter import DeadLetterAnnouncer, Listener
from middleware.errors import ExitCode, PipelineError, Refusal
from middleware.letters import DeadLetter
from middleware.limits.limits import Limits
from middleware.retries import RetryPolicy
from middleware.sentry_crons import SentryCrons
from middleware.worker_parts import BeforeWork, WorkerParts
from middleware.worker_process import die_with

logger = logging.getLogger(__name__)

#: How long a message may wait for a worker that knows its actor, in milliseconds: a rolling deploy is over by then.
UNKNOWN_ACTOR_GRACE_MS = 10 * 60 * 1000

#: A picture, a group or a look at a session may take its gateway 20 s, and nobody waits for it: never at the price of a message.
SLOW_QUEUES = frozenset({"fetch_profile_pic", "fetch_group_info", "watch_instance"})


def host_table(name: str) -> Mapping[str, Any] | None:
    """A table of the host's settings by name; empty when they have none, None where Django is not configured."""
    conf = sys.modules.get("django.conf")
    if not (os.environ.get("DJANGO_SETTINGS_MODULE") or (conf is not None and conf.settings.configured)):  # noqa: TID251 - Django's own switch
        return None
    from django.conf import settings

    chosen: Mapping[str, Any] = getattr(settings, name, {})
    return chosen


def host_settings() -> Mapping[str, Any] | None:
    """The host's ``CHAT_ACTORS``; see :func:`host_table`."""
    return host_table("CHAT_ACTORS")


services.use_host_settings(host_settings)


def _carrier_options() -> CarrierOptions:
    settings = services.settings()
    return CarrierOptions(
        namespace=settings.namespace,
        dead_suffix=".dead",
        pinned_db=settings.queue_db,
        lease_ms=settings.lease_ms,
        unknown_actor_grace_ms=UNKNOWN_ACTOR_GRACE_MS,
        slow_queues=SLOW_QUEUES,
        memory=Memory(dead_max_age_ms=settings.dead_max_age_s * 1000, dead_max=settings.dead_max),
    )


def retry_policy() -> RetryPolicy:
    """Attempts and waits of actors that say nothing else."""
    settings = services.settings()
    return RetryPolicy(
        max_attempts=settings.max_attempts, base_ms=settings.backoff_base_ms, cap_ms=settings.backoff_cap_ms
    )


def _broker_name() -> str:
    """Name of the broker to build. A fault in the settings must not break an import: it is reported at first use."""
    try:
        return services.settings().broker if _is_configured() else "redis"
    except Exception:
        # Whatever a host's settings module raises: it is raised again, whole, by whoever needs the settings.
        return "redis"


def _is_configured() -> bool:
    # Reading all settings costs 0.1 s and more (pydantic); where nobody names a broker the answer is the default.
    return "CHAT_BROKER" in os.environ or "BROKER" in (host_settings() or {})  # noqa: TID251 - a peek, settings.py reads it


class WorkerBoot(Middleware):
    """Refuses to start a worker that could not do its work, and prepares one that can."""

    def after_process_boot(self, broker: Broker) -> None:
        """Read settings, build the store, check the database pin.

        Raises:
            Refusal: with the exit code that says why (docs/exit-codes.md).
        """
        if multiprocessing.parent_process() is not None and not die_with(os.getppid()):
            # ``dramatiq actors`` forked us. Its children outlive a killed master and go on consuming, unseen by any supervisor.
            raise _refusal(ExitCode.INTERRUPTED, "the process that started this worker is gone")
        try:
            work = services.get()
        except SettingsError as error:
            raise _refusal(ExitCode.SETTINGS, str(error)) from error
        except ChatError as error:
            raise _refusal(ExitCode.UNAVAILABLE, str(error)) from error
        for middleware in broker.middleware:
            if isinstance(middleware, TimeLimit):
                middleware.time_limit = work.settings.time_limit_ms
        start_sentry(work)
        if isinstance(broker, CarrierBroker):
            try:
                work.settings.queue_connection()
            except SettingsError as error:
                raise _refusal(ExitCode.SETTINGS, str(error)) from error


class StoreConnections(Middleware):
    """Drops stale database connections around every message, for a worker thread outlives them, and all of them at its end."""

    def before_worker_thread_shutdown(self, broker: Broker, thread: Any) -> None:
        """Close this thread's connections: the database would keep them until the thread's memory is collected."""
        services.get().store.close_thread_connections()

    def before_process_message(self, broker: Broker, message: Any) -> None:
        """Drop what the database closed while this thread was idle."""
        services.get().store.close_stale_connections()

    def after_process_message(self, broker: Broker, message: Any, *, result: Any = None, exception: Any = None) -> None:
        """Drop what broke during this message."""
        services.get().store.close_stale_connections()


def _refusal(code: ExitCode, reason: str) -> Refusal:
    # SystemExit prints nothing by itself, and the master process only shows the code.
    logger.critical("worker.refused: %s", reason)
    return Refusal(code, reason)


def stack_of_work() -> list[Middleware]:
    """The middleware that a message meets, without what only the start of a worker process needs."""
    # The store first: its hooks talk to a database, and behind the time limit one that hangs would cost the worker's thread.
    return [StoreConnections(), *default_stack(retry_policy=retry_policy)]


def make_broker() -> Broker:
    """Build the broker that the settings name; a third party's is a callable ``(middleware) -> Broker`` like ours.

    One that cannot be found is built as the Redis one, which then refuses to work: reading the settings says what is wrong.
    """
    stack = [*stack_of_work(), WorkerBoot(), LegacyGuard()]
    make: Callable[[list[Middleware]], Broker]
    try:
        make = backends.load("broker", _broker_name())
    except SettingsError:
        make = make_redis_broker
    return make(stack)


def make_redis_broker(middleware: list[Middleware]) -> CarrierBroker:
    """The carrier on the pinned database; its settings are read when it is first used."""
    return CarrierBroker(
        connect=lambda: services.settings().queue_connection(), options=_carrier_options, middleware=middleware
    )


broker = make_broker()

_traffic_lock = threading.Lock()
_traffic: tuple[Services, Traffic] | None = None


def traffic() -> Traffic | None:
    """What keeps every instance's pace; None where the broker has no gates (for tests), and everything passes.

    Raises:
        SettingsError: settings are wrong, or no Redis is set.
    """
    global _traffic
    work = services.get()
    with _traffic_lock:
        if _traffic is None or _traffic[0] is not work:
            if not isinstance(broker, CarrierBroker):
                return None
            if _traffic is not None:
                _traffic[1].limits.close()
            _traffic = work, _make_traffic(work, broker)
        return _traffic[1]


def _make_traffic(work: Services, carrier: CarrierBroker) -> Traffic:
    client = connections.make_client(work.settings.rate_connection(), role="limits")
    times = Times(look_ms=work.settings.look_ms, ramp_ms=work.settings.ramp_ms)
    return Traffic(
        limits=Limits(client, namespace=work.settings.namespace),
        gates=Gates(lambda: carrier.transitions, times),
        times=times,
        clock=work.clock,
        paces_of=lambda instance: paces_of(instance, gateway=work.gateway_name(instance), overrides=work.settings.pace),
        credentials_of=work.credentials_digest,
        watch=_watch,
        alert=_alert,
    )


def _watch(instance_name: str, circuit: Circuit, delay_ms: int) -> None:
    try:
        broker.get_actor("watch_instance").send_with_options(args=(instance_name, circuit.since_ms), delay=delay_ms)
    except PipelineError as error:
        # It is watched when all instances are tended next.
        logger.warning("instance.watch_failed", extra={"instance": instance_name, "code": error.code})


def _alert(instance_name: str, circuit: Circuit) -> None:
    extra = {"instance": instance_name, "state": circuit.state, "cause": circuit.cause, "code": circuit.code}
    logger.error("instance.alerted", extra=extra)
    if isinstance(broker, CarrierBroker):
        raise_one(services.get(), broker, circuit_fact(instance_name, circuit, is_news=True))


def _become_global() -> None:
    """Be Dramatiq's global broker, unless the host has one already: then it names ours, ``dramatiq actors:broker``."""
    if dramatiq.broker.global_broker is None:
        dramatiq.set_broker(broker)


_become_global()


_listeners: list[Listener] = []


def on_dead_letter(listener: Listener) -> None:
    """Have ``listener`` told of every dead letter, in some worker process, at least once."""

    def listen(letter: DeadLetter) -> None:
        try:
            listener(letter)
        finally:
            # The thread that tells outlives its connection to the database, and seldom needs one.
            services.get().store.close_thread_connections()

    _listeners.append(listener)
    for middleware in broker.middleware:
        if isinstance(middleware, DeadLetterAnnouncer):
            middleware.listeners.append(listen)


def listeners() -> list[Listener]:
    """Whoever is told of dead letters; a test that tells them keeps its connections."""
    return list(_listeners)


on_dead_letter(sentry.report_dead_letter)
for _one in broker.middleware:
    if isinstance(_one, SentryCrons):
        on_dead_letter(_one.tell)


def before_worker_boot(prepare: Callable[[], None], *, first: bool = False) -> None:
    """Have ``prepare`` called in every worker process before it takes its first message; ``first``: before all others."""
    # One middleware for all: Dramatiq warns of two of a type.
    found = next((one for one in broker.middleware if isinstance(one, BeforeWork)), None)
    if found is None:
        broker.add_middleware(found := BeforeWork())
    found.prepares.insert(0 if first else len(found.prepares), prepare)


def on_worker_boot(prepare: Callable[[Broker], Callable[[], None]]) -> None:
    """Have ``prepare`` called in every worker process when its threads run; what it returns is called at shutdown."""
    parts = next((one for one in broker.middleware if isinstance(one, WorkerParts)), None)
    if parts is None:
        broker.add_middleware(parts := WorkerParts())
    parts.prepares.append(prepare)
