"""Spans in Sentry's two ways, as children of a transaction or streamed one by one, and the trace that a message carries.

``sentry_traces`` opens those of the queue, the gateways' client that of a request. Where no client traces, all of it costs a
look at ``sys.modules``.

What a message carries is one text in its option ``trace``: ``<trace>-<span>[-<sampled>]`` as in the header ``sentry-trace``,
and behind a blank, where the trace is sampled, what its head decided for all of it (the ``baggage`` header without the names
of others, and without what the first part says already).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from middleware.scrub import OUR_ORIGIN
from middleware.sentry_client import sdk
from middleware.trace_context import SENTRY

#: Option of a message.
TRACE_OPTION = SENTRY
#: More of it is not carried: without its baggage a trace is whole, only its sampling by rules is not.
MAX_TRACE_CHARS = 400
#: Who made a span.
QUEUE_ORIGIN = f"auto.queue{OUR_ORIGIN}"
HTTP_ORIGIN = f"auto.http{OUR_ORIGIN}"

_TRACEPARENT = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})(?:-[01])?")
#: What the head of a trace decided; its id and whether it is sampled stand in the first part.
_BAGGAGE = re.compile(r"sentry-(?:public_key|release|environment|sample_rate|sample_rand|org_id)=[^,;\s]*")


class OpenSpan:
    """A span that was opened. ``active``: what is opened meanwhile in this thread is its child."""

    def __init__(self, span: Any, *, is_streamed: bool, active: bool) -> None:
        self.span = span
        self.is_streamed = is_streamed
        self.active = active
        if active:
            span.__enter__()

    def set(self, name: str, value: Any) -> None:
        """Say something of it."""
        if self.is_streamed:
            self.span.set_attribute(name, value)
        else:
            self.span.set_data(name, value)

    def end(self, status: str = "ok") -> None:
        """End it; ``status`` is one of Sentry's names for how a call ended."""
        if self.is_streamed:
            self.span.status = "ok" if status in ("ok", "cancelled") else "error"
        else:
            self.span.set_status(status)
        if self.active:
            self.span.__exit__(None, None, None)
        elif self.is_streamed:
            self.span.end()
        else:
            self.span.finish()


def is_streaming(found: ModuleType) -> bool:
    """Whether the client sends each span as it ends, of which older SDKs know nothing."""
    options = found.get_client().options
    chosen = options.get("trace_lifecycle") or (options.get("_experiments") or {}).get("trace_lifecycle")
    return bool(chosen == "stream")


def makes_traces(found: ModuleType) -> bool:
    """Whether the client may sample a trace."""
    options = found.get_client().options
    return options.get("traces_sample_rate") is not None or options.get("traces_sampler") is not None


def child(
    found: ModuleType, op: str, name: str, origin: str, *, data: Mapping[str, Any], active: bool = False
) -> OpenSpan | None:
    """A span below the one that is open in this thread; None where none is."""
    if is_streaming(found):
        if found.traces.get_current_span() is None:
            return None
        said = {"sentry.op": op, "sentry.origin": origin, **data}
        return OpenSpan(found.traces.start_span(name, said, active=active), is_streamed=True, active=False)
    parent = found.get_current_span()
    if parent is None:
        return None
    span = OpenSpan(parent.start_child(op=op, name=name, origin=origin), is_streamed=False, active=active)
    for key, value in data.items():
        span.set(key, value)
    return span


class RequestSpan:
    """What one HTTP request came to, for whoever traces it."""

    def __init__(self, span: OpenSpan | None) -> None:
        self._span = span
        self._status = "ok"

    def answered(self, status: int) -> None:
        """It was answered with this HTTP status."""
        self._status = "ok" if status < 400 else "unavailable" if status >= 500 else "invalid_argument"
        if self._span is not None:
            self._span.set("http.response.status_code", status)

    def broke(self) -> None:
        """No answer came."""
        self._status = "unavailable"

    def end(self) -> None:
        """End the span."""
        if self._span is not None:
            self._span.end(self._status)


@contextmanager
def request_span(method: str, host: str) -> Iterator[RequestSpan]:
    """A span around one HTTP request, if this thread is in a trace. It names the host and never the path, which may be secret."""
    found = sdk()
    span = None
    if found is not None:
        said = {"http.request.method": method, "server.address": host}
        span = child(found, "http.client", f"{method} {host}", HTTP_ORIGIN, data=said)
    request = RequestSpan(span)
    try:
        yield request
    except BaseException:
        request.broke()
        raise
    finally:
        request.end()


def carried(traceparent: str, baggage: str | None) -> str:
    """What a message carries of a trace."""
    kept = ",".join(_BAGGAGE.findall(baggage or "")) if traceparent.endswith("-1") else ""
    whole = f"{traceparent} {kept}" if kept else traceparent
    return whole if len(whole) <= MAX_TRACE_CHARS else traceparent


def headers_of(options: Mapping[str, Any]) -> dict[str, str]:
    """The trace that a message carries as the headers that the SDK reads; empty where it carries none that can be read."""
    traceparent, _, kept = str(options.get(TRACE_OPTION) or "").partition(" ")
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return {}
    if not kept:
        return {"sentry-trace": traceparent}
    said = f"sentry-trace_id={found.group(1)},sentry-sampled=true,{','.join(_BAGGAGE.findall(kept))}"
    return {"sentry-trace": traceparent, "baggage": said}


def trace_context(options: Mapping[str, Any]) -> dict[str, str]:
    """Where an event about a message belongs in its trace; empty where it carries none."""
    traceparent = str(options.get(TRACE_OPTION) or "").partition(" ")[0]
    found = _TRACEPARENT.fullmatch(traceparent)
    return {} if found is None else {"trace_id": found.group(1), "span_id": found.group(2), "op": "queue.publish"}
