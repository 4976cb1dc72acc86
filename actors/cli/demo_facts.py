"""What happened, as values: the host's rows, the gateway's log, the dead letters, the queues.

``demo_watch`` gathers them from JSON that the host, the sandbox and the command line gave; ``demo_checks`` and
``demo_report`` read them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import unquote

from middleware.brokers.redis.values import QueueStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A chat message in the host's database."""

    id: str
    status: str
    reason: str | None
    provider_id: str | None
    saved_at_ms: int

    @classmethod
    def of(cls, dumped: Mapping[str, Any]) -> Self:
        """From Django's own dump of the row."""
        fields = dumped["fields"]
        saved_at = datetime.fromisoformat(fields["created_at"].replace("Z", "+00:00"))
        return cls(
            id=str(dumped["pk"]),
            status=fields["status"],
            reason=fields["error_message"].partition(":")[0] or None,
            provider_id=fields["message_id"],
            saved_at_ms=int(saved_at.timestamp() * 1000),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadRow:
    """A conversation in the host's database."""

    id: str
    name: str = field(repr=False)
    picture: str | None = field(repr=False)
    members: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, dumped: Mapping[str, Any]) -> Self:
        """From Django's own dump of the row."""
        fields = dumped["fields"]
        members = fields["group_metadata"].get("participants") or []
        return cls(
            id=str(dumped["pk"]),
            name=fields["contact_name"],
            picture=fields["profile_pic_url"],
            members=tuple(member["id"] for member in members),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A line of the gateway's log: what a phone would have received. ``message_id`` and ``part`` are the client's words."""

    message_id: str
    part: int
    instance: str
    number: str = field(repr=False)
    op: str
    text: str = field(default="", repr=False)
    url: str | None = field(default=None, repr=False)
    quoted_id: str | None = None
    quote_lost: bool = False
    mentions: tuple[str, ...] = field(default=(), repr=False)
    everyone: bool = False
    key_id: str
    at_ms: int

    @classmethod
    def of(cls, logged: Mapping[str, Any]) -> Self:
        """From the sandbox's list of deliveries."""
        message_id, _, part = unquote(logged["client_ref"] or "").partition(":")
        mentioned = logged["mentions"] or {}
        return cls(
            message_id=message_id,
            part=int(part or 0),
            instance=logged["instance"],
            number=logged["requested_number"],
            op=logged["op"],
            text=logged["text"] or logged["caption"] or "",
            url=(logged["media"] or {}).get("url"),
            quoted_id=logged["quoted_id"],
            quote_lost=logged["quote_lost"],
            mentions=tuple(mentioned.get("mentioned", ())),
            everyone=bool(mentioned.get("everyone")),
            key_id=logged["key_id"],
            at_ms=logged["accepted_at"]["wall_ms"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter. ``subject`` is the id of the chat message or conversation that it is about."""

    id: str
    queue: str
    reason: str
    subject: str
    attempts: int

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> Self:
        """From ``dlq list --json``."""
        kwargs = listed["kwargs"]
        return cls(
            id=listed["id"],
            queue=listed["queue"],
            reason=listed["reason"],
            subject=str(kwargs.get("message_id") or kwargs.get("conversation_id") or ""),
            attempts=listed["attempts"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is known when it is over."""

    rows: Mapping[str, Row]
    threads: Mapping[str, ThreadRow]
    #: In the order in which the gateway accepted them.
    deliveries: Sequence[Delivery]
    letters: Sequence[Letter]
    queues: Mapping[str, QueueStats]

    @classmethod
    def of(
        cls,
        *,
        dump: Iterable[Mapping[str, Any]],
        deliveries: Iterable[Mapping[str, Any]],
        letters: Iterable[Mapping[str, Any]],
        queues: Iterable[QueueStats],
    ) -> Self:
        """From what the host, the gateway, the command line and Redis said."""
        dumped = list(dump)
        rows = [Row.of(one) for one in dumped if one["model"] == "chat.message"]
        threads = [ThreadRow.of(one) for one in dumped if one["model"] == "chat.conversation"]
        return cls(
            rows={row.id: row for row in rows},
            threads={thread.id: thread for thread in threads},
            deliveries=[Delivery.of(one) for one in deliveries],
            letters=[Letter.of(one) for one in letters],
            queues={stats.queue_name: stats for stats in queues},
        )


def unfinished(stats: QueueStats) -> int:
    """Messages of a queue that have no outcome yet."""
    return stats.unfinished


def moving(stats: QueueStats) -> int:
    """The same without those that wait in a lane or behind a gate."""
    return stats.ready + stats.delayed + stats.in_flight
