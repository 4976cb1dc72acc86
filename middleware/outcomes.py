"""What one attempt came to, as a value.

Decided once (``middleware.retries`` or the consumer), applied once, by one script (``finish.lua``).
"""

from dataclasses import dataclass, field
from typing import Any

#: Options of a message that count its attempts (``middleware.retries``); a step that is done begins without them.
STEP_OPTIONS = ("retries", "causes", "open_at")


@dataclass(frozen=True, slots=True)
class Done:
    """The actor returned: the message leaves Redis, its lane goes on."""

    name: str = field(default="done", init=False)


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed and another may succeed; the lane waits with it.

    ``group_for_ms``: nobody of its group shall start for so long.
    """

    delay_ms: int
    reason: str
    group_for_ms: int = field(default=0, kw_only=True)
    name: str = field(default="retry", init=False)


@dataclass(frozen=True, slots=True)
class PutBack:
    """Not an attempt: put back in place for ``delay_ms`` (rate limit, instance down, next part).

    ``yields``: behind the others of its lane instead, because one of them must run first. ``group_for_ms``: nobody of its
    group shall start for so long (a provider's throttle). ``unspent``: it did nothing with its turn, so its group's pace does
    not count it.
    """

    delay_ms: int
    reason: str
    yields: bool = False
    group_for_ms: int = field(default=0, kw_only=True)
    unspent: bool = field(default=False, kw_only=True)
    name: str = field(default="snooze", init=False)


@dataclass(frozen=True, slots=True)
class Dead:
    """Given up. ``evidence`` is what an operator needs to see why; no content, no credentials.

    ``fingerprint``: letters that have the same one died of the same. ``holds_lane``: nobody else of its lane runs until
    somebody redrives or discards the letter.
    """

    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = field(default="", kw_only=True)
    holds_lane: bool = field(default=False, kw_only=True)
    name: str = field(default="dead", init=False)


Outcome = Done | Retry | PutBack | Dead
