"""How a failed attempt is counted, logged and reported, and the evidence that stays in the message."""

import json
import logging
from typing import Any, ClassVar

import dramatiq
import pytest
from dramatiq import MessageProxy
from dramatiq.brokers.stub import StubBroker

from middleware.errors import Described, Snooze, ask_for_another
from middleware.outcomes import Dead, PutBack, Retry
from middleware.retries import MAX_FAILURES, MAX_FRAMES, Retries, RetryPolicy, code_of

SECRET = "Olá Maria, +5511988887777"


class Hopeless(Described):
    code = "hopeless"
    permanent = True


class Flaky(Described):
    code = "flaky"


class FrozenClock:
    def __init__(self) -> None:
        self.at_ms = 1_000_000

    def now_ms(self) -> int:
        self.at_ms += 1
        return self.at_ms


class Twice(Flaky):
    code = "twice"
    max_attempts: ClassVar[int | None] = 2


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
