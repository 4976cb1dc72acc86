"""One trace from whoever sends a message through its waits, retries and put-backs, as Sentry's queues page shows it.

A ``queue.publish`` span where it is sent inside a transaction, a ``queue.process`` span around each run, with the latency and the
count of retries that its queues page asks for. All runs of a message, and its dead letter, are in the trace of its sender. Stands
in the stack inside the scope of ``sentry``; nothing happens where no client traces.

Source: https://docs.sentry.io/platforms/python/tracing/instrumentation/custom-instrumentation/queues-module (2026-11).
"""

from types import ModuleType
from typing import Any

from dramatiq import Broker, Message, MessageProxy, Middleware

from middleware.clock import Clock, SystemClock
from middleware.outcomes import Dead, PutBack, Retry
from middleware.sentry_client import hook, sdk
from middleware.sentry_spans import (
    QUEUE_ORIGIN,
    TRACE_OPTION,
    OpenSpan,
    carried,
    child,
    headers_of,
    is_streaming,
    makes_traces,
)

#: Option of a message that is to run later: when that is, so that its latency does not count a wait that was asked for.
DUE_OPTION = "due_at_ms"
#: Sentry's words for what a run came to. Being put back is no failure, and no success either.
_STATUS = {Retry: "internal_error", Dead: "internal_error", PutBack: "cancelled"}


class _Carried(str):
    """The option ``trace`` on its way to Redis, with the span that ends when it is there."""

    span: OpenSpan | None = None


class _Run:
    """The spans of one run."""

    def __init__(self, root: OpenSpan, process: OpenSpan | None) -> None:
        self.root = root
        self.process = process

    def end(self, status: str) -> None:
        for span in (self.process, self.root):
            if span is not None:
                span.end(status)


class SentryTraces(Middleware):
    """Carries the trace of a message and opens its spans."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        #: The baggage that was written last, and how: a campaign's messages are all of one request.
        self._written: tuple[Any, str | None] = (None, None)

    # -- where it is sent -----------------------------------------------------------------------------------------

    def before_enqueue(self, broker: Broker, message: "Message[Any]", delay: int | None) -> None:
        """Give the message its trace. A periodic send begins one of its own: nobody asked for it."""
        found = sdk()
        options = message.options
        if found is None:
            return
        # In a process that sends and runs nothing, too, our frames keep their variables to themselves.
        hook()
        if TRACE_OPTION in options or options.get("tick") is not None:
            return
        # Dramatiq gives its hooks the message to be sent; its options are ours to add to.
        span = self._publish_span(found, message)
        if span is not None:
            trace = _Carried(carried(_traceparent(span), self._baggage(span)))
            trace.span = span
            options[TRACE_OPTION] = trace
        elif traceparent := found.get_traceparent():
            options[TRACE_OPTION] = traceparent
        if delay:
            options[DUE_OPTION] = self.clock.now_ms() + delay

    def after_enqueue(self, broker: Broker, message: "Message[Any]", delay: int | None) -> None:
        """End its span. One of a message that was not enqueued (a duplicate, no Redis) is never ended, and so never sent."""
        trace = message.options.get(TRACE_OPTION)
        if trace is not None and (span := getattr(trace, "span", None)) is not None:
            span.end()

    def _publish_span(self, found: ModuleType, message: "Message[Any]") -> OpenSpan | None:
        said = {"messaging.message.id": message.message_id, "messaging.destination.name": message.queue_name}
        return child(found, "queue.publish", message.actor_name, QUEUE_ORIGIN, data=said)

    def _baggage(self, span: OpenSpan) -> str | None:
        baggage = span.span._to_baggage() if span.is_streamed else span.span.to_baggage()
        written, text = self._written
        if written is not baggage or baggage is None:
            text = None if baggage is None else baggage.serialize()
            self._written = baggage, text
        return text

    # -- where it runs --------------------------------------------------------------------------------------------

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Go on with its trace."""
        found = sdk()
        # The stock integration traces by itself.
        if found is None or hasattr(message, "_scope_manager"):
            return
        options = message.options
        said = {
            "messaging.message.id": message.message_id,
            "messaging.destination.name": message.queue_name,
            "messaging.message.receive.latency": self._latency_ms(message),
            "messaging.message.retry.count": int(options.get("retries", 0)),
        }
        headers = headers_of(options)
        _go_on(found, headers)
        if not makes_traces(found):
            # What is reported while it runs belongs to its trace all the same.
            return
        root = _root(found, message.actor_name, headers)
        process = child(found, "queue.process", message.actor_name, QUEUE_ORIGIN, data=said, active=True)
        message.run_in_sentry = _Run(root, process)  # type: ignore[attr-defined]  # rides on the message to the hook below

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """End the run, and note when the next is due."""
        outcome = getattr(message, "outcome", None)
        if isinstance(outcome, Retry | PutBack) and TRACE_OPTION in message.options:
            message.options[DUE_OPTION] = self.clock.now_ms() + outcome.delay_ms
        run = getattr(message, "run_in_sentry", None)
        if run is not None:
            fallback = "ok" if exception is None else "internal_error"
            run.end(_STATUS.get(type(outcome), fallback))

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """End the run."""
        run = getattr(message, "run_in_sentry", None)
        if run is not None:
            run.end("cancelled")

    def _latency_ms(self, message: MessageProxy) -> int:
        """How long it could have run and did not: since it was sent, redriven, or was due. By two clocks, so never below 0."""
        options = message.options
        since_ms = max(
            message.message_timestamp, int(options.get(DUE_OPTION) or 0), int(options.get("redriven_at_ms") or 0)
        )
        return max(0, self.clock.now_ms() - since_ms)


def _go_on(found: ModuleType, headers: dict[str, str]) -> None:
    """Be in the trace of the headers, or in a new one: the thread is still in that of the message before."""
    scope = found.get_isolation_scope()
    if not headers:
        scope.set_new_propagation_context()
        found.get_current_scope().set_new_propagation_context()
    elif is_streaming(found):
        found.traces.continue_trace(headers)
    else:
        scope.generate_propagation_context(headers)


def _root(found: ModuleType, name: str, headers: dict[str, str]) -> OpenSpan:
    """The transaction of a run; in the scope that ``sentry`` opened for it."""
    if is_streaming(found):
        said = {
            "sentry.op": "queue.task",
            "sentry.origin": QUEUE_ORIGIN,
            "sentry.segment.name": name,
            "sentry.segment.name.source": "task",
        }
        span = found.traces.start_span(name, said, parent_span=None)
        return OpenSpan(span, is_streamed=True, active=False)
    transaction = found.continue_trace(headers, op="queue.task", name=name, source="task", origin=QUEUE_ORIGIN)
    return OpenSpan(found.start_transaction(transaction), is_streamed=False, active=True)


def _traceparent(span: OpenSpan) -> str:
    header: str = span.span._to_traceparent() if span.is_streamed else span.span.to_traceparent()
    return header
