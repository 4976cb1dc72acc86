"""Take out of a Sentry event what must not leave: arguments, keys, addresses, values of variables, foreign texts.

``sentry_client`` hooks it into the SDK. Pure: events are the plain dictionaries that the SDK builds.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Event = dict[str, Any]

#: Packages of this distribution.
OWN_PACKAGES = frozenset({"actors", "middleware"})
#: Tags that mark an event as one about our messages.
OUR_TAGS = frozenset({"actor", "queue", "job_id", "attempt"})
#: Request headers that hold a key.
_SECRET_HEADERS = frozenset({"apikey", "authorization", "cookie", "x-api-key"})
#: What may be said of a message; the rest of what the stock integration ships are arguments and options.
_MESSAGE_FIELDS = ("actor_name", "queue_name", "message_id", "message_timestamp")
#: Parts of an event that hold what others put there: requests, people, log records, breadcrumbs with queries and URLs.
_FOREIGN_PARTS = ("request", "user", "extra", "breadcrumbs", "_metrics_summary")
#: Tags that an event about a message keeps: every one of ours, whose values are ids, names and codes.
_KEPT_TAGS = OUR_TAGS | {"instance", "reason", "code", "cause", "alert", "subject", "state", "shard"}
#: Contexts that the SDK fills with facts of the machine; any other may hold what a host put there.
_KEPT_CONTEXTS = frozenset({"trace", "runtime", "os", "device", "culture", "profile", "carrier"})
#: What a span may say beside its name; whatever begins with ``messaging.`` too.
_KEPT_DATA = frozenset(
    {
        "db.system",
        "http.request.method",
        "http.response.status_code",
        "sentry.op",
        "sentry.origin",
        "server.address",
        "thread.id",
        "thread.name",
    }
)
#: Attributes of a streamed span, a log line or a metric that the SDK itself sets.
_KEPT_ATTRIBUTES = _KEPT_DATA | {
    "logger.name",
    "sentry.environment",
    "sentry.release",
    "sentry.sdk.name",
    "sentry.sdk.version",
    "sentry.segment.id",
    "sentry.segment.name",
    "sentry.segment.name.source",
    "sentry.severity_number",
    "sentry.severity_text",
}
#: End of the origin of spans that this project makes; their names are its own.
OUR_ORIGIN = ".carrier"
#: Loggers of this distribution, whose texts are constants.
_OUR_LOGGERS = tuple(f"{name}." for name in sorted(OWN_PACKAGES))
_WITHHELD = "[withheld: a text that may quote a message]"
#: First word of a statement or a request: all that is kept of the name of somebody else's span.
_VERB = re.compile(r"[A-Z]{2,12}(?= |$)")
_HIDDEN = "[hidden]"
#: Anything like an address (mail or chat), and digits that could be a phone number; ids with dashes are none. Bounded: without
#: it a long word costs its length squared (10,000 letters: 0.7 s, in which no other thread runs).
_ADDRESS = re.compile(r"[\w.+-]{1,128}@[\w.-]+")
_NUMBER = re.compile(r"(?<![\w-])\+?\d[\d ().-]{6,18}\d(?![\w-])")


def is_ours(event: Event) -> bool:
    """Whether the event is about a message of ours, and not about the host this process also serves."""
    tags = event.get("tags")
    return isinstance(tags, dict) and tags.keys() >= OUR_TAGS


def scrub_event(event: Event, hint: Any = None, *, inside: Mapping[str, str] | None = None) -> Event:
    """Scrubbed event, changed in place.

    ``inside``: tags of the message that ran when it was captured, whatever the event says of itself. Of the host's own events only our frames'
    variables and headers with keys are taken out. Should this fail, what is left is an event that says so: one lost event is
    better than one leaked message.
    """
    try:
        ours = inside is not None or is_ours(event)
        _scrub_frames(event, ours=ours)
        _scrub_headers(event)
        if ours:
            _scrub_ours(event, hint if isinstance(hint, dict) else {}, inside)
    except Exception as error:
        # The SDK would log this error and send the event as it was.
        return {
            **{name: event[name] for name in ("event_id", "timestamp", "level", "platform") if name in event},
            "message": f"an event was withheld: scrubbing it failed ({type(error).__name__})",
        }
    return event


def scrub_telemetry(item: dict[str, Any]) -> dict[str, Any] | None:
    """A streamed span, log line or metric of a running message, scrubbed; None where nothing of it may leave.

    Of log lines only this project's own leave: the text of any other may be put together of anything.
    """
    if "body" in item and not str((item.get("attributes") or {}).get("logger.name", "")).startswith(_OUR_LOGGERS):
        return None
    attributes = item.get("attributes") or {}
    kept = {name: value for name, value in attributes.items() if _is_kept(name, _KEPT_ATTRIBUTES)}
    if "body" in item:
        # Ours are a constant, and ids in the record's extra fields, which the SDK takes as attributes.
        item["body"] = hide(str(attributes.get("sentry.message.template", item["body"])))
    elif "name" in item and "end_timestamp" in item:
        item["name"] = _span_name(str(attributes.get("sentry.origin", "")), str(item["name"]))
        kept.pop("sentry.segment.name", None)
    item["attributes"] = kept
    return item


def hide(text: str) -> str:
    """Text without what looks like an address or a phone number."""
    return _NUMBER.sub(_HIDDEN, _ADDRESS.sub(_HIDDEN, text))


def _scrub_ours(event: Event, hint: dict[str, Any], inside: Mapping[str, str] | None) -> None:
    for name in _FOREIGN_PARTS:
        event.pop(name, None)
    # Files that a host hangs on its scope.
    hint.get("attachments", []).clear()
    given = event.get("tags")
    tags = given if isinstance(given, dict) and inside is None else inside or {}
    event["tags"] = {name: tags[name] for name in tags if name in _KEPT_TAGS}
    if not {"exception", "stacktrace", "threads"} & event.keys() and event.get("type") is None:
        # Else a client that attaches stack traces attaches one behind our back, with the values of variables.
        event["threads"] = {"values": []}
    if "transaction" in event:
        event["transaction"] = event["tags"].get("actor", _WITHHELD)
    _scrub_errors(event)
    for span in event.get("spans") or ():
        _scrub_span(span)
    _scrub_texts(event)
    _scrub_contexts(event)


def _scrub_errors(event: Event) -> None:
    for value in _values(event, "exception"):
        # Only texts that this project wrote are known to quote nothing.
        mechanism = value.get("mechanism") or {}
        module = str(value.get("module") or "")
        own = module.partition(".")[0] in OWN_PACKAGES or mechanism.get("type") == "dead_letter"
        value["value"] = hide(str(value.get("value") or "")) if own else ""
        mechanism.pop("data", None)
        mechanism.pop("meta", None)


def _scrub_span(span: dict[str, Any]) -> None:
    """A query, a key or a URL becomes its first word."""
    span["description"] = _span_name(str(span.get("origin") or ""), str(span.get("description") or ""))
    span["data"] = {name: value for name, value in (span.get("data") or {}).items() if _is_kept(name, _KEPT_DATA)}
    span.pop("tags", None)


def _span_name(origin: str, name: str) -> str:
    if origin.endswith(OUR_ORIGIN):
        return hide(name)
    verb = _VERB.match(name)
    return verb.group() if verb else ""


def _is_kept(name: str, kept: frozenset[str]) -> bool:
    return name in kept or name.startswith("messaging.")


def _scrub_texts(event: Event) -> None:
    entry = event.get("logentry")
    if entry is not None:
        # A template with arguments is a constant of the code, and its arguments are not. One without may be made of them.
        params = [_HIDDEN for _ in entry.get("params") or ()]
        is_constant = params or str(event.get("logger") or "").startswith(_OUR_LOGGERS)
        text = hide(str(entry.get("message") or "")) if is_constant else _WITHHELD
        event["logentry"] = {"message": text, "params": params} if params else {"message": text}
    if event.get("message") is not None:
        event["message"] = _WITHHELD


def _scrub_contexts(event: Event) -> None:
    contexts = event.get("contexts") or {}
    kept = {name: contexts[name] for name in contexts if name in _KEPT_CONTEXTS}
    if isinstance((kept.get("trace") or {}).get("data"), dict):
        data = kept["trace"]["data"]
        kept["trace"]["data"] = {name: data[name] for name in data if _is_kept(name, _KEPT_DATA)}
    if "dramatiq" in contexts:
        data = contexts["dramatiq"].get("data")
        said = {name: data[name] for name in _MESSAGE_FIELDS if name in data} if isinstance(data, dict) else {}
        kept["dramatiq"] = {"type": "dramatiq", "data": said}
    if contexts:
        event["contexts"] = kept


def _scrub_frames(event: Event, *, ours: bool) -> None:
    for value in (*_values(event, "exception"), *_values(event, "threads")):
        for frame in (value.get("stacktrace") or {}).get("frames") or ():
            if ours or str(frame.get("module") or "").partition(".")[0] in OWN_PACKAGES:
                frame.pop("vars", None)


def _scrub_headers(event: Event) -> None:
    holders = [event.get("request") or {}]
    breadcrumbs = event.get("breadcrumbs")
    crumbs = breadcrumbs.get("values") if isinstance(breadcrumbs, dict) else breadcrumbs
    holders += [crumb.get("data") or {} for crumb in crumbs or () if isinstance(crumb, dict)]
    for holder in holders:
        headers = holder.get("headers")
        if isinstance(headers, dict):
            holder["headers"] = {
                name: _HIDDEN if str(name).lower() in _SECRET_HEADERS else value for name, value in headers.items()
            }


def _values(event: Event, part: str) -> Iterator[dict[str, Any]]:
    holder = event.get(part)
    values = holder.get("values") if isinstance(holder, dict) else holder
    return (value for value in values or () if isinstance(value, dict))
