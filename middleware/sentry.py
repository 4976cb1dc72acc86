"""Report dead letters to Sentry: one event for each, nothing for a retry, no content.

``wiring`` calls :func:`start` when a worker process boots and has dead letters announced to :func:`report_dead_letter`; the
scope stands in the stack of our broker. Where sentry-sdk is not installed, or nobody gave a DSN, nothing happens.
"""

import logging
import sys
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import StrEnum
from types import ModuleType
from typing import Any
from uuid import UUID, uuid5

from dramatiq import Broker, MessageProxy, Middleware

from middleware.letters import DeadLetter
from middleware.scrub import OWN_PACKAGES, Event, scrub_event

logger = logging.getLogger(__name__)

_EVENTS = UUID("8a7e0b5e-2f3c-5d51-9a35-6d0a1c4be1f2")
#: Loggers whose errors are, or become, dead letters; with them every failed attempt would be an event of its own.
QUIET_LOGGERS = ("dramatiq.worker.WorkerThread", "dramatiq.worker.ConsumerThread*", "middleware.*")


class SentryState(StrEnum):
    """What :func:`start` found."""

    #: No DSN: nothing is reported.
    OFF = "off"
    #: The host has initialised Sentry; its client is used as it is.
    HOST = "host"
    #: Initialised here.
    STARTED = "started"
    #: A DSN was given but sentry-sdk is not installed.
    NOT_INSTALLED = "not_installed"
    #: The DSN cannot be used.
    BAD_DSN = "bad_dsn"


def _sdk() -> ModuleType | None:
    """The SDK where somebody has initialised it; it is never imported only to find out."""
    sdk = sys.modules.get("sentry_sdk")
    return sdk if sdk is not None and sdk.get_client().is_active() else None


def start(dsn: str | None, *, environment: str | None = None, transport: Any = None) -> SentryState:
    """Make Sentry ready in this process; a client that the host has made is never replaced.

    The one made here sends dead letters and what is captured by hand, and no log record, breadcrumb, request or variable.
    ``transport`` is the SDK's: None sends to the DSN.
    """
    if _sdk() is not None:
        _hook()
        return SentryState.HOST
    if not dsn:
        return SentryState.OFF
    try:
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration
        from sentry_sdk.utils import BadDsn
    except ImportError:
        logger.warning("sentry.not_installed: pip install chat-actors[sentry]")
        return SentryState.NOT_INSTALLED
    try:
        sentry_sdk.init(
            dsn=dsn,
            environment=environment,
            transport=transport,
            default_integrations=False,
            # Waits for what is being sent when the process ends, without its greeting on stderr.
            integrations=[AtexitIntegration(callback=lambda pending, timeout: None)],
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            before_send=scrub_event,  # type: ignore[arg-type]  # its Event is a TypedDict
        )
    except BadDsn:
        # Its text quotes the DSN.
        logger.error("sentry.bad_dsn: SENTRY_DSN cannot be used; dead letters are not reported")
        return SentryState.BAD_DSN
    _hook()
    return SentryState.STARTED


def _hook() -> None:
    """Scrub every event of this process and keep our loggers out. Repeatable."""
    from sentry_sdk.integrations.logging import ignore_logger
    from sentry_sdk.scope import add_global_event_processor, global_event_processors

    for name in QUIET_LOGGERS:
        ignore_logger(name)
    if scrub_event not in global_event_processors:
        add_global_event_processor(scrub_event)  # type: ignore[arg-type]  # its Event is a TypedDict


def event_of(letter: DeadLetter) -> Event:
    """Event of a dead letter; the same letter has the same event id, so that a second report is not a second event.

    It is made of the record alone: by the time it is announced no exception lives, and the process may be another.
    """
    latest = letter.failures[-1] if letter.failures else {}
    code = str(latest.get("code") or letter.reason)
    tags = {
        "actor": letter.actor or "unreadable",
        "queue": letter.queue,
        "job_id": letter.job_id or letter.id,
        "attempt": str(letter.attempts),
        "instance": letter.group,
        "reason": letter.reason,
        "code": code,
    }
    frames = [_frame(text) for text in latest.get("frames") or ()]
    error: dict[str, Any] = {
        "type": letter.error_class or letter.reason,
        "value": letter.error or letter.reason,
        "mechanism": {"type": "dead_letter", "handled": True},
        **({"stacktrace": {"frames": frames}} if frames else {}),
    }
    return {
        # A redriven message that dies again has the same id and is news.
        "event_id": uuid5(_EVENTS, f"{letter.id}@{letter.died_at_ms}").hex,
        "timestamp": datetime.fromtimestamp(letter.died_at_ms / 1000, tz=UTC),
        "level": "error",
        "platform": "python",
        "logger": "dead_letter",
        "transaction": tags["actor"],
        "fingerprint": [tags["actor"], letter.reason, code],
        "tags": {name: value for name, value in tags.items() if value is not None},
        "exception": {"values": [error]},
    }


def _frame(text: str) -> dict[str, Any]:
    place, _, function = text.partition(" ")
    path, _, line = place.rpartition(":")
    return {
        "filename": path,
        "function": function,
        "lineno": int(line) if line.isdecimal() else None,
        "in_app": path.partition("/")[0] in OWN_PACKAGES,
    }


def report_dead_letter(letter: DeadLetter) -> None:
    """Send the event of a dead letter, if Sentry is there. Raises nothing: a letter must not wait for Sentry."""
    sdk = _sdk()
    if sdk is None:
        return
    try:
        # Whatever this thread's scope holds belongs to somebody else.
        with sdk.isolation_scope() as scope:
            scope.clear()
            sdk.get_current_scope().clear()
            sdk.capture_event(event_of(letter))
    except Exception as error:
        logger.warning("sentry.report_failed", extra={"job_id": letter.job_id, "code": type(error).__name__})


def stock_sentry_present(broker: Broker) -> bool:
    """Whether Sentry's own Dramatiq integration is on the broker: it reports every attempt, with arguments."""
    return any(
        type(one).__name__ == "SentryMiddleware" and type(one).__module__.startswith("sentry_sdk")
        for one in broker.middleware
    )


class SentryScope(Middleware):
    """Gives whatever is captured while a message runs its ids as tags, and takes everything else out of it.

    First in the stack, so that its scope is the last to be left.
    """

    def after_process_boot(self, broker: Broker) -> None:
        """Hook into a client that the host made while it was booting."""
        if _sdk() is not None:
            _hook()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Open the scope."""
        sdk = _sdk()
        if sdk is None:
            return
        if hasattr(message, "_scope_manager"):
            # The stock integration opened one for this message and captures in it when all our hooks have run.
            scope = sdk.get_isolation_scope()
        else:
            manager: AbstractContextManager[Any] = sdk.isolation_scope()
            scope = manager.__enter__()
            message.scope_of_carrier = manager  # type: ignore[attr-defined]  # rides on the message to the hook below
        for name, value in _tags(message).items():
            scope.set_tag(name, value)
        # After the processors of others, which add arguments.
        scope.add_event_processor(scrub_event)

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Leave the scope."""
        manager = getattr(message, "scope_of_carrier", None)
        if manager is not None:
            manager.__exit__(None, None, None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Leave the scope."""
        self.after_process_message(broker, message)


def _tags(message: MessageProxy) -> dict[str, str]:
    options = message.options
    tags = {
        "actor": message.actor_name,
        "queue": message.queue_name,
        "job_id": message.message_id,
        "attempt": str(int(options.get("retries", 0)) + 1),
        "instance": options.get("group"),
    }
    return {name: str(value) for name, value in tags.items() if value is not None}
