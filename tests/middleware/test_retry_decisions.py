"""What a failed attempt comes to: another one and when, being put back, or a dead letter."""

from typing import Any, ClassVar

import pytest
from dramatiq.errors import RateLimitExceeded
from dramatiq.errors import Retry as RetryRequest
from dramatiq.middleware import Shutdown, TimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st

from middleware.errors import Described, QueueUnavailable, Snooze, ask_for_another
from middleware.outcomes import Dead, Outcome, PutBack, Retry
from middleware.retries import AFTER_OPEN, RetryPolicy, Tried, code_of
from middleware.retries import decide as decide_by

HALF: dict[str, Any] = {"attempt": 1, "max_attempts": 3, "draw": 0.5, "base_ms": 1_000, "cap_ms": 60_000}


def decide(error: BaseException, *, max_attempts: int, draw: float, base_ms: int, cap_ms: int, **tried: int) -> Outcome:
    policy = RetryPolicy(max_attempts=max_attempts, base_ms=base_ms, cap_ms=cap_ms)
    return decide_by(error, Tried(**tried), policy, draw=draw)


class Hopeless(Described):
    code = "hopeless"
    permanent = True


class Flaky(Described):
    code = "flaky"


class OnceOnly(Described):
    code = "once_only"
    max_attempts: ClassVar[int | None] = 1


class Asked(Described):
    code = "asked"

    def __init__(self, delay_ms: int) -> None:
        super().__init__("come back later")
        self.delay_ms = delay_ms


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Snooze("not yet", delay_ms=700), PutBack(700, "snoozed")),
        (Snooze("odd", delay_ms=-5), PutBack(0, "snoozed")),
        (RateLimitExceeded("slow down"), PutBack(1_500, "rate_limit_exceeded")),
        (Shutdown("stop"), PutBack(0, "shutdown")),
        (TimeLimitExceeded("late"), Retry(500, "time_limit")),
        (Flaky("again"), Retry(500, "flaky")),
        (KeyError("row"), Retry(500, "key_error")),
        (QueueUnavailable("gone"), Retry(500, "queue_unavailable")),
        (RetryRequest(delay=42), Retry(42, "retry")),
        (RetryRequest("whenever"), Retry(500, "retry")),
        (Asked(20_000), Retry(20_000, "asked")),
        (Asked(100), Retry(500, "asked")),
        (Asked(10**9), Retry(60_000, "asked")),
    ],
)
def test_an_error_says_what_to_do_next(error, outcome):
    assert decide(error, **HALF) == outcome


def test_a_permanent_error_is_dead_at_the_first_attempt_with_its_code_as_reason():
    assert decide(Hopeless("no such row: m-1"), **HALF) == Dead(
        "hopeless", {"code": "hopeless", "class": "Hopeless", "error": "no such row: m-1"}
    )


@pytest.mark.parametrize(
    ("error", "attempt"), [(Flaky(""), 3), (OnceOnly(""), 1), (OnceOnly(""), 3), (KeyError(), 3), (RetryRequest(), 3)]
)
def test_when_no_attempt_is_left_the_last_code_stays_in_the_evidence(error, attempt):
    outcome = decide(error, **{**HALF, "attempt": attempt})

    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.evidence["code"]) == ("attempts_exhausted", code_of(error))


def test_an_error_worth_more_attempts_than_its_actor_gets_the_actors():
    class Stubborn(Flaky):
        max_attempts: ClassVar[int | None] = 99

    assert isinstance(decide(Stubborn(""), **{**HALF, "attempt": 3}), Dead)


def test_what_only_another_run_can_tell_gets_one_after_the_last_attempt():
    class Open(Flaky):
        needs_another: ClassVar[bool] = True

    assert isinstance(decide(Open(""), **{**HALF, "attempt": 99}), Retry)


@pytest.mark.parametrize("error", [KeyError("row"), TimeLimitExceeded("late")])
def test_an_error_of_any_class_may_need_another_run(error):
    ask_for_another(error)

    assert isinstance(decide(error, **{**HALF, "attempt": 99}), Retry)


@pytest.mark.parametrize("error", [Flaky(""), KeyError("row")])
def test_who_finds_out_about_an_open_end_has_a_few_attempts_for_it(error):
    """The gateway is asked in the very minute of its restart: that is no reason to bother a person."""
    left = [decide(error, **{**HALF, "attempt": attempt}, open_at=3) for attempt in range(4, 4 + AFTER_OPEN)]

    assert [type(outcome) for outcome in left] == [*[Retry] * (AFTER_OPEN - 1), Dead]


def test_an_open_end_long_before_the_last_attempt_gives_none_in_addition():
    assert isinstance(decide(Flaky(""), **{**HALF, "attempt": 9, "max_attempts": 9}, open_at=2), Dead)


@pytest.mark.parametrize("error", [Snooze("wait", delay_ms=1), RateLimitExceeded("wait"), Shutdown("wait")])
def test_what_uses_no_attempt_is_put_back_even_after_the_last_one(error):
    assert isinstance(decide(error, **{**HALF, "attempt": 99}), PutBack)


@given(
    attempt=st.integers(1, 50),
    max_attempts=st.integers(1, 50),
    draw=st.floats(0, 1, exclude_max=True),
    base_ms=st.integers(0, 10**6),
    cap_ms=st.integers(0, 10**7),
    asked_ms=st.none() | st.integers(-(10**9), 10**12),
)
def test_a_message_ends_within_its_attempts_and_no_wait_is_beyond_the_cap(**case):
    error = Flaky("again")
    error.delay_ms = case.pop("asked_ms")
    outcome = decide(error, **case)

    if case["attempt"] >= case["max_attempts"]:
        assert isinstance(outcome, Dead)
    else:
        assert isinstance(outcome, Retry)
        assert 0 <= outcome.delay_ms <= case["cap_ms"]


@pytest.mark.parametrize(("name", "code"), [("HTTPError", "http_error"), ("X", "x"), ("OddLDAPCase", "odd_ldap_case")])
def test_a_foreign_class_has_a_code_in_snake_case(name, code):
    assert code_of(type(name, (Exception,), {})()) == code
