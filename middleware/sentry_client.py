"""The Sentry client of this process: the host's as it is, or one of our own where there is none.

The only module that imports sentry-sdk, and only once somebody has or a DSN asks for it. Everything of ours that speaks to
Sentry takes :func:`sdk` from here. Hooked into whatever client there is: an event processor that scrubs, and the loggers whose
lines would say what a dead letter says.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any

from middleware.scrub import OUR_TAGS, Event, scrub_event, scrub_telemetry

logger = logging.getLogger(__name__)

#: Loggers whose errors are, or become, dead letters; with them every failed attempt would be an event of its own.
QUIET_LOGGERS = ("dramatiq.worker.WorkerThread", "dramatiq.worker.ConsumerThread*", "middleware.*")
#: Where a host may look at streamed spans, log lines and metrics, which pass no event processor.
_STREAMS = ("before_send_log", "before_send_metric", "before_send_span")
#: Tags of the message that runs in this context: what is captured then is about it, whatever becomes of the scope.
inside: ContextVar[Mapping[str, str] | None] = ContextVar("inside", default=None)
#: Whether what is captured is an event of our own, made of a record and not of this thread.
_is_own: ContextVar[bool] = ContextVar("is_own", default=False)
#: Errors in the log that are reported in another way.
_told_otherwise: set[str] = set()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """A client of our own. None leaves it to the SDK, which asks its variables and, for the release, the checkout.

    ``traces_sample_rate`` 0 makes no traces. ``transport`` is the SDK's: None sends to the DSN.
    """

    environment: str | None = None
    release: str | None = None
    traces_sample_rate: float = 0.0
    transport: Any = None


def sdk() -> ModuleType | None:
    """The SDK where somebody has initialised it; it is never imported only to find out."""
    found = sys.modules.get("sentry_sdk")
    return found if found is not None and found.get_client().is_active() else None


def start(dsn: str | None, options: ClientOptions | None = None) -> SentryState:
    """Make Sentry ready in this process; a client that the host has made is never replaced.

    The one made here sends dead letters, alerts, check-ins and, where asked for, traces; no log record, breadcrumb, request or
    variable.
    """
    if sdk() is not None:
        hook()
        return SentryState.HOST
    if not dsn:
        return SentryState.OFF
    options = options or ClientOptions()
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
            environment=options.environment,
            release=options.release,
            traces_sample_rate=options.traces_sample_rate or None,
            transport=options.transport,
            default_integrations=False,
            # Waits for what is being sent when the process ends, without its greeting on stderr.
            integrations=[AtexitIntegration(callback=lambda pending, timeout: None)],
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
        )
    except BadDsn:
        # Its text quotes the DSN.
        logger.error("sentry.bad_dsn: SENTRY_DSN cannot be used; dead letters are not reported")
        return SentryState.BAD_DSN
    hook()
    return SentryState.STARTED


def hook() -> None:
    """Scrub every event of this process and keep our loggers out. Cheap when it is done; a later client is hooked too."""
    from sentry_sdk import get_client
    from sentry_sdk.scope import add_global_event_processor, global_event_processors

    if process_event not in global_event_processors:
        from sentry_sdk.integrations.logging import ignore_logger

        for name in QUIET_LOGGERS:
            ignore_logger(name)
        add_global_event_processor(process_event)  # type: ignore[arg-type]  # its Event is a TypedDict
    _guard_streams(get_client().options)


def tell_otherwise(*events: str) -> None:
    """Make no event of these lines of our log: what they say is reported as a dead letter or an alert."""
    _told_otherwise.update(events)


def process_event(event: Event, hint: Any = None) -> Event | None:
    """The processor that every event of this process passes; None drops it."""
    if event.get("type") == "check_in":
        return event
    said = (event.get("logentry") or {}).get("message")
    if said in _told_otherwise and str(event.get("logger") or "").startswith("actors."):
        return None
    return scrub_event(event, hint, inside=None if _is_own.get() else inside.get())


def processor_of(tags: Mapping[str, str]) -> Callable[[Event, Any], Event | None]:
    """The same for the scope of one message, which threads that its actor starts have too."""

    def process(event: Event, hint: Any = None) -> Event | None:
        token = inside.set(tags)
        try:
            return process_event(event, hint)
        finally:
            inside.reset(token)

    return process


def _guard_streams(options: dict[str, Any]) -> None:
    for name in _STREAMS:
        earlier = options.get(name) or (options.get("_experiments") or {}).get(name)
        if not isinstance(earlier, _Guard):
            options[name] = _Guard(earlier)


def _is_inside() -> bool:
    """Whether a message runs here, or ran where this thread was started: such a thread keeps what its scope held."""
    if inside.get() is not None:
        return True
    found = sdk()
    tags = getattr(found.get_isolation_scope(), "_tags", None) if found is not None else None
    return isinstance(tags, dict) and tags.keys() >= OUR_TAGS


class _Guard:
    """Scrubs what is streamed while a message runs, then asks whom the host has put there."""

    def __init__(self, earlier: Callable[[Any, Any], Any] | None) -> None:
        self.earlier = earlier

    def __call__(self, item: Any, hint: Any) -> Any:
        if _is_inside():
            try:
                item = scrub_telemetry(item)
            except Exception:
                # A span cannot be dropped here: the SDK would send it as it was.
                item = {**item, "name": "", "body": "", "attributes": {}}
        return item if item is None or self.earlier is None else self.earlier(item, hint)


def check_in(**fields: Any) -> None:
    """Send a check-in of a periodic send; ``fields`` are those of the SDK's ``capture_checkin``."""
    from sentry_sdk.crons import capture_checkin

    capture_checkin(**fields)


def capture(event: Event, *, subject: str) -> None:
    """Send an event of our own, if Sentry is there, with nothing of this thread's scope. Raises nothing."""
    found = sdk()
    if found is None:
        return
    token = _is_own.set(True)
    try:
        hook()
        # Whatever this thread's scope holds belongs to somebody else.
        with found.isolation_scope() as scope:
            scope.clear()
            found.get_current_scope().clear()
            found.capture_event(event)
    except Exception as error:
        logger.warning("sentry.report_failed", extra={"job_id": subject, "code": type(error).__name__})
    finally:
        _is_own.reset(token)
