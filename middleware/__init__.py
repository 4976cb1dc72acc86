"""Carries messages: knows Dramatiq and Redis, never what a message is about."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dramatiq import Middleware

    from middleware.retries import RetryPolicy

__all__ = ["default_stack"]


def default_stack(*, retry_policy: "Callable[[], RetryPolicy] | None" = None) -> "list[Middleware]":
    """Our broker's middleware; ``before_`` hooks run down the list, ``after_`` up. ``retry_policy``: asked at a failure."""
    from dramatiq.middleware import CurrentMessage

    from middleware.dead_letter import DeadLetterAnnouncer
    from middleware.retries import Retries
    from middleware.ticks import Ticks
    from middleware.time_limit import TimeLimit

    return [
        # First in, last out: every later hook and the actor run inside their scope.
        *_scopes(),
        # Actors ask it for their lease; it must be set before any actor code and unset after all of it.
        CurrentMessage(),
        # Only lives with the worker; its place does not matter to messages.
        DeadLetterAnnouncer(),
        # Above Retries, so that they see what was decided; each times the hooks below it too.
        *_observers(),
        # Marks the slot of a periodic message before its actor runs, and outside its time limit.
        Ticks(),
        # Decides what an attempt came to. Below it nothing may see ``message.failed``: it is not decided yet.
        Retries(policy=retry_policy),
        # Last in, first out: it must disarm before any other hook runs, else a limit that passes inside a hook kills the
        # worker's thread and the message with it (observed on stock, which lists it first).
        TimeLimit(),
    ]


def _scopes() -> "list[Middleware]":
    from middleware.sentry import SentryScope
    from middleware.sentry_crons import SentryCrons
    from middleware.sentry_traces import SentryTraces
    from middleware.tracing import Tracing

    return [
        SentryScope(),
        # All below is inside its span, also the lines of the log.
        Tracing(),
        # Inside that scope, around all that may be a span of the message.
        SentryTraces(),
        # Its last word must come after Retries has decided.
        SentryCrons(),
    ]


def _observers() -> "list[Middleware]":
    from middleware.finished import FinishedLog
    from middleware.health import Health
    from middleware.metrics import Metrics

    return [Health(), Metrics(), FinishedLog()]
