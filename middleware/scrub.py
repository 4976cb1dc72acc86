"""Take out of a Sentry event what must not leave: arguments, keys, addresses, values of variables, foreign texts.

``sentry`` hooks it into the SDK. Pure: events are the plain dictionaries that the SDK builds.
"""

import re
from collections.abc import Iterator
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
_FOREIGN_PARTS = ("request", "user", "extra", "breadcrumbs")
_HIDDEN = "[hidden]"
#: Anything like an address (mail or chat), and digits that could be a phone number; ids with dashes are none.
_ADDRESS = re.compile(r"[\w.+-]+@[\w.-]+")
_NUMBER = re.compile(r"(?<![\w-])\+?\d[\d ().-]{6,18}\d(?![\w-])")


def is_ours(event: Event) -> bool:
    """Whether the event is about a message of ours, and not about the host this process also serves."""
    tags = event.get("tags")
    return isinstance(tags, dict) and tags.keys() >= OUR_TAGS


def scrub_event(event: Event, hint: Any = None) -> Event:
    """Scrubbed event, changed in place; hints are not used.

    Of the host's own events only our frames' variables and headers with keys are taken out. Should this fail, what is left
    is an event that says so: one lost event is better than one leaked message.
    """
    try:
        _scrub_frames(event)
        _scrub_headers(event)
        if is_ours(event):
            _scrub_ours(event)
    except Exception as error:
        # The SDK would log this error and send the event as it was.
        return {
            **{name: event[name] for name in ("event_id", "timestamp", "level", "platform") if name in event},
            "message": f"an event was withheld: scrubbing it failed ({type(error).__name__})",
        }
    return event


def hide(text: str) -> str:
    """Text without what looks like an address or a phone number."""
    return _NUMBER.sub(_HIDDEN, _ADDRESS.sub(_HIDDEN, text))


def _scrub_ours(event: Event) -> None:
    for name in _FOREIGN_PARTS:
        event.pop(name, None)
    for value in _values(event, "exception"):
        # Only texts that this project wrote are known to quote nothing.
        module = str(value.get("module") or "")
        own = module.partition(".")[0] in OWN_PACKAGES or (value.get("mechanism") or {}).get("type") == "dead_letter"
        value["value"] = hide(str(value.get("value") or "")) if own else ""
    for span in event.get("spans") or ():
        # Queries and URLs.
        span["description"] = hide(str(span.get("description") or ""))
        span.pop("data", None)
    message = event.get("logentry")
    if message is not None:
        # The template is a constant of the code; its arguments are not.
        event["logentry"] = {"message": hide(str(message.get("message") or ""))}
    if event.get("message") is not None:
        event["message"] = hide(str(event["message"]))
    if "dramatiq" in (event.get("contexts") or {}):
        data = event["contexts"]["dramatiq"].get("data")
        kept = {name: data[name] for name in _MESSAGE_FIELDS if name in data} if isinstance(data, dict) else {}
        event["contexts"]["dramatiq"] = {"type": "dramatiq", "data": kept}


def _scrub_frames(event: Event) -> None:
    ours = is_ours(event)
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
