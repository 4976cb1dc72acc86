"""One request to the sandbox on its way through the contract.

``server`` makes it from bytes, ``contract`` guards it, ``endpoints`` answer it.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from actors.gateways.jids import create_jid
from actors.gateways.sandbox import faults

SENDS = ("sendText", "sendMedia", "sendWhatsAppAudio")

#: (method, group, name) → operation; the instance is the path's third segment.
_ROUTES = {
    ("GET", "instance", "connectionState"),
    ("POST", "message", "sendText"),
    ("POST", "message", "sendMedia"),
    ("POST", "message", "sendWhatsAppAudio"),
    ("POST", "chat", "fetchProfilePictureUrl"),
    ("POST", "chat", "markMessageAsRead"),
    ("POST", "chat", "updateMessage"),
    ("POST", "chat", "whatsappNumbers"),
    ("POST", "chat", "findMessages"),
    ("POST", "chat", "findStatusMessage"),
    ("GET", "group", "findGroupInfos"),
}
_INVALID = object()


@dataclass(slots=True)
class Call:
    """What was asked. ``op`` is None where no route fits."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    raw: bytes = field(repr=False)
    is_gone: Callable[[], bool]
    op: str | None = None
    instance: str = ""
    query: dict[str, str] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)
    struck: list[faults.Rule] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target)
        self.query = dict(parse_qsl(parts.query))
        segments = [unquote(one) for one in parts.path.strip("/").split("/")] if parts.path != "/" else []
        if not segments and self.method == "GET":
            self.op = "version"
        elif segments == ["instance", "fetchInstances"] and self.method == "GET":
            self.op = "fetchInstances"
        elif len(segments) == 3 and (self.method, segments[0], segments[1]) in _ROUTES:
            self.op, self.instance = segments[1], segments[2]
        self.body = self._parsed()

    def _parsed(self) -> Any:
        if not self.raw or "application/json" not in self.headers.get("content-type", ""):
            return {}
        try:
            body = json.loads(self.raw)
        except (ValueError, RecursionError):
            return _INVALID
        # Express' strict parser takes objects and lists only.
        return body if isinstance(body, dict | list) else _INVALID

    @property
    def is_malformed(self) -> bool:
        """Whether the body is no JSON."""
        return self.body is _INVALID

    @property
    def fields(self) -> dict[str, Any]:
        """The body, or nothing where it is not an object."""
        return self.body if isinstance(self.body, dict) else {}

    @property
    def is_send(self) -> bool:
        """Whether it would deliver a message."""
        return self.op in SENDS

    @property
    def client_ref(self) -> str | None:
        """``X-Client-Ref``."""
        return self.headers.get("x-client-ref")

    @property
    def client_seq(self) -> int | None:
        """``X-Client-Seq``."""
        text = self.headers.get("x-client-seq", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    @property
    def number(self) -> str:
        """``number`` as requested."""
        number = self.fields.get("number", self.query.get("groupJid", ""))
        return number if isinstance(number, str) else ""

    @property
    def text(self) -> str:
        """Text or caption."""
        text = self.fields.get("text", self.fields.get("caption", ""))
        return text if isinstance(text, str) else ""

    @property
    def lanes(self) -> list[tuple[str, ...]]:
        """What a send occupies while it runs: its instance, and its chat there."""
        if not self.is_send:
            return []
        return [(self.instance,), (self.instance, create_jid(self.number))]

    def for_faults(self) -> faults.Request:
        """What rules may ask."""
        digest = hashlib.sha256(self.target.encode() + b"|" + self.raw).hexdigest()
        return faults.Request(
            op=self.op or "unknown",
            instance=self.instance,
            reference=self.client_ref or digest,
            number=self.number,
            text=self.text,
        )

    def struck_by(self, kind: str) -> faults.Rule | None:
        """The rule of this kind that strikes the call."""
        return next((rule for rule in self.struck if rule.kind == kind), None)

    def log_entry(self) -> dict[str, Any]:
        """Its line in the log of requests."""
        return {
            "method": self.method,
            "target": self.target,
            "op": self.op,
            "instance": self.instance,
            "client_ref": self.client_ref,
            "is_send": self.is_send,
            "seq": None,
            "fault": None,
            "status": None,
            "response_sent": False,
        }
