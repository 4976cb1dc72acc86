"""What a run of the demo leaves behind when nothing went wrong, and how to spoil a single thing of it."""

from collections.abc import Callable
from dataclasses import replace

from actors.cli import demo_plan
from actors.cli.demo_facts import Delivery, Facts, Letter, Row, ThreadRow
from actors.cli.demo_plan import PARKED, REFUSED_KEY, SENT, Message, Plan, ending
from middleware.brokers.redis.values import QueueStats

QUEUES = ("send_message", "fetch_profile_pic", "fetch_group_info")
AT_MS = 1_750_000_000_000


def perfect(plan: Plan, *, mended: bool = False) -> Facts:
    """What a run without any fault leaves behind."""
    sent = [message for message in plan.messages if ending(message, mended=mended) == SENT]
    deliveries = [_delivery(message, part) for message in sent for part in range(len(message.parts))]
    letters = [
        Letter(id=f"letter of {subject}", queue=queue, reason=reason, subject=subject, attempts=1)
        for (queue, subject), reason in demo_plan.expected_letters(plan, mended=mended).items()
    ]
    finder = min(
        demo_plan.possible_letters(plan, mended=mended), default=None, key=lambda one: one[0] != "send_message"
    )
    if finder is not None:
        letters.append(
            Letter(id="letter of the key", queue=finder[0], reason=REFUSED_KEY, subject=finder[1], attempts=1)
        )
    parked = {one.id for one in plan.messages if demo_plan.is_parked(one.thread, mended=mended)} - {
        finder and finder[1]
    }
    return Facts(
        rows={message.id: _row(message, parked, mended=mended) for message in plan.messages},
        threads={thread.id: _thread_row(thread, mended=mended) for thread in plan.threads},
        deliveries=deliveries,
        letters=letters,
        queues={name: stats(name) for name in QUEUES},
    )


def _row(message: Message, parked: set[str], *, mended: bool) -> Row:
    end = PARKED if message.id in parked else ending(message, mended=mended)
    key_id = f"key of {message.id}:0" if end == SENT else None
    return Row(id=message.id, status=end.status, reason=end.reason, provider_id=key_id, saved_at_ms=AT_MS)


def _thread_row(thread: demo_plan.Thread, *, mended: bool) -> ThreadRow:
    return ThreadRow(
        id=thread.id,
        name=thread.subject if thread.is_group else thread.name,
        picture=demo_plan.expected_picture(thread, mended=mended),
        members=demo_plan.expected_members(thread, mended=mended),
    )


def _delivery(message: Message, index: int) -> Delivery:
    part = message.parts[index]
    return Delivery(
        message_id=message.id,
        part=index,
        instance=message.thread.line.name,
        number=message.thread.wire,
        op=part.op,
        text=part.text,
        url=part.url,
        quoted_id=f"key of {part.quotes}:0" if part.quotes else None,
        mentions=part.mentions,
        everyone=part.everyone,
        key_id=f"key of {message.id}:{index}",
        at_ms=AT_MS + 100,
    )


def stats(name: str, **depths: int) -> QueueStats:
    zero = dict.fromkeys(
        ("ready", "delayed", "in_flight", "waiting_in_lane", "waiting_in_group", "dead", "lanes_held"), 0
    )
    nothing = dict.fromkeys(("oldest_ready_age_s", "oldest_dead_age_s", "next_due_in_ms", "paused_for_s"))
    return QueueStats(queue_name=name, counters={}, **nothing, **{**zero, **depths})


def sent_text(plan: Plan, *, place: int = 1) -> Message:
    """A plain text of an open conversation, with others around it."""
    return next(one for one in plan.messages if one.kind == "text" and one.place == place and ending(one) == SENT)


def with_deliveries(facts: Facts, change: Callable[[list[Delivery]], None]) -> Facts:
    deliveries = list(facts.deliveries)
    change(deliveries)
    return replace(facts, deliveries=deliveries)


def with_row(facts: Facts, id_: str, **fields: object) -> Facts:
    return replace(facts, rows={**facts.rows, id_: replace(facts.rows[id_], **fields)})


def where(deliveries: list[Delivery], message: Message) -> int:
    return next(index for index, one in enumerate(deliveries) if one.message_id == message.id)
