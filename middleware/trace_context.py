"""Where the context of a trace travels in a message: one option per tool, each in the form of W3C's ``traceparent``.

``tracing`` (OpenTelemetry) keeps its own under :data:`OTEL`; whoever else carries a trace takes another key and adds it to
:data:`KEYS`, so that the log can name the trace. Of a baggage, which holds what applications put there,
only what the tool itself decided about the trace travels.
"""

import re
from collections.abc import Mapping
from typing import Any

#: OpenTelemetry's: ``traceparent``, ``tracestate``, and ``last`` for the attempt before.
OTEL = "otel"
#: Sentry's: one text, its header ``sentry-trace`` and what ``sentry_spans`` adds.
SENTRY = "trace"
#: Options that may name a trace, the first that does counts.
KEYS = (OTEL, SENTRY)
_TRACE_ID = re.compile(r"(?:00-)?([0-9a-f]{32})-[0-9a-f]{16}")


def trace_id_of(options: Mapping[str, Any]) -> str | None:
    """Id of the trace that a message belongs to, 32 hexadecimal digits; None where nobody traces."""
    for key in KEYS:
        context = options.get(key)
        parent = context.get("traceparent") if isinstance(context, Mapping) else context
        found = _TRACE_ID.match(parent) if isinstance(parent, str) else None
        if found is not None:
            return found[1]
    return None
