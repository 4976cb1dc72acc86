"""What the pages show of the host's rows: bubbles of a conversation, and the list of conversations. Every read is bounded."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chat.models import Conversation, Message
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from inbox.reasons import UNCLEAR, code_of, in_words

#: Bubbles of a page, and the most that may be asked for.
SHOWN, MOST_SHOWN = 60, 600
#: Conversations of the list.
LISTED = 200
#: Characters of a text in the list, and of one that is quoted.
PREVIEW_CHARS = 90
#: Rows that committed so much later than they say are still told to a page that asks what changed.
OVERLAP = timedelta(seconds=30)

#: Status → what people read. Also those that a bubble may have.
STATUSES = {
    "pending": "Waiting to be sent",
    "sent": "Sent",
    "delivered": "Delivered",
    "seen": "Read",
    "failed": "Not sent",
}
_FILES = (("image/", "Photo"), ("audio/", "Voice message"), ("video/", "Video"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubble:
    """A chat message. ``order`` sorts bubbles and days as text, ``version`` tells an older state from a newer one."""

    id: str
    order: str
    version: str
    status: str
    label: str
    is_own: bool
    sender: str
    text: str
    quoted: str
    files: tuple[tuple[str, str], ...]
    time: str
    moment: str
    day: str
    day_label: str
    reason: str = ""
    is_unclear: bool = False
    is_changed: bool = True


def bubbles(conversation: Conversation, *, shown: int, since: str = "") -> list[Bubble]:
    """The newest ``shown`` messages, the oldest first; those not changed since the version ``since`` are marked."""
    found = conversation.messages.prefetch_related("attachments").order_by("-created_at", "-pk")[:shown]
    messages = list(reversed(found))
    quoted, changed_from = _quoted(conversation, messages), _moment(since)
    return [
        bubble(one, quoted, is_changed=changed_from is None or one.updated_at >= changed_from - OVERLAP)
        for one in messages
    ]


def bubble(message: Message, quoted: dict[str, str] | None = None, *, is_changed: bool = True) -> Bubble:
    """One message as it is shown."""
    if quoted is None:
        quoted = _quoted(message.conversation, [message])
    is_own = message.direction == "outgoing"
    is_group = message.conversation.conversation_type == "group"
    status = message.status if message.status in STATUSES else "pending"
    is_failed = is_own and status == "failed"
    local = timezone.localtime(message.created_at)
    return Bubble(
        id=str(message.pk),
        order=f"{local:%Y-%m-%d}T{message.created_at.timestamp():017.6f}|{message.pk}",
        version=_version(message.updated_at),
        status=status,
        label=STATUSES[status],
        is_own=is_own,
        sender=message.sender_name if is_group and not is_own else "",
        text="This message was deleted." if message.is_deleted else message.content,
        quoted=quoted.get(str(message.metadata.get("reply_to")), ""),
        files=tuple((_kind(one.mime_type), one.original_filename) for one in message.attachments.all()),
        time=f"{local:%H:%M}",
        moment=local.isoformat(timespec="seconds"),
        day=f"{local:%Y-%m-%d}",
        day_label=_day_label(local),
        reason=in_words(message.error_message) if is_failed else "",
        is_unclear=is_failed and code_of(message.error_message) in UNCLEAR,
        is_changed=is_changed,
    )


def conversations(tenant: str) -> QuerySet[Conversation]:
    """Those of a tenant, the last written one first, each with its last message; one query."""
    last = Message.objects.filter(conversation=OuterRef("pk")).order_by("-created_at", "-pk")
    shown = {
        f"last_{name}": Subquery(last.values(name)[:1]) for name in ("content", "status", "direction", "created_at")
    }
    listed = Conversation.objects.filter(tenant_id=tenant).annotate(**shown)
    return listed.order_by(F("last_message_at").desc(nulls_last=True), "contact_name", "pk")[:LISTED]


def entries(tenant: str, *, open_id: object) -> list[dict[str, object]]:
    """The list of conversations as it is shown."""
    return [
        {
            "row": row,
            "picture": picture_of(row),
            "title": row.contact_name or row.contact_phone,
            "preview": (row.last_content or "")[:PREVIEW_CHARS] or ("Attachment" if row.last_created_at else ""),
            "status": row.last_status if row.last_direction == "outgoing" and row.last_status in STATUSES else "",
            "label": STATUSES.get(row.last_status or "", ""),
            "time": _short(row.last_created_at),
            "is_open": row.pk == open_id,
        }
        for row in conversations(tenant)
    ]


def about(conversation: Conversation) -> dict[str, object]:
    """What is known of the person or group."""
    metadata = conversation.group_metadata or {}
    members = [one for one in metadata.get("participants") or () if isinstance(one, dict)]
    count = metadata.get("participants_count") or len(members)
    is_group = conversation.conversation_type == "group"
    return {
        "title": conversation.contact_name or conversation.contact_phone,
        "is_group": is_group,
        "subtitle": f"Group, {count} members"
        if is_group and count
        else "Group"
        if is_group
        else conversation.contact_phone,
        "description": metadata.get("description") or "",
        "members": [f"+{str(one.get('id', '')).partition('@')[0]}" for one in members[:50]],
        "more_members": max(0, count - min(len(members), 50)) if members else 0,
        "line": conversation.instance_name,
        "picture": picture_of(conversation),
    }


def picture_of(conversation: Conversation) -> str:
    """Address of the picture, another one when it changes; empty when there is none."""
    if not conversation.profile_pic_url:
        return ""
    version = hashlib.sha256(conversation.profile_pic_url.encode()).hexdigest()[:12]
    return f"{reverse('picture', args=[conversation.pk])}?v={version}"


def newest_version(shown: Iterable[Bubble]) -> str:
    """What a page that has seen these asks from."""
    return max((one.version for one in shown), default="")


def _quoted(conversation: Conversation, messages: list[Message]) -> dict[str, str]:
    wanted = {str(one.metadata.get("reply_to")) for one in messages if one.metadata.get("reply_to")}
    wanted = {one for one in wanted if len(one) in (32, 36)}
    if not wanted:
        return {}
    found = conversation.messages.filter(Q(pk__in=wanted)).values_list("pk", "content")
    return {str(pk): content[:PREVIEW_CHARS] or "Attachment" for pk, content in found}


def _version(moment: datetime) -> str:
    return f"{moment.timestamp():017.6f}"


def _moment(version: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(version), tz=timezone.get_current_timezone())
    except (ValueError, OverflowError, OSError):
        return None


def _kind(mime_type: str) -> str:
    return next((word for prefix, word in _FILES if mime_type.startswith(prefix)), "Document")


def _day_label(local: datetime) -> str:
    days = (timezone.localdate() - local.date()).days
    return {0: "Today", 1: "Yesterday"}.get(days) or date_format(local, "j F Y")


def _short(moment: datetime | None) -> str:
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    return f"{local:%H:%M}" if local.date() == timezone.localdate() else date_format(local, "j M")
