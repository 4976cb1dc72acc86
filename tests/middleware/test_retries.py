"""What a failed attempt comes to, and the evidence that stays in the message."""

import json
import logging
from typing import Any, ClassVar

import dramatiq
import pytest
from dramatiq import MessageProxy
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import RateLimitExceeded
from dramatiq.errors import Retry as RetryRequest
from dramatiq.middleware import Shutdown, TimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st

from middleware.errors import Described, QueueUnavailable, Snooze, ask_for_another
from middleware.outcomes import Dead, Outcome, PutBack, Retry
from middleware.retries import AFTER_OPEN, MAX_FAILURES, MAX_FRAMES, Retries, RetryPolicy, Tried, code_of
from middleware.retries import decide as decide_by

SECRET = "Olá Maria, +5511988887777"
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


class FrozenClock:
    def __init__(self) -> None:
        self.at_ms = 1_000_000

    def now_ms(self) -> int:
        self.at_ms += 1
        return self.at_ms


# -- the decision --------------------------------------------------------------------------------------------------


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


class Twice(Flaky):
    code = "twice"
    max_attempts: ClassVar[int | None] = 2


def test_of_a_cause_that_is_worth_few_attempts_only_its_own_failures_count(broker):
    """Two bad moments of a proxy leave the three attempts of a session that must be built anew."""
    retries, proxy = policy(max_attempts=8), None
    outcomes = []
    for error in (Flaky(""), Flaky(""), Twice(""), KeyError("row"), Twice("")):
        proxy = run(broker, retries, error, proxy)
        outcomes.append(type(proxy.outcome))

    assert outcomes == [Retry, Retry, Retry, Retry, Dead]
    assert proxy.outcome.evidence["attempts"] == 5


def test_a_step_that_is_done_forgets_its_causes_and_open_ends(broker):
    retries = policy(max_attempts=2)
    error = KeyError("row")
    ask_for_another(error)
    proxy = run(broker, retries, Twice(""))
    proxy = run(broker, retries, error, proxy)
    assert (proxy.options["causes"], proxy.options["open_at"]) == ({"twice": 1}, 2)
    proxy = run(broker, retries, Snooze("next step", delay_ms=0, renews=True), proxy)

    proxy = run(broker, retries, Twice(""), proxy)

    assert isinstance(proxy.outcome, Retry)
    assert "open_at" not in proxy.options


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


# -- the hook ------------------------------------------------------------------------------------------------------


@pytest.fixture
def broker() -> StubBroker:
    return StubBroker(middleware=[Retries()])


def throw(error: BaseException) -> None:
    raise error


def run(
    broker: StubBroker, retries: Retries, error: BaseException, message: MessageProxy | None = None, **options: Any
):
    """One failed attempt of an actor with ``options``, as Dramatiq's worker reports it."""
    if "work" not in broker.actors:
        dramatiq.actor(lambda: None, broker=broker, actor_name="work", **options)
    proxy = message or MessageProxy(broker.get_actor("work").message())
    proxy.failed = False
    try:
        throw(error)
    except BaseException as raised:
        retries.after_process_message(broker, proxy, exception=raised)
    return proxy


def policy(**values: int) -> Retries:
    return Retries(policy=lambda: RetryPolicy(**values), clock=FrozenClock(), draw=lambda: 0.5)


def test_a_success_is_none_of_its_business(broker):
    dramatiq.actor(lambda: None, broker=broker, actor_name="work")
    proxy = MessageProxy(broker.get_actor("work").message())

    Retries().after_process_message(broker, proxy, result=1)

    assert not proxy.failed
    assert proxy.options == {}


def test_a_retry_counts_an_attempt_and_keeps_what_happened(broker):
    proxy = run(broker, policy(base_ms=1_000), Flaky("gateway is away"))

    assert proxy.outcome == Retry(500, "flaky")
    assert not proxy.failed
    assert proxy.options["retries"] == 1
    assert proxy.options["first_failed_at_ms"] == 1_000_001
    (failure,) = proxy.options["failures"]
    assert {name: failure[name] for name in ("attempt", "at_ms", "code", "class", "error")} == {
        "attempt": 1,
        "at_ms": 1_000_001,
        "code": "flaky",
        "class": "Flaky",
        "error": "gateway is away",
    }


def test_the_text_of_a_foreign_error_is_kept_nowhere(broker, caplog):
    with caplog.at_level(logging.DEBUG):
        proxy = run(broker, policy(max_attempts=1), ValueError(SECRET))

    assert proxy.outcome.evidence["class"] == "ValueError"
    kept = json.dumps([proxy.options, proxy.outcome.evidence]) + str([vars(record) for record in caplog.records])
    assert not any(word in kept for word in ("Maria", "5511988887777"))


def test_frames_are_places_and_never_values(broker):
    def deep(depth: int, secret: str) -> None:
        if depth == 0:
            raise KeyError(secret)
        deep(depth - 1, secret)

    try:
        deep(20, SECRET)
    except KeyError as error:
        proxy = run(broker, policy(), error)

    frames = proxy.options["failures"][0]["frames"]
    assert len(frames) == MAX_FRAMES
    assert frames[-1].endswith("<locals>.deep")
    assert all(frame.partition(":")[0].endswith("test_retries.py") for frame in frames)
    assert not any(frame.startswith("/") or "Maria" in frame for frame in frames)


def test_a_message_that_fails_for_ever_stays_small(broker):
    retries, proxy = policy(max_attempts=1_000), None
    for _ in range(40):
        proxy = run(broker, retries, Flaky("x" * 10_000), proxy)

    assert proxy is not None
    failures = proxy.options["failures"]
    assert [failure["attempt"] for failure in failures] == list(range(41 - MAX_FAILURES, 41))
    assert [bool(failure["frames"]) for failure in failures] == [False] * (MAX_FAILURES - 1) + [True]
    assert proxy.options["first_failed_at_ms"] == 1_000_001
    assert len(json.dumps(proxy.options)) < 8_000


def test_a_dead_letter_shows_its_life(broker):
    retries = policy(max_attempts=2)
    proxy = run(broker, retries, Flaky("first"))
    proxy = run(broker, retries, Snooze("instance is down", delay_ms=5), proxy)
    proxy = run(broker, retries, OSError("second"), proxy)

    assert proxy.failed
    assert proxy.outcome.reason == "attempts_exhausted"
    evidence = proxy.outcome.evidence
    assert (evidence["attempts"], evidence["code"], evidence["class"], evidence["error"]) == (
        2,
        "os_error",
        "OSError",
        None,
    )
    assert [failure["code"] for failure in evidence["failures"]] == ["flaky", "os_error"]
    assert evidence["first_failed_at_ms"] == 1_000_001
    assert evidence["put_backs"] == {"count": 1, "code": "snoozed"}


def test_being_put_back_uses_no_attempt(broker):
    proxy = None
    for _ in range(30):
        proxy = run(broker, policy(max_attempts=1), Snooze("instance is down", delay_ms=5), proxy)

    assert proxy is not None
    assert proxy.outcome == PutBack(5, "snoozed")
    assert proxy.options == {"put_backs": {"count": 30, "code": "snoozed"}}


def test_a_step_that_is_done_renews_the_attempts(broker):
    proxy = run(broker, policy(max_attempts=2), Flaky("first"))
    proxy = run(broker, policy(max_attempts=2), Snooze("next step", delay_ms=0, renews=True), proxy)
    proxy = run(broker, policy(max_attempts=2), Flaky("second"), proxy)

    assert isinstance(proxy.outcome, Retry)
    assert [failure["code"] for failure in proxy.options["failures"]] == ["flaky", "flaky"]


def test_throws_only_keeps_dramatiqs_log_quiet(broker):
    proxy = run(broker, policy(), Flaky("again"), throws=(Exception,))

    assert isinstance(proxy.outcome, Retry)
    assert not proxy.failed


@pytest.mark.parametrize(
    ("actor_options", "message_options", "attempts"),
    [
        ({}, {}, 3),
        ({"max_attempts": 2}, {}, 2),
        ({"max_retries": 1}, {}, 2),
        ({"max_retries": 0}, {}, 1),
        ({"max_retries": None}, {}, 3),
        ({"max_attempts": 5, "max_retries": 0}, {}, 5),
        ({"max_attempts": 5}, {"max_retries": 1}, 2),
        ({"max_retries": 7}, {"max_attempts": 1}, 1),
    ],
)
def test_the_message_wins_over_its_actor_and_the_actor_over_the_policy(
    broker, actor_options, message_options, attempts
):
    actor = dramatiq.actor(lambda: None, broker=broker, actor_name="work", **actor_options)
    proxy, used = MessageProxy(actor.message_with_options(**message_options)), 0
    while not proxy.failed:
        proxy = run(broker, policy(max_attempts=3), Flaky("again"), proxy)
        used += 1

    assert used == attempts


def test_an_actor_may_shorten_its_waits(broker):
    proxy = run(broker, policy(base_ms=1_000, cap_ms=5_000), Flaky("again"), min_backoff=0, max_backoff=100)

    assert proxy.outcome == Retry(0, "flaky")


@pytest.mark.parametrize(
    ("error", "level", "event"),
    [
        (Flaky("again"), logging.WARNING, "message.retried"),
        (Snooze("wait", delay_ms=7), logging.INFO, "message.put_back"),
        (Hopeless("no"), logging.ERROR, "message.died"),
    ],
)
def test_the_log_names_the_event_and_the_ids_and_no_argument(broker, caplog, error, level, event):
    actor = dramatiq.actor(lambda text: None, broker=broker, actor_name="work")
    proxy = MessageProxy(actor.message_with_options(args=(SECRET,), lane="lane-1", group="inst-1"))
    with caplog.at_level(logging.DEBUG, logger="middleware.retries"):
        run(broker, policy(), error, proxy)

    (record,) = caplog.records
    said = vars(record)
    assert (record.levelno, record.getMessage()) == (level, event)
    assert (said["job_id"], said["actor"], said["queue"], said["attempt"]) == (proxy.message_id, "work", "default", 1)
    assert (said["lane"], said["instance"], said["code"]) == ("lane-1", "inst-1", code_of(error))
    assert ("delay_ms" in said) == (event != "message.died")
    assert "Maria" not in str(said)
