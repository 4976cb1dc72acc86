"""Answers as Evolution 2.3.6 gives them, and the pages of the proxies before it, to the letter.

``contract`` answers with them, ``faults`` names them as presets. Source: docs/gateways.md, sections 1 to 6.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_TITLES = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}
JSON = "application/json; charset=utf-8"
HTML = "text/html"
CLOSED = "Connection Closed"


@dataclass(frozen=True, slots=True)
class Manner:
    """How an answer is written: ``plain``, ``drop``, ``hang`` (amount: s), ``drip`` (bytes per s), ``cut`` (bytes)."""

    name: str = "plain"
    amount: float = 0.0


PLAIN = Manner()


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. ``seq`` is the delivery that it confirms."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    manner: Manner = PLAIN
    seq: int | None = None


class Refused(Exception):
    """A request that ends before the accept point."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def as_json(status: int, body: Any) -> Reply:
    """``body`` as JSON."""
    return Reply(status, json.dumps(body, separators=(",", ":")).encode())


def envelope(status: int, message: Any, *, title: str | None = None) -> Reply:
    """Evolution's error body."""
    error = title or _TITLES.get(status, "Internal Server Error")
    return as_json(status, {"status": status, "error": error, "response": {"message": message}})


def page(status: int, title: str, *, server: str) -> Reply:
    """A proxy's error page."""
    html = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    return Reply(status, html.encode(), content_type=HTML)


def not_loaded(missing: str) -> Reply:
    """The instance is in the database and not in memory, as while Evolution boots; ``missing`` is what was to be called."""
    return envelope(500, f"Cannot read properties of undefined (reading '{missing}')")


def no_instance(name: str) -> Reply:
    """No such instance."""
    return envelope(404, [f'The "{name}" instance does not exist'])


#: ``whatsappNumbers`` shows exceptions as they are, and a JavaScript error has nothing to show.
UNLOADED_NUMBERS = as_json(400, {})
UNAUTHORIZED = envelope(401, "Unauthorized")
#: A database failure quotes the row that it could not write, chat message included.
_PRISMA = (
    "PrismaClientKnownRequestError: \nInvalid `this.prismaRepository.message.create()` invocation in\n"
    "/evolution/dist/main.js:1\n\n  data: {{ message: {{ conversation: {text!r} }} }}\nServer has closed the connection."
)
_ENVOY = "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
_GRAPH = {
    "message": "(#131030) Recipient phone number not in allowed list",
    "type": "OAuthException",
    "code": 131030,
    "error_data": {"messaging_product": "whatsapp", "details": "Recipient phone number not in allowed list"},
    "fbtrace_id": "AbCdEfGhIjK",
}
#: An instance on the Cloud API whose call to Graph got no answer at all.
_NO_GRAPH = "TypeError: Cannot read properties of undefined (reading 'data')"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a preset may need to know of the request."""

    instance: str
    unloaded: str = "textMessage"
    text: str = field(default="", repr=False)
    retry_after: str | None = None


def _too_many(subject: Subject) -> Reply:
    headers = {} if subject.retry_after is None else {"Retry-After": subject.retry_after}
    reply = page(429, "429 Too Many Requests", server="nginx")
    return Reply(429, reply.body, content_type=HTML, headers=headers)


#: Preset name → answer.
PRESETS: dict[str, Callable[[Subject], Reply]] = {
    "conn_closed_500": lambda _: envelope(500, CLOSED),
    "conn_closed_400": lambda _: envelope(400, [f"Error: {CLOSED}"]),
    "object_object": lambda _: envelope(400, ["[object Object]"]),
    "timed_out": lambda _: envelope(400, ["Error: Timed Out"]),
    "prisma_after_send": lambda subject: envelope(400, [_PRISMA.format(text=subject.text)]),
    "no_sessions": lambda _: envelope(400, ["SessionError: No sessions"]),
    "usync_find": lambda _: envelope(500, "Cannot read properties of undefined (reading 'find')"),
    "not_loaded": lambda subject: not_loaded(subject.unloaded),
    "bad_key": lambda _: UNAUTHORIZED,
    "no_instance": lambda subject: no_instance(subject.instance),
    "nginx_502": lambda _: page(502, "502 Bad Gateway", server="nginx"),
    "nginx_503": lambda _: page(503, "503 Service Temporarily Unavailable", server="nginx"),
    "nginx_504": lambda _: page(504, "504 Gateway Time-out", server="nginx"),
    "cf_520": lambda _: page(520, "520: Web server is returning an unknown error", server="cloudflare"),
    "cf_524": lambda _: page(524, "524: A timeout occurred", server="cloudflare"),
    "envoy_503_reset": lambda _: Reply(503, _ENVOY.encode(), content_type="text/plain"),
    "429": _too_many,
    "graph_error_201": lambda _: as_json(201, _GRAPH),
    "business_no_answer": lambda _: envelope(400, [_NO_GRAPH]),
}
#: A proxy answers these before it looks at keys or bodies.
PROXY_PAGES = frozenset({"nginx_502", "nginx_503", "nginx_504", "cf_520", "cf_524", "envoy_503_reset", "429"})
#: These are only ever seen after the message went out; the row is lost.
AFTER_SEND = frozenset({"prisma_after_send"})
#: Bodies that are no JSON, by name.
BROKEN_BODIES = {"html": b"<html><body>ok</body></html>", "cut": b'{"key":', "empty": b"", "null": b"null"}
