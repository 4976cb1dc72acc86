"""What one attempt came to, as a value.

Decided once (``middleware.retries`` or the consumer), applied once, by one script (``finish.lua``).
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Done:
    """The actor returned: the message leaves Redis, its lane goes on."""

    name: str = field(default="done", init=False)


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed and another may succeed; the lane waits with it."""

    delay_ms: int
    reason: str
    name: str = field(default="retry", init=False)


@dataclass(frozen=True, slots=True)
class PutBack:
    """Not an attempt: put back in place for ``delay_ms`` (rate limit, instance down, next part).

    ``yields``: behind the others of its lane instead, because one of them must run first.
    """

    delay_ms: int
    reason: str
    yields: bool = False
    name: str = field(default="snooze", init=False)


@dataclass(frozen=True, slots=True)
class Dead:
    """Given up. ``evidence`` is what an operator needs to see why; no content, no credentials."""

    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)
    name: str = field(default="dead", init=False)


Outcome = Done | Retry | PutBack | Dead
