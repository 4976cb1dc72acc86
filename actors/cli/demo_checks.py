"""Compare what happened with what had to happen. Pure; every function names what broke, with ids.

``demo`` asks :func:`broken_promises` when everything has ended; no broken promise is exit code 0.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from actors.cli import demo_plan
from actors.cli.demo_facts import Delivery, Facts, moving, unfinished
from actors.cli.demo_plan import REFUSED_KEY, SENT, Message, Part, Plan, ending, endings


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A promise that was not kept, and where."""

    promise: str
    what: str


ENDED = "every chat message ends once, as sent or as failed for the right reason"
ONCE = "nothing is delivered twice"
IN_ORDER = "a conversation keeps its order"
FAITHFUL = "what arrives is what was written, from the right number to the right person"
EXPLAINED = "every failure is a dead letter with its reason, nothing else is, and a refused key parks the rest"
STORED = "pictures and groups are stored, and nothing of the host's is overwritten"
EMPTY = "nothing is left in the queues"
#: Partly of the demo and not of the product: what did not go wrong proves nothing.
STAGED = "the scheduler ran, and everything went wrong that should"
#: Requests with a refused key that may be under way when the first of them is answered: one send, and a few questions.
MOST_FINDERS = 6
PROMISES = (ENDED, ONCE, IN_ORDER, FAITHFUL, EXPLAINED, STORED, EMPTY, STAGED)


def broken_promises(plan: Plan, facts: Facts, *, mended: bool = False) -> list[Broken]:
    """Everything that is not as it must be; ``mended`` as in :func:`demo_plan.ending`."""
    found = (
        (ENDED, wrong_endings(plan, facts, mended=mended)),
        (ONCE, duplicates(plan, facts, mended=mended)),
        (IN_ORDER, order_violations(plan, facts)),
        (FAITHFUL, unfaithful(plan, facts)),
        (EXPLAINED, wrong_letters(plan, facts, mended=mended)),
        (STORED, wrong_rows(plan, facts, mended=mended)),
        (EMPTY, leftovers(facts, mended=mended)),
    )
    return [Broken(promise=promise, what=what) for promise, whats in found for what in whats]


def wrong_endings(plan: Plan, facts: Facts, *, mended: bool = False) -> Iterator[str]:
    """Messages whose row, or whose place in the gateway's log, is not what was asked for."""
    arrived = {(delivery.message_id, delivery.part) for delivery in facts.deliveries}
    for message in plan.messages:
        row, wanted = facts.rows.get(message.id), endings(message, mended=mended)
        if row is None:
            yield f"message {message.id} is not in the host's database"
            continue
        found = demo_plan.Ending(status=row.status, reason=row.reason)
        if found not in wanted:
            yield f"message {message.id} had to end {' or '.join(map(str, wanted))} and is {found}"
        missing = [part for part in range(len(message.parts)) if (message.id, part) not in arrived]
        if wanted == (SENT,) and found == SENT and missing:
            yield f"message {message.id} is sent, and the gateway never got part {missing[0]} of {len(message.parts)}"


def duplicates(plan: Plan, facts: Facts, *, mended: bool = False) -> list[str]:
    """Second deliveries, told by the client's reference, and, without trusting it, by recipient and content."""
    by_reference = Counter((one.message_id, one.part) for one in facts.deliveries)
    found = [
        f"part {part} of message {message_id} was delivered {count} times"
        for (message_id, part), count in by_reference.items()
        if count > 1
    ]
    written = Counter(
        _content(message, part)
        for message in plan.messages
        if ending(message, mended=mended) == SENT
        for part in message.parts
    )
    arrived = Counter(_content_of(one) for one in facts.deliveries)
    owners = {_content_of(one): one.message_id for one in facts.deliveries}
    said = {message_id for (message_id, _), count in by_reference.items() if count > 1}
    found += [
        f"what message {owners[content]} says was written {written[content]} times and delivered {count} times"
        for content, count in arrived.items()
        if count > written[content] and owners[content] not in said
    ]
    return found


def order_violations(plan: Plan, facts: Facts) -> list[str]:
    """Deliveries that came after a later one of their conversation; a repetition is counted as a duplicate only."""
    places = {message.id: message for message in plan.messages}
    seen: set[tuple[str, int]] = set()
    furthest: dict[str, tuple[int, int, str]] = {}
    found = []
    for one in facts.deliveries:
        message = places.get(one.message_id)
        if message is None or (one.message_id, one.part) in seen:
            continue
        seen.add((one.message_id, one.part))
        here, last = (message.place, one.part, message.id), furthest.get(message.thread.id)
        if last is not None and here[:2] < last[:2]:
            found.append(f"part {one.part} of message {message.id} arrived after message {last[2]}, written later")
        furthest[message.thread.id] = max(here, last or here)
    return found


def unfaithful(plan: Plan, facts: Facts) -> Iterator[str]:
    """Deliveries that nobody asked for, or that are not what was asked for."""
    messages = {message.id: message for message in plan.messages}
    for one in facts.deliveries:
        message = messages.get(one.message_id)
        if message is None or one.part >= len(message.parts):
            yield f"the gateway got a message that nobody wrote: {one.message_id}:{one.part}, its log has {one.key_id}"
            continue
        part = message.parts[one.part]
        if wrong := [name for name, is_right in _comparison(message, part, one, facts) if not is_right]:
            yield f"part {one.part} of message {message.id} ({message.kind}) arrived with another {', '.join(wrong)}"


def _comparison(message: Message, part: Part, one: Delivery, facts: Facts) -> Iterator[tuple[str, bool]]:
    first = one.part == 0
    row = facts.rows.get(message.id)
    quoted = facts.rows.get(part.quotes) if part.quotes else None
    yield "number", one.number == message.thread.wire
    yield "instance", one.instance == message.thread.line.name
    yield "operation", one.op == part.op
    yield "text", one.text == part.text
    yield "file", one.url == part.url
    yield "quoted message", one.quoted_id == (quoted.provider_id if quoted else None) and not one.quote_lost
    yield "mention", one.mentions == part.mentions and one.everyone == part.everyone
    yield "id than the row's", not first or row is None or row.provider_id == one.key_id


def _content(message: Message, part: Part) -> tuple[str, str, str, str, str | None]:
    return message.thread.line.name, message.thread.wire, part.op, part.text, part.url


def _content_of(one: Delivery) -> tuple[str, str, str, str, str | None]:
    return one.instance, one.number, one.op, one.text, one.url


def wrong_letters(plan: Plan, facts: Facts, *, mended: bool = False) -> Iterator[str]:
    """Dead letters that are missing, too many, or tell another reason."""
    wanted = demo_plan.expected_letters(plan, mended=mended)
    found = {(letter.queue, letter.subject): letter for letter in facts.letters}
    for (queue, subject), reason in wanted.items():
        letter = found.get((queue, subject))
        if letter is None:
            yield f"{queue} of {subject} was given up ({reason}) and has no dead letter"
        elif letter.reason != reason:
            yield f"dead letter {letter.id} of {queue} {subject} says {letter.reason} instead of {reason}"
    possible = demo_plan.possible_letters(plan, mended=mended)
    others = [one for one in facts.letters if (one.queue, one.subject) not in wanted]
    finders = [one for one in others if (one.queue, one.subject) in possible and one.reason == REFUSED_KEY]
    for letter in others:
        if letter not in finders:
            yield f"{letter.queue} of {letter.subject} is a dead letter ({letter.reason}, id {letter.id}) and must not be"
    if possible and not 0 < len(finders) <= MOST_FINDERS:
        yield f"a refused key kills what was under way and parks the rest; here it made {len(finders)} dead letters"


def wrong_rows(plan: Plan, facts: Facts, *, mended: bool = False) -> Iterator[str]:
    """Conversations whose picture, name or participants are not what they must be."""
    for thread in plan.threads:
        row = facts.threads.get(thread.id)
        if row is None:
            yield f"conversation {thread.id} is not in the host's database"
            continue
        if row.picture != demo_plan.expected_picture(thread, mended=mended):
            yield f"conversation {thread.id} has {'another' if row.picture else 'no'} picture"
        if thread.is_group and row.name != thread.subject:
            yield f"conversation {thread.id} does not have its group's subject"
        if row.members != demo_plan.expected_members(thread, mended=mended):
            yield f"conversation {thread.id} has other participants than it must have"


def leftovers(facts: Facts, *, mended: bool = False) -> list[str]:
    """Queues that are not empty; what waits for a parked instance is no leftover until it is mended."""
    left = {name: unfinished(stats) if mended else moving(stats) for name, stats in sorted(facts.queues.items())}
    return [f"{name}: {count} messages have no outcome" for name, count in left.items() if count]


def not_staged(missed: Iterable[str], struck: Mapping[str, int], *, samples: int) -> list[Broken]:
    """What should have happened around the messages and did not: ``missed`` acts, faults that struck, memory samples."""
    whats = [f"{what}: it did not happen" for what in missed]
    whats += [] if any(struck.values()) else ["the gateway never failed"]
    whats += [] if samples else ["the scheduler never had the memory of Redis sampled"]
    return [Broken(promise=STAGED, what=what) for what in whats]
