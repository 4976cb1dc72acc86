"""When an alert is raised and cleared: pure."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.alerts import (
    MAX_STANDINGS,
    Book,
    Fact,
    Rule,
    Standing,
    State,
    advance,
    claim,
    from_text,
    to_text,
    told,
)

MINUTE_MS = 60_000
RULE = Rule(name="age", raise_at=10, clear_below=5, for_ms=2 * MINUTE_MS, clear_for_ms=MINUTE_MS)
RULES = {"age": RULE}


def fact(value: float | None, subject: str = "q", detail: str = "") -> Fact:
    return Fact(rule="age", subject=subject, value=value, detail=detail)


def play(values: list[float | None], *, rules: dict[str, Rule] = RULES) -> list[str]:
    """Raised and cleared, with the minute, as a person is told when each value holds from its minute on."""
    book: Book = {}
    heard = []
    for minute, value in enumerate(values):
        now_ms = minute * MINUTE_MS
        book = advance(from_text(to_text(book)), [fact(value)], rules, now_ms=now_ms)
        book, notices = claim(book, now_ms=now_ms, hold_ms=MINUTE_MS)
        heard += [f"{one.state} {minute}" for one in notices]
        book = told(book, notices)
    return heard


@pytest.mark.parametrize(
    ("values", "heard"),
    [
        ([0, 9, 9, 9], []),
        ([10, 10, 10], ["raised 2"]),
        # Not for long enough.
        ([10, 10, 9, 10, 10], []),
        # It hovers around the upper line: nothing more is said.
        ([10, 10, 10, 9, 10, 6, 11], ["raised 2"]),
        ([10, 10, 10, 4, 4], ["raised 2", "cleared 4"]),
        ([10, 10, 10, 4, 6, 4, 4], ["raised 2", "cleared 6"]),
        # What cannot be known changes nothing, and stops no clock.
        ([10, None, 10], ["raised 2"]),
        ([10, 10, 10, None, None, None], ["raised 2"]),
        ([10, 10, 10, 4, 4, 10, 10, 10], ["raised 2", "cleared 4", "raised 7"]),
    ],
)
def test_an_alert_is_raised_and_cleared_once(values, heard):
    assert play(values) == heard


def test_a_rule_without_times_acts_at_once():
    rule = replace(RULE, for_ms=0, clear_for_ms=0)

    assert play([10, 4], rules={"age": rule}) == ["raised 0", "cleared 1"]


@given(st.lists(st.one_of(st.none(), st.floats(min_value=0, max_value=20)), max_size=40))
def test_raised_and_cleared_take_turns_whatever_comes(values):
    states = [one.partition(" ")[0] for one in play(values)]

    assert states == [["raised", "cleared"][index % 2] for index in range(len(states))]


def test_a_subject_that_is_gone_is_at_zero_only_where_all_are_there():
    book = raised()

    assert advance(book, [], RULES, now_ms=MINUTE_MS)["age", "q"].state is State.RAISED
    crossing = advance(book, [], RULES, now_ms=MINUTE_MS, whole=["age"])
    assert advance(crossing, [], RULES, now_ms=3 * MINUTE_MS, whole=["age"])["age", "q"].state is State.CLEARED


def test_an_alert_whose_rule_was_switched_off_is_cleared():
    assert advance(raised(), [], {}, now_ms=0)["age", "q"].state is State.CLEARED
    quiet = advance({}, [fact(10)], RULES, now_ms=0)
    assert advance(quiet, [], {}, now_ms=0) == {}


def test_one_that_claims_and_dies_leaves_it_to_the_next_under_the_same_name():
    book = {key: replace(one, is_told=False) for key, one in raised().items()}
    book, [first] = claim(book, now_ms=0, hold_ms=60)
    assert claim(book, now_ms=59, hold_ms=60)[1] == []
    book, [second] = claim(book, now_ms=60, hold_ms=60)

    assert (first.key, first.raised_at_ms, first.state) == (second.key, second.raised_at_ms, second.state)
    assert claim(told(book, [second]), now_ms=10**9, hold_ms=60)[1] == []


def test_what_changed_while_it_was_told_is_still_told():
    book, notices = claim({("age", "q"): replace(raised()["age", "q"], is_told=False)}, now_ms=0, hold_ms=60)
    over = advance(book, [], {}, now_ms=1)

    assert not told(over, notices)["age", "q"].is_told


def test_a_book_is_bounded_and_keeps_what_was_told_of():
    book = raised()
    many = [fact(10, subject=f"q{number}") for number in range(2 * MAX_STANDINGS)]
    after = advance(book, [*many, fact(10)], RULES, now_ms=0)

    assert len(after) == MAX_STANDINGS
    assert ("age", "q") in after


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '["x"]', '[{"rule": "r"}]', '[{"state": "odd"}]'])
def test_a_book_that_cannot_be_read_is_empty(text):
    assert from_text(text) == {}


def test_a_newer_process_may_have_written_more():
    text = to_text(raised()).replace('"rule"', '"more":1,"rule"')

    assert from_text(text) == raised()


def raised() -> Book:
    return {("age", "q"): Standing(rule="age", subject="q", state=State.RAISED, value=12.0, raised_at_ms=7)}
