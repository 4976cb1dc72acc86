"""One request to the sandbox on its way to its answer.

``wire`` makes it from bytes, a dialect says what it asks for, ``contract`` leads it through faults and limits.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from actors.gateways.sandbox import rules

#: A body that says it is JSON and is not.
MALFORMED = object()


@dataclass(slots=True)
class Call:
    """What was asked. The second half is filled by the dialect that claims it; ``op`` stays None where no route fits.

    ``unloaded`` names what the provider cannot find while the
    instance is not in memory. ``problem`` is why its form could not be read.
    ``jid`` is the chat that a send goes to, ``number`` what the client called it. ``instance`` is what the provider calls
    the connected number: an instance name, a phone number id.
    """

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    raw: bytes = field(repr=False)
    is_gone: Callable[[], bool]
    segments: list[str] = field(init=False)
    query: dict[str, str] = field(init=False, repr=False)
    client_ref: str | None = field(init=False)
    client_seq: int | None = field(init=False)

    op: str | None = None
    instance: str = ""
    body: Any = field(default=None, repr=False)
    is_send: bool = False
    number: str = field(default="", repr=False)
    jid: str = field(default="", repr=False)
    text: str = field(default="", repr=False)
    unloaded: str = ""
    problem: str = ""
    request_id: str = ""
    struck: list[rules.Rule] = field(default_factory=list)

    def __post_init__(self) -> None:
        path, _, query = self.target.partition("?")
        self.segments = [unquote(one) for one in path.split("/") if one]
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        self.client_ref = self.headers.get("x-client-ref")
        seq = self.headers.get("x-client-seq", "")
        self.client_seq = int(seq) if seq.isascii() and seq.isdigit() and len(seq) < 19 else None

    @property
    def fields(self) -> dict[str, Any]:
        """The body, or nothing where it is not an object."""
        return self.body if isinstance(self.body, dict) else {}

    @property
    def lanes(self) -> list[tuple[str, ...]]:
        """What a send occupies while it runs: its instance, and its chat there."""
        return [(self.instance,), (self.instance, self.jid)] if self.is_send else []

    def for_faults(self) -> rules.Request:
        """What rules may ask."""
        return rules.Request(
            op=self.op or "unknown",
            instance=self.instance,
            reference=self.client_ref or hashlib.sha256(self.target.encode() + b"|" + self.raw).hexdigest(),
            is_send=self.is_send,
            number=self.number,
            text=self.text,
        )

    def struck_by(self, kind: str) -> rules.Rule | None:
        """The rule of this kind that strikes the call."""
        return next((rule for rule in self.struck if rule.kind == kind), None)

    def log_entry(self) -> dict[str, Any]:
        """Its line in the log of requests."""
        return {
            "request_id": self.headers.get("x-request-id"),
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


def json_body(call: Call) -> Any:
    """The body as JSON: ``{}`` when there is none or it is of another type, :data:`MALFORMED` when it does not parse.

    As the strict parser of Express, it takes objects and lists only.
    """
    if not call.raw or "application/json" not in call.headers.get("content-type", ""):
        return {}
    try:
        body = json.loads(call.raw)
    except (ValueError, RecursionError):
        return MALFORMED
    return body if isinstance(body, dict | list) else MALFORMED
