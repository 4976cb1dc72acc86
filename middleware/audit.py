"""Who did what to the queues: a capped stream on their own database.

Commands, admin pages and the sweep write to it before they act; ``chat-actors audit`` reads it. An entry has ids, counts and
filters, never a text or a number.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from middleware.brokers.redis.broker import CarrierBroker
from middleware.brokers.redis.scripts import translated
from middleware.clock import iso

#: Entries that are kept, at least.
KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One deed: ``who`` did ``what`` (``dlq.redrive``) to what ``facts`` say."""

    id: str
    at_ms: int
    who: str
    what: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The public shape (``audit --json``)."""
        at = iso(self.at_ms, to="milliseconds")
        return {"id": self.id, "at": at, "who": self.who, "what": self.what, "facts": dict(self.facts)}


class AuditTrail:
    """The trail of one broker's queues. Methods raise ``middleware.errors.PipelineError`` when Redis does not do its part."""

    def __init__(self, broker: CarrierBroker) -> None:
        self._client: redis.Redis = broker.client
        self._key = broker.machinery.keys.audit

    def note(self, who: str, what: str, **facts: Any) -> None:
        """Add an entry; call it before the deed, so that nothing is done that nobody knows of. What is None is left out."""
        told = {name: value for name, value in facts.items() if value is not None}
        entry: dict[Any, Any] = {"who": who, "what": what, "facts": json.dumps(told, default=str)}
        with translated(f"noting {what} in the audit trail"):
            self._client.xadd(self._key, entry, maxlen=KEPT, approximate=True)

    def newest(self, *, limit: int = 100) -> list[Entry]:
        """Up to ``limit`` entries, newest first."""
        with translated("reading the audit trail"):
            found: Any = self._client.xrevrange(self._key, count=limit)
        return [_entry(id_.decode(), fields) for id_, fields in found]


def _entry(id_: str, fields: Mapping[bytes, bytes]) -> Entry:
    text = {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
    try:
        facts = json.loads(text.get("facts", "{}"))
    except ValueError:
        facts = {}
    at_ms = int(id_.partition("-")[0])
    return Entry(id=id_, at_ms=at_ms, who=text.get("who", "?"), what=text.get("what", "?"), facts=facts)
