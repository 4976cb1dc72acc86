"""Put the parts together: which broker, with which middleware, ready for what host.

Imported by ``actors.chat`` and ``actors.housekeeping``, whose actors it gives a broker. Importing it connects to nothing,
starts nothing and needs no setting; whatever is wrong shows when a message is sent or a worker boots.
"""

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import dramatiq
from dramatiq import Broker, Middleware
from dramatiq.middleware import TimeLimit

from actors import backends, services
from actors.errors import ChatError, SettingsError
from middleware import default_stack, sentry
from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.machinery import CarrierOptions
from middleware.dead_letter import DeadLetterAnnouncer, Listener
from middleware.errors import ExitCode, Refusal
from middleware.retries import RetryPolicy
from middleware.worker_process import die_with

logger = logging.getLogger(__name__)

#: How long a message may wait for a worker that knows its actor, in milliseconds: a rolling deploy is over by then.
UNKNOWN_ACTOR_GRACE_MS = 10 * 60 * 1000


def host_settings() -> Mapping[str, Any] | None:
    """The host's ``CHAT_ACTORS``; empty when its settings have none, None where Django is not configured."""
    conf = sys.modules.get("django.conf")
    if not (os.environ.get("DJANGO_SETTINGS_MODULE") or (conf is not None and conf.settings.configured)):  # noqa: TID251 - Django's own switch
        return None
    from django.conf import settings

    chosen: Mapping[str, Any] = getattr(settings, "CHAT_ACTORS", {})
    return chosen


services.use_host_settings(host_settings)


def _carrier_options() -> CarrierOptions:
    settings = services.settings()
    return CarrierOptions(
        namespace=settings.namespace,
        dead_suffix=".dead",
        pinned_db=settings.queue_db,
        lease_ms=settings.lease_ms,
        unknown_actor_grace_ms=UNKNOWN_ACTOR_GRACE_MS,
        dead_max_age_ms=settings.dead_max_age_s * 1000,
        dead_max=settings.dead_max,
    )


def _retry_policy() -> RetryPolicy:
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
    # Reading all settings costs 0.3 s (pydantic); without either of these the answer is the default.
    return "CHAT_BROKER" in os.environ or host_settings() is not None  # noqa: TID251 - a peek, settings.py reads it


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
        sentry.start(work.settings.sentry_dsn, environment=work.settings.sentry_environment)
        if isinstance(broker, CarrierBroker):
            try:
                work.settings.queue_connection()
            except SettingsError as error:
                raise _refusal(ExitCode.SETTINGS, str(error)) from error


class StoreConnections(Middleware):
    """Drops stale database connections around every message: a worker thread outlives them."""

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


def make_broker() -> Broker:
    """Build the broker that the settings name; a third party's is a callable ``(middleware) -> Broker`` like ours.

    One that cannot be found is built as the Redis one, which then refuses to work: reading the settings says what is wrong.
    """
    # The store first: its hooks talk to a database, and behind the time limit one that hangs would cost the worker's thread.
    stack = [StoreConnections(), *default_stack(retry_policy=_retry_policy), WorkerBoot()]
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


def _become_global() -> None:
    """Be Dramatiq's global broker, unless the host has one already: then it names ours, ``dramatiq actors:broker``."""
    if dramatiq.broker.global_broker is None:
        dramatiq.set_broker(broker)


_become_global()


def on_dead_letter(listener: Listener) -> None:
    """Have ``listener`` told of every dead letter, in some worker process, at least once."""
    for middleware in broker.middleware:
        if isinstance(middleware, DeadLetterAnnouncer):
            middleware.listeners.append(listener)


on_dead_letter(sentry.report_dead_letter)


def on_worker_boot(prepare: Callable[[Broker], Callable[[], None]]) -> None:
    """Have ``prepare`` called in every worker process when its threads run; what it returns is called at shutdown."""
    broker.add_middleware(_WorkerPart(prepare))


class _WorkerPart(Middleware):
    def __init__(self, prepare: Callable[[Broker], Callable[[], None]]) -> None:
        self.prepare = prepare
        self.stop: Callable[[], None] | None = None

    def after_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        self.stop = self.prepare(broker)

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        if self.stop is not None:
            self.stop()
