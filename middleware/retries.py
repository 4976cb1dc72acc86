"""Decide what a failed attempt came to, and keep the evidence of it in the message.

Stands in the stack of our broker; its consumer applies the outcome in one script. Nothing is enqueued here: a retry that is
enqueued in a hook is lost when Redis is away, because Dramatiq swallows errors of hooks.

The life of a failing message: attempt 1 fails → ``retry`` after a wait → attempt 2 … → the last one fails → ``dead``. Its
options keep ``retries`` (attempts used), ``failures`` (the last few, see :func:`failure`), ``first_failed_at_ms``,
``put_backs`` (how often it was put back without using an attempt, and why last), ``causes`` (how often it failed of a cause
that is worth fewer attempts) and ``open_at`` (the last attempt whose end only another run can tell).

======================================  ==============================================================================
the error                               becomes
======================================  ==============================================================================
``Snooze``                              put back for its ``delay_ms``; no attempt used
Dramatiq's ``RateLimitExceeded``        put back for about ``base_ms``; no attempt used
Dramatiq's ``Shutdown``                 put back at once; no attempt used
``permanent``                           dead, its code is the reason; with ``holds_lane`` its lane waits for a person
any that ``needs_another``              retry, also after the last attempt
any, met ``max_attempts`` of its own    dead ``attempts_exhausted``; other causes before it do not count
any, and no attempt is left             the same; after one whose end is open there are at least three more
Dramatiq's ``Retry(delay)``             retry after exactly that
any other                               retry with backoff, not before its ``delay_ms`` (which ``cap_ms`` bounds)
======================================  ==============================================================================
"""

import logging
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from dramatiq import Broker, MessageProxy, Middleware
from dramatiq.errors import RateLimitExceeded
from dramatiq.errors import Retry as RetryRequest
from dramatiq.middleware import Shutdown, TimeLimitExceeded

from middleware import backoff
from middleware.clock import Clock, SystemClock
from middleware.errors import Described, Snooze, needs_another
from middleware.outcomes import STEP_OPTIONS, Dead, Outcome, PutBack, Retry
from middleware.scrub import hide

logger = logging.getLogger(__name__)

#: Attempts of an actor that names none.
MAX_ATTEMPTS = 8
#: Least wait of a message that Dramatiq's rate limiter turned away, in milliseconds: without one it would spin.
RATE_LIMITED_MIN_MS = 1_000
#: Attempts left at least after one whose end is open: whoever is asked about it may have a bad moment, too.
AFTER_OPEN = 3
#: Failures kept in a message, frames kept of each, characters kept of a text: a message may fail often and stays small.
MAX_FAILURES = 8
MAX_FRAMES = 12
MAX_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """What holds for an actor that says nothing else: attempts, and the bounds of :func:`middleware.backoff.delay_ms`."""

    max_attempts: int = MAX_ATTEMPTS
    base_ms: int = backoff.BASE_MS
    cap_ms: int = backoff.CAP_MS


def code_of(error: BaseException) -> str:
    """Stable reason of an error: its own code, or its class in snake case when it is not of our tree."""
    if isinstance(error, Described):
        return error.code
    if isinstance(error, TimeLimitExceeded):
        return "time_limit"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(error).__name__).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What was tried before the outcome is decided.

    Attributes:
        attempt: the one that failed, from 1.
        times_met: failures of this error's code, this one included.
        open_at: the last attempt before whose error needed another run, 0 where none did.
    """

    attempt: int
    times_met: int = 1
    open_at: int = 0


def decide(error: BaseException, tried: Tried, policy: RetryPolicy, *, draw: float) -> Outcome:
    """Outcome of a failed attempt, by the table above."""
    code = code_of(error)
    put_back_ms = _put_back_ms(error, draw=draw, base_ms=policy.base_ms, cap_ms=policy.cap_ms)
    if put_back_ms is not None:
        return _put_back(error, put_back_ms, code)
    if isinstance(error, Described) and error.permanent:
        return Dead(code, _what(error), holds_lane=error.holds_lane)
    limit = max(policy.max_attempts, tried.open_at + AFTER_OPEN if tried.open_at else 0)
    is_used_up = tried.attempt >= limit or tried.times_met >= _worth(error)
    if is_used_up and not needs_another(error):
        return Dead("attempts_exhausted", _what(error))
    if isinstance(error, RetryRequest) and error.delay is not None:
        return Retry(max(0, error.delay), code)
    asked_ms = error.delay_ms if isinstance(error, Described) else None
    wait_ms = backoff.delay_ms(tried.attempt, draw=draw, base_ms=policy.base_ms, cap_ms=policy.cap_ms)
    return Retry(max(wait_ms, min(asked_ms or 0, policy.cap_ms)), code)


def _worth(error: BaseException) -> float:
    """How often this cause may be met."""
    own = error.max_attempts if isinstance(error, Described) else None
    return math.inf if own is None else own


def _put_back(error: BaseException, delay_ms: int, code: str) -> PutBack:
    if not isinstance(error, Snooze):
        return PutBack(delay_ms, code)
    return PutBack(delay_ms, code, error.yields, group_for_ms=error.group_for_ms, unspent=error.unspent)


def _put_back_ms(error: BaseException, *, draw: float, base_ms: int, cap_ms: int) -> int | None:
    if isinstance(error, Shutdown):
        return 0
    if isinstance(error, Snooze):
        return max(0, error.delay_ms or 0)
    if isinstance(error, RateLimitExceeded):
        return min(cap_ms, RATE_LIMITED_MIN_MS + backoff.delay_ms(1, draw=draw, base_ms=base_ms, cap_ms=cap_ms))
    return None


def _what(error: BaseException) -> dict[str, Any]:
    # The text of a foreign error may quote a row or an argument, so only ours is kept.
    text = hide(str(error))[:MAX_TEXT] if isinstance(error, Described) else None
    return {"code": code_of(error), "class": type(error).__name__, "error": text}


def failure(error: BaseException, *, attempt: int, at_ms: int) -> dict[str, Any]:
    """Evidence of one attempt: ``attempt``, ``at_ms``, ``code``, ``class``, ``error``, ``frames``.

    ``error`` is the text of our own errors, None for others. ``frames`` are ``path:line function``, innermost last, paths
    from the package on; no values.
    """
    return {"attempt": attempt, "at_ms": at_ms, **_what(error), "frames": _frames(error.__traceback__)}


def _frames(traceback: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        parts = code.co_filename.replace("\\", "/").split("/")
        keep = module.count(".") + (2 if parts[-1] == "__init__.py" else 1)
        frames.append(f"{'/'.join(parts[-keep:])}:{traceback.tb_lineno} {code.co_qualname}")
        traceback = traceback.tb_next
    return frames[-MAX_FRAMES:]


class Retries(Middleware):
    """Sets ``message.outcome`` when an attempt failed; nothing else happens here.

    ``TimeLimit`` must stand after it in the stack. Actor options (a message's own win): ``max_attempts`` or ``max_retries``
    (one less; None means the policy's), ``min_backoff`` and ``max_backoff`` in milliseconds. ``throws`` only tells Dramatiq
    which errors to log without their traceback; here it decides nothing.
    """

    #: Asked by the broker: a message whose hooks failed is not done.
    decides_outcomes = True

    def __init__(
        self,
        *,
        policy: Callable[[], RetryPolicy] | None = None,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy or RetryPolicy
        self.clock = clock or SystemClock()
        self.draw = draw

    @property
    def actor_options(self) -> set[str]:
        """Options that actors may set."""
        return {"max_attempts", "max_retries", "min_backoff", "max_backoff", "throws"}

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Decide, note the failure in the message's options, say so in the log."""
        if exception is None:
            return
        options = message.options
        attempt = int(options.get("retries", 0)) + 1
        policy = self._policy_for(message, broker.get_actor(message.actor_name).options)
        tried = Tried(
            attempt=attempt, times_met=_times_met(options, exception) + 1, open_at=int(options.get("open_at", 0))
        )
        outcome = decide(exception, tried, policy, draw=self.draw())
        if isinstance(outcome, PutBack):
            _note_put_back(options, exception, outcome)
        else:
            self._note(options, exception, attempt)
        if isinstance(outcome, Dead):
            evidence = {**outcome.evidence, "attempts": attempt, **_life(options)}
            alike = f"{message.actor_name}:{outcome.reason}:{evidence['code']}"
            outcome = replace(outcome, evidence=evidence, fingerprint=alike)
            message.fail()
        message.outcome = outcome  # type: ignore[attr-defined]  # the place that our consumer reads
        _log(message, outcome, exception, attempt)

    def _policy_for(self, message: MessageProxy, actor_options: dict[str, Any]) -> RetryPolicy:
        policy = self.policy()
        max_attempts, base_ms, cap_ms = policy.max_attempts, policy.base_ms, policy.cap_ms
        for given in (actor_options, message.options):
            if given.get("max_retries") is not None:
                max_attempts = int(given["max_retries"]) + 1
            max_attempts = _given(given, "max_attempts", max_attempts)
            base_ms = _given(given, "min_backoff", base_ms)
            cap_ms = _given(given, "max_backoff", cap_ms)
        return RetryPolicy(max_attempts=max_attempts, base_ms=base_ms, cap_ms=cap_ms)

    def _note(self, options: dict[str, Any], exception: BaseException, attempt: int) -> None:
        latest = failure(exception, attempt=attempt, at_ms=self.clock.now_ms())
        # The way there is mostly the same each time: it is kept once, with the newest.
        earlier = [
            {**entry, "frames": []} if entry.get("frames") == latest["frames"] else entry
            for entry in options.get("failures") or []
        ]
        options["retries"] = attempt
        if _worth(exception) < math.inf:
            counted = _times_met(options, exception) + 1
            options["causes"] = {**(options.get("causes") or {}), code_of(exception): counted}
        if needs_another(exception):
            options["open_at"] = attempt
        options["failures"] = [*earlier, latest][-MAX_FAILURES:]
        options.setdefault("first_failed_at_ms", latest["at_ms"])


def _times_met(options: dict[str, Any], exception: BaseException) -> int:
    return int((options.get("causes") or {}).get(code_of(exception), 0))


def _note_put_back(options: dict[str, Any], exception: BaseException, outcome: PutBack) -> None:
    count = int((options.get("put_backs") or {}).get("count", 0))
    options["put_backs"] = {"count": count + 1, "code": outcome.reason}
    if isinstance(exception, Snooze) and exception.renews:
        for name in STEP_OPTIONS:
            options.pop(name, None)


def _given(options: dict[str, Any], name: str, default: int) -> int:
    value = options.get(name)
    return default if value is None else int(value)


def _life(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("first_failed_at_ms", "failures", "put_backs") if name in options}


def _log(message: MessageProxy, outcome: Outcome, exception: BaseException, attempt: int) -> None:
    options = message.options
    extra = {
        "job_id": message.message_id,
        "actor": message.actor_name,
        "queue": message.queue_name,
        "attempt": attempt,
        "lane": options.get("lane"),
        "instance": options.get("group"),
        "code": code_of(exception),
    }
    if isinstance(outcome, Dead):
        logger.error("message.died", extra=extra)
    elif isinstance(outcome, Retry):
        logger.warning("message.retried", extra={**extra, "delay_ms": outcome.delay_ms})
    elif isinstance(outcome, PutBack):
        logger.info("message.put_back", extra={**extra, "delay_ms": outcome.delay_ms})
