"""The demo's judgement: a run without a fault passes, and every single fault is named with its id."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from actors.cli import demo_checks as checks
from actors.cli import demo_plan
from actors.cli.demo_facts import Delivery, Facts, Letter, Row, ThreadRow
from actors.cli.demo_faults import FAULTS, rules, strikes
from actors.cli.demo_plan import PARKED, REFUSED_KEY, SENT, Message, Plan, ending
from actors.cli.demo_report import percentile
from actors.cli.demo_story import make_plan
from actors.cli.demo_texts import LONG_CHARS
from actors.gateways.sandbox.rules import parse
from middleware.brokers.redis.values import QueueStats

QUEUES = ("send_message", "fetch_profile_pic", "fetch_group_info")
AT_MS = 1_750_000_000_000


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(seed=7, messages=220)


@pytest.fixture
def facts(plan: Plan) -> Facts:
    return perfect(plan)


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
        queues={name: _stats(name) for name in QUEUES},
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


def _stats(name: str, **depths: int) -> QueueStats:
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


# -- the plan ------------------------------------------------------------------------------------------------------


def test_the_plan_has_everything_that_the_demo_promises(plan: Plan):
    kinds = Counter(message.kind for message in plan.messages)
    reasons = Counter(ending(message).reason for message in plan.messages)

    assert len(plan.messages) == 220
    assert len(list(plan.by_thread())) == 20
    assert (len(plan.lines), len(plan.pictures), len(plan.groups)) == (3, 30, 10)
    assert set(kinds) == {"text", "repeated", "long", "reply", "picture", "document", "voice", "mention", "everyone"}
    assert set(reasons) == {None, "unauthorized", "not_on_whatsapp"}
    assert max(len(part.text) for message in plan.messages for part in message.parts) == LONG_CHARS
    assert any(len(message.parts) > 1 for message in plan.messages)


@pytest.mark.parametrize("messages", [40, 97, 220, 1_000])
def test_a_plan_has_as_many_messages_as_were_asked_for_whatever_the_seed(messages: int):
    for seed in range(5):
        plan = make_plan(seed=seed, messages=messages)

        assert len({message.id for message in plan.messages}) == messages


def test_the_same_seed_gives_the_same_plan_and_another_seed_another_one():
    first, second, other = (make_plan(seed=seed, messages=60) for seed in (3, 3, 4))

    assert first == second
    assert {message.id for message in first.messages}.isdisjoint(message.id for message in other.messages)


def test_the_faults_add_up_to_every_tenth_request_and_the_sandbox_takes_them(plan: Plan):
    made = rules(plan.lines)

    assert sum(fault.chance for fault in FAULTS) == pytest.approx(0.1)
    assert len({parse(rule, default_id="").id for rule in made}) == len(made)


def test_strikes_are_counted_per_fault_over_all_its_rules(plan: Plan):
    listed = [{**rule, "hits": 2} for rule in rules(plan.lines)]
    counted = strikes([*listed, {"action": {"type": "disconnect", "instance": "suporte"}, "hits": 1}])

    assert counted["502 after it went out"] == 2 * sum(not line.is_revoked for line in plan.lines)
    assert counted["disconnect (instance suporte)"] == 1


# -- the judgement -------------------------------------------------------------------------------------------------


def test_a_run_without_a_fault_breaks_no_promise(plan: Plan, facts: Facts):
    assert checks.broken_promises(plan, facts) == []


def test_a_message_that_failed_instead_of_being_sent_is_named_with_its_reason(plan: Plan, facts: Facts):
    message = sent_text(plan)

    broken = checks.broken_promises(plan, with_row(facts, message.id, status="failed", reason="expired"))

    assert broken[0].promise == checks.ENDED
    assert broken[0].what == f"message {message.id} had to end sent and is failed (expired)"


def test_a_message_that_is_still_pending_has_not_ended(plan: Plan, facts: Facts):
    message = sent_text(plan)

    broken = list(checks.wrong_endings(plan, with_row(facts, message.id, status="pending")))

    assert broken == [f"message {message.id} had to end sent and is pending"]


def test_a_message_that_vanished_from_the_database_is_named(plan: Plan, facts: Facts):
    message = sent_text(plan)
    rows = {id_: row for id_, row in facts.rows.items() if id_ != message.id}

    assert list(checks.wrong_endings(plan, replace(facts, rows=rows))) == [
        f"message {message.id} is not in the host's database"
    ]


def test_a_message_that_failed_for_another_reason_has_not_ended_as_it_must(plan: Plan, facts: Facts):
    message = next(one for one in plan.messages if ending(one).reason == "not_on_whatsapp")

    broken = list(checks.wrong_endings(plan, with_row(facts, message.id, reason="expired")))

    assert broken == [f"message {message.id} had to end failed (not_on_whatsapp) and is failed (expired)"]


def test_a_row_that_says_sent_without_a_delivery_is_a_lie(plan: Plan, facts: Facts):
    message = sent_text(plan)
    lost = with_deliveries(facts, lambda all_: all_.pop(where(all_, message)))

    assert list(checks.wrong_endings(plan, lost)) == [
        f"message {message.id} is sent, and the gateway never got part 0 of 1"
    ]


def test_a_second_delivery_is_a_duplicate_and_nothing_else(plan: Plan, facts: Facts):
    message = sent_text(plan)
    twice = with_deliveries(facts, lambda all_: all_.append(replace(all_[where(all_, message)], key_id="another")))

    assert checks.duplicates(plan, twice) == [f"part 0 of message {message.id} was delivered 2 times"]
    assert checks.order_violations(plan, twice) == []


def test_a_second_delivery_under_another_reference_is_found_by_its_content(plan: Plan, facts: Facts):
    message = sent_text(plan)
    twice = with_deliveries(facts, lambda all_: all_.append(replace(all_[where(all_, message)], message_id="other")))

    assert checks.duplicates(plan, twice) == ["what message other says was written 1 times and delivered 2 times"]


def test_the_same_words_written_twice_are_no_duplicate(plan: Plan, facts: Facts):
    contents = Counter((one.number, one.text) for one in facts.deliveries if one.text)

    assert max(contents.values()) > 1
    assert checks.duplicates(plan, facts) == []


def test_a_delivery_after_a_later_one_of_its_conversation_breaks_the_order(plan: Plan, facts: Facts):
    first = sent_text(plan)
    second = next(one for one in plan.messages if one.thread is first.thread and one.place == first.place + 1)

    def swap(all_: list[Delivery]) -> None:
        one, other = where(all_, first), where(all_, second)
        all_[one], all_[other] = all_[other], all_[one]

    assert checks.order_violations(plan, with_deliveries(facts, swap)) == [
        f"part 0 of message {first.id} arrived after message {second.id}, written later"
    ]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"number": "5511900000000"}, "number"),
        ({"instance": "another"}, "instance"),
        ({"op": "sendMedia"}, "operation"),
        ({"text": "Ol\ufffd"}, "text"),
        ({"url": "https://media.example.com/other"}, "file"),
        ({"quoted_id": "key of another"}, "quoted message"),
        ({"quote_lost": True}, "quoted message"),
        ({"mentions": ("5511900000000",)}, "mention"),
        ({"everyone": True}, "mention"),
        ({"key_id": "another"}, "id than the row's"),
    ],
)
def test_what_arrives_otherwise_than_it_was_written_is_named(
    plan: Plan, facts: Facts, changed: dict[str, object], named: str
):
    message = sent_text(plan)

    def change(all_: list[Delivery]) -> None:
        index = where(all_, message)
        all_[index] = replace(all_[index], **changed)

    assert list(checks.unfaithful(plan, with_deliveries(facts, change))) == [
        f"part 0 of message {message.id} (text) arrived with another {named}"
    ]


def test_a_delivery_that_nobody_wrote_is_named(plan: Plan, facts: Facts):
    strange = with_deliveries(facts, lambda all_: all_.append(replace(all_[0], message_id="?", key_id="3EB0")))

    assert list(checks.unfaithful(plan, strange)) == [
        "the gateway got a message that nobody wrote: ?:0, its log has 3EB0"
    ]


def test_a_failure_without_a_dead_letter_is_named(plan: Plan, facts: Facts):
    letter = facts.letters[0]

    assert list(checks.wrong_letters(plan, replace(facts, letters=facts.letters[1:]))) == [
        f"{letter.queue} of {letter.subject} was given up ({letter.reason}) and has no dead letter"
    ]


def test_a_dead_letter_of_something_that_must_not_fail_is_named(plan: Plan, facts: Facts):
    message = sent_text(plan)
    letter = Letter(id="l", queue="send_message", reason="expired", subject=message.id, attempts=8)

    assert list(checks.wrong_letters(plan, replace(facts, letters=[*facts.letters, letter]))) == [
        f"send_message of {message.id} is a dead letter (expired, id l) and must not be"
    ]


@pytest.mark.parametrize("count", [0, checks.MOST_FINDERS + 1])
def test_a_refused_key_that_nobody_found_or_that_killed_all_is_named(plan: Plan, facts: Facts, count: int):
    possible = sorted(demo_plan.possible_letters(plan))[:count]
    others = [letter for letter in facts.letters if letter.reason != REFUSED_KEY]
    found = [
        Letter(id=f"l{subject}", queue=queue, reason=REFUSED_KEY, subject=subject, attempts=1)
        for queue, subject in possible
    ]

    (told,) = checks.wrong_letters(plan, replace(facts, letters=[*others, *found]))

    assert told.endswith(f"here it made {count} dead letters")


def test_a_dead_letter_with_another_reason_is_named(plan: Plan, facts: Facts):
    letter = replace(facts.letters[0], reason="expired")

    found = list(checks.wrong_letters(plan, replace(facts, letters=[letter, *facts.letters[1:]])))

    assert found == [
        f"dead letter {letter.id} of {letter.queue} {letter.subject} says expired instead of {facts.letters[0].reason}"
    ]


def test_a_stored_picture_must_survive_a_gateway_that_has_none(plan: Plan, facts: Facts):
    thread = next(one for one in plan.pictures if one.picture is None and one.stored_picture)
    cleared = replace(facts.threads[thread.id], picture=None)

    assert demo_plan.expected_picture(thread) == thread.stored_picture
    assert list(checks.wrong_rows(plan, replace(facts, threads={**facts.threads, thread.id: cleared}))) == [
        f"conversation {thread.id} has no picture"
    ]


def test_participants_of_the_host_must_survive_those_of_the_gateway(plan: Plan, facts: Facts):
    thread = next(one for one in plan.groups if one.stored_members)
    replaced = replace(facts.threads[thread.id], members=thread.members)

    assert list(checks.wrong_rows(plan, replace(facts, threads={**facts.threads, thread.id: replaced}))) == [
        f"conversation {thread.id} has other participants than it must have"
    ]


@pytest.mark.parametrize("state", ["ready", "delayed", "in_flight", "waiting_in_lane", "waiting_in_group"])
def test_what_is_left_in_a_queue_is_told(facts: Facts, state: str):
    queues = {**facts.queues, "send_message": _stats("send_message", **{state: 2})}
    told = ["send_message: 2 messages have no outcome"]

    assert checks.leftovers(replace(facts, queues=queues), mended=True) == told
    # Before, some wait for their instance.
    assert checks.leftovers(replace(facts, queues=queues)) == ([] if state.startswith("waiting") else told)


def test_mended_messages_must_be_sent_and_their_letters_be_gone(plan: Plan, facts: Facts):
    before = checks.broken_promises(plan, facts, mended=True)
    mended = perfect(plan, mended=True)

    assert {one.promise for one in before} == {checks.ENDED, checks.EXPLAINED, checks.STORED}
    assert checks.broken_promises(plan, mended, mended=True) == []


def test_a_demo_in_which_nothing_went_wrong_proves_nothing():
    missed = checks.not_staged(["a worker process is killed"], {"502": 0}, samples=0)

    assert [one.what for one in missed] == [
        "a worker process is killed: it did not happen",
        "the gateway never failed",
        "the scheduler never had the memory of Redis sampled",
    ]
    assert checks.not_staged([], {"502": 1, "503": 0}, samples=1) == []


@pytest.mark.parametrize(("percent", "value"), [(50, 2.0), (75, 3.0), (99, 4.0), (100, 4.0)])
def test_a_percentile_is_one_of_the_values(percent: float, value: float):
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == value
