"""Spans for OpenTelemetry: one where a message is sent, one for each attempt, in one trace through delays and retries.

Through the standard API alone, and only where somebody in the process has set up an SDK: else nothing is done and nothing is added
to messages. Names and attributes follow the semantic conventions for messaging (1.40, checked 2026-11). An
attempt's span is a child of the send's, with a link to it, as the conventions ask, and one to the attempt before.

No argument, text or number enters a span, and no text of an error: its code says what it was.
"""

import os
import sys
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from dramatiq import Broker, Message, MessageProxy, Middleware

from middleware.outcomes import Dead, PutBack, Retry
from middleware.trace_context import OTEL

#: What the conventions call the system; there is no name for ours.
SYSTEM = "dramatiq"
_LAST = "last"
#: The API makes a provider by itself where this says which.
_IS_NAMED = bool(os.environ.get("OTEL_PYTHON_TRACER_PROVIDER"))  # noqa: TID251 - the API's own variable, as the API reads it


def _api() -> ModuleType | None:
    """The API, where somebody records; it is never imported only to find that nobody does (redis-py may have loaded it)."""
    api = sys.modules.get("opentelemetry.trace")
    # Asking the API looks into the environment each time, which costs more than all that is done for a plain message.
    if api is None or (getattr(api, "_TRACER_PROVIDER", api) is None and not _IS_NAMED):
        return None
    return None if isinstance(api.get_tracer_provider(), api.ProxyTracerProvider) else api


class Tracing(Middleware):
    """See the module. Stands high in the stack: what runs below it is inside its span."""

    def __init__(self) -> None:
        #: Spans of sends under way, by the identity of their message.
        self._sends: dict[int, Any] = {}

    def before_enqueue(self, broker: Broker, message: "Message[Any]", delay: int | None) -> None:
        """Begin the span of a send and put its context into the message; one that only goes back is no send."""
        api = _api()
        if api is None or isinstance(message, MessageProxy):
            return
        span = _tracer(api).start_span(
            f"send {message.queue_name}", kind=api.SpanKind.PRODUCER, attributes=_attributes(message, "send")
        )
        carrier = _injected(api, span)
        if not carrier:
            return
        message.options[OTEL] = carrier
        key = id(message)
        self._sends[key] = span
        # A send that fails, or finds its message there already, has no second hook; then the message itself goes.
        weakref.finalize(message, self._end, key)

    def after_enqueue(self, broker: Broker, message: "Message[Any]", delay: int | None) -> None:
        """The send is over."""
        if self._sends:
            self._end(id(message))

    def _end(self, key: int) -> None:
        span = self._sends.pop(key, None)
        if span is not None:
            span.end()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Begin the span of an attempt."""
        api = _api()
        if api is None:
            return
        carrier = _carrier_of(message)
        parent = _extracted(carrier)
        links = [_link(api, parent), _link(api, _extracted({"traceparent": carrier.get(_LAST)}))]
        options = message.options
        manager: AbstractContextManager[Any] = _tracer(api).start_as_current_span(
            f"process {message.queue_name}",
            context=parent,
            kind=api.SpanKind.CONSUMER,
            attributes={
                **_attributes(message, "process"),
                "messaging.dramatiq.attempt": int(options.get("retries", 0)) + 1,
                "messaging.dramatiq.put_backs": int((options.get("put_backs") or {}).get("count", 0)),
            },
            links=[link for link in links if link is not None],
            record_exception=False,
            set_status_on_exception=False,
        )
        message.span_of_attempt = manager, manager.__enter__()  # type: ignore[attr-defined]  # rides to the hook below

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """End it, with what the attempt came to; the next attempt finds its context in the message."""
        manager, span = getattr(message, "span_of_attempt", (None, None))
        api = _api() if manager is not None else None
        if manager is None or span is None or api is None:
            return
        del message.span_of_attempt
        outcome = getattr(message, "outcome", None)
        if isinstance(outcome, Retry | PutBack | Dead):
            span.set_attribute("messaging.dramatiq.outcome", outcome.name)
            span.set_attribute("messaging.dramatiq.reason", outcome.reason)
            again = _injected(api, span).get("traceparent")
            carrier = _carrier_of(message)
            if again and not isinstance(outcome, Dead):
                message.options[OTEL] = {**carrier, _LAST: again}
        if exception is not None and not isinstance(outcome, PutBack):
            code = getattr(outcome, "reason", None) or "hook_failed"
            span.set_attribute("error.type", code)
            span.set_status(api.StatusCode.ERROR, code)
        manager.__exit__(None, None, None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """End it."""
        self.after_process_message(broker, message)


def _tracer(api: ModuleType) -> Any:
    return api.get_tracer("chat-actors")


def _attributes(message: "Message[Any] | MessageProxy", operation: str) -> dict[str, Any]:
    found = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": message.queue_name,
        "messaging.message.id": message.message_id,
        "messaging.dramatiq.actor": message.actor_name,
        "messaging.dramatiq.group": message.options.get("group"),
        "messaging.dramatiq.lane": message.options.get("lane"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _carrier_of(message: MessageProxy) -> Mapping[str, Any]:
    carrier = message.options.get(OTEL)
    return carrier if isinstance(carrier, dict) else {}


def _injected(api: ModuleType, span: Any) -> dict[str, str]:
    """Context of a span as text; empty where nothing is recorded."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context=api.set_span_in_context(span))
    return carrier


def _extracted(carrier: Mapping[str, Any]) -> Any:
    """Context of a text, None where there is none or it cannot be read."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    texts = {name: value for name, value in carrier.items() if isinstance(value, str)}
    if "traceparent" not in texts:
        return None
    # Whatever this thread's context holds belongs to somebody else.
    return TraceContextTextMapPropagator().extract(texts, context=Context())


def _link(api: ModuleType, context: Any) -> Any:
    if context is None:
        return None
    span_context = api.get_current_span(context).get_span_context()
    return api.Link(span_context) if span_context.is_valid else None
