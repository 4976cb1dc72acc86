"""The demo's judgement: a run without a fault passes, and every single fault is named with its id."""

from collections import Counter
from dataclasses import replace

import pytest
from demo_outcomes import perfect, sent_text, stats, where, with_deliveries, with_row

from actors.cli import demo_checks as checks
from actors.cli import demo_plan
from actors.cli.demo_facts import Delivery, Facts, Letter
from actors.cli.demo_plan import REFUSED_KEY, Plan, ending
from actors.cli.demo_report import percentile
from actors.cli.demo_story import make_plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(seed=7, messages=220)


@pytest.fixture
def facts(plan: Plan) -> Facts:
    return perfect(plan)


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
    queues = {**facts.queues, "send_message": stats("send_message", **{state: 2})}
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
