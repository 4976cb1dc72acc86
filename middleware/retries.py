"""Decide what a failed attempt came to, and keep the evidence of it in the message.

Stands in the stack of our broker; its consumer applies the outcome in one script. Nothing is enqueued here: a retry that is
enqueued in a hook is lost when Redis is away, because Dramatiq swallows errors of hooks.

The life of a failing message: attempt 1 fails → ``retry`` after a wait → attempt 2 … → the last one fails → ``dead``. Its
options keep ``retries`` (attempts used), ``failures`` (the last few, see :func:`failure`), ``first_failed_at_ms`` and
``put_backs`` (how often it was put back without using an attempt, and why last).
"""

import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from dramatiq import Broker, MessageProxy, Middleware
from dramatiq.errors import RateLimitExceeded
from dramatiq.errors import Retry as RetryRequest
from dramatiq.middleware import Shutdown, TimeLimitExceeded

from middleware import backoff
from middleware.clock import Clock, SystemClock
from middleware.errors import Described, Snooze
from middleware.outcomes import Dead, Outcome, PutBack, Retry

logger = logging.getLogger(__name__)

#: Attempts of an actor that names none.
MAX_ATTEMPTS = 8
#: Least wait of a message that Dramatiq's rate limiter turned away, in milliseconds: without one it would spin.
RATE_LIMITED_MIN_MS = 1_000
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


def decide(error: BaseException, *, attempt: int, max_attempts: int, draw: float, base_ms: int, cap_ms: int) -> Outcome:
    """Outcome of failed ``attempt`` (from 1).

    ======================================  ==============================================================================
    the error                               becomes
    ======================================  ==============================================================================
    ``Snooze``                              put back for its ``delay_ms``; no attempt used
    Dramatiq's ``RateLimitExceeded``        put back for about ``base_ms``; no attempt used
    Dramatiq's ``Shutdown``                 put back at once; no attempt used
    ``permanent``                           dead, its code is the reason
    any, and no attempt is left             dead ``attempts_exhausted``; the error's ``max_attempts`` counts if it is less
    Dramatiq's ``Retry(delay)``             retry after exactly that
    any other                               retry with backoff, not before its ``delay_ms`` (which ``cap_ms`` bounds)
    ======================================  ==============================================================================
    """
    code = code_of(error)
    put_back_ms = _put_back_ms(error, draw=draw, base_ms=base_ms, cap_ms=cap_ms)
    if put_back_ms is not None:
        return PutBack(put_back_ms, code, yields=isinstance(error, Snooze) and error.yields)
    if isinstance(error, Described) and error.permanent:
        return Dead(code, _what(error))
    own_max = error.max_attempts if isinstance(error, Described) else None
    if attempt >= (max_attempts if own_max is None else min(max_attempts, own_max)):
        return Dead("attempts_exhausted", _what(error))
    if isinstance(error, RetryRequest) and error.delay is not None:
        return Retry(max(0, error.delay), code)
    asked_ms = error.delay_ms if isinstance(error, Described) else None
    wait_ms = backoff.delay_ms(attempt, draw=draw, base_ms=base_ms, cap_ms=cap_ms)
    return Retry(max(wait_ms, min(asked_ms or 0, cap_ms)), code)


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
    text = str(error)[:MAX_TEXT] if isinstance(error, Described) else None
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
        outcome = decide(
            exception,
            attempt=attempt,
            max_attempts=policy.max_attempts,
            draw=self.draw(),
            base_ms=policy.base_ms,
            cap_ms=policy.cap_ms,
        )
        if isinstance(outcome, PutBack):
            count = int((options.get("put_backs") or {}).get("count", 0))
            options["put_backs"] = {"count": count + 1, "code": outcome.reason}
        else:
            self._note(options, exception, attempt)
        if isinstance(outcome, Dead):
            outcome = Dead(outcome.reason, {**outcome.evidence, "attempts": attempt, **_life(options)})
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
        options["failures"] = [*earlier, latest][-MAX_FAILURES:]
        options.setdefault("first_failed_at_ms", latest["at_ms"])


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
