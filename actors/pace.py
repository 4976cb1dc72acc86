"""How fast each instance may send and ask, by gateway and kind of work; ``actors.traffic`` keeps it.

Defaults are community lore for Evolution (nobody publishes numbers) and Meta's own for the Cloud API: docs/gateways.md,
"Pace". ``CHAT_PACE`` and the instance's row override single numbers.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Protocol

from actors.domain import Instance


class Kind(StrEnum):
    """Kinds of work that have a pace of their own."""

    #: Messages of a conversation.
    SEND = "send"
    #: Messages of a campaign (``bulk=True``).
    BULK = "bulk"
    #: Profile pictures.
    PICTURE = "picture"
    #: Groups.
    GROUP_INFO = "group_info"
    #: What a gateway really sent, asked before an unknown part is sent again.
    LOOK = "look"

    @property
    def is_send(self) -> bool:
        """Whether a person receives something."""
        return self in (Kind.SEND, Kind.BULK)

    @property
    def is_question(self) -> bool:
        """Whether it is asked for its own sake, not for a send."""
        return self in (Kind.PICTURE, Kind.GROUP_INFO)


class Turn(Protocol):
    """What a message asks for before each request (``actors.turns``)."""

    def __call__(self, kind: Kind | None = None, /) -> AbstractContextManager[None]:
        """A turn to do the request within, of another kind than a send where one is named.

        Raises:
            Paced: not now; nothing was done.
        """
        ...

    def abandon(self) -> None:
        """Give back what an earlier run of this message took and, killed, never gave back."""
        ...


class FreeTurn:
    """Every turn, at once."""

    def __call__(self, kind: Kind | None = None, /) -> AbstractContextManager[None]:
        """See :class:`Turn`."""
        return nullcontext()

    def abandon(self) -> None:
        """See :class:`Turn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Limits of one kind of work of one instance; an interval of 0 means no limit.

    Attributes:
        interval_ms: one in so long on average, ``burst`` at once.
        jitter: the interval is uneven by so much of itself, 0 to 1.
        concurrency: at a time, None = any number.
        pair_interval_ms: one in so long to one person, ``pair_burst`` at once.
        group_interval_ms: the same to one group.
        per_day: so many in 24 hours, 0 = any number.
    """

    interval_ms: float = 0
    burst: int = 1
    jitter: float = 0
    concurrency: int | None = None
    pair_interval_ms: float = 0
    group_interval_ms: float = 0
    pair_burst: int = 1
    per_day: int = 0


Paces = Mapping[Kind, Pace]
_FREE = Pace()
_SERIAL = Pace(concurrency=1)
#: Evolution does not order concurrent requests, so an instance sends one at a time. Pictures and groups together make one
#: question in two seconds.
DEFAULTS: dict[str, Paces] = {
    "evolution": {
        Kind.SEND: Pace(
            interval_ms=2_000, burst=5, jitter=0.2, concurrency=1, pair_interval_ms=1_000, group_interval_ms=3_000
        ),
        Kind.BULK: Pace(
            interval_ms=37_500, jitter=0.33, concurrency=1, pair_interval_ms=1_000, group_interval_ms=3_000, per_day=100
        ),
        Kind.PICTURE: Pace(interval_ms=3_000, burst=2, jitter=0.2),
        Kind.GROUP_INFO: Pace(interval_ms=6_000, jitter=0.2),
    },
    "whatsapp_cloud": {
        Kind.SEND: Pace(interval_ms=1_000 / 60, burst=60, pair_interval_ms=6_000, pair_burst=10),
        Kind.BULK: Pace(interval_ms=1_000 / 60, burst=60, pair_interval_ms=6_000, pair_burst=10),
        Kind.PICTURE: Pace(interval_ms=1_000),
        Kind.GROUP_INFO: Pace(interval_ms=1_000),
    },
    # Nobody is there to be annoyed; one at a time all the same, so that what works here works there.
    "sandbox": {Kind.SEND: _SERIAL, Kind.BULK: _SERIAL},
}
_FIELDS = {one.name: one for one in fields(Pace)}


def paces_of(instance: Instance, *, gateway: str, overrides: Mapping[str, Mapping[str, Any]]) -> Paces:
    """Pace of every kind of work of ``instance``, served by ``gateway``.

    The gateway's defaults, then ``overrides[gateway]``, then ``overrides[instance name]``, then the instance's own row. A row
    that holds something else than numbers is left out: it must not stop a send.
    """
    defaults = DEFAULTS.get(gateway, {})
    paces = {kind: defaults.get(kind, _FREE) for kind in Kind}
    for name in (gateway, *instance.names):
        paces = _merged(paces, overrides.get(name, {}))
    if not faults("-", instance.pace):
        paces = _merged(paces, instance.pace)
    return paces


def _merged(paces: Paces, overrides: Mapping[str, Any]) -> dict[Kind, Pace]:
    return {kind: replace(pace, **overrides.get(kind, {})) for kind, pace in paces.items()}


def faults(name: str, overrides: Any) -> list[str]:
    """What is wrong with the overrides of one gateway or instance, in words for whoever wrote them."""
    kinds = ", ".join(Kind)
    if not isinstance(overrides, Mapping):
        return [f"{name} must be a table of {kinds}"]
    found = []
    for kind, limits in overrides.items():
        if kind not in tuple(Kind):
            found.append(f"{name} has {kind!r}, known are {kinds}")
        elif not isinstance(limits, Mapping):
            found.append(f"{name}.{kind} must be a table of {', '.join(_FIELDS)}")
        else:
            found += [f"{name}.{kind}.{fault}" for field, value in limits.items() if (fault := _fault(field, value))]
    return found


def _fault(field: Any, value: Any) -> str | None:
    if field not in _FIELDS:
        return f"{field} is not known; known are {', '.join(_FIELDS)}"
    if field == "concurrency" and value is None:
        return None
    least = 1 if field in ("burst", "pair_burst", "concurrency") else 0
    whole = field in ("burst", "pair_burst", "concurrency", "per_day")
    # JSON has Infinity in Python; as an interval it would be for ever.
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not least <= value < math.inf:
        return f"{field} must be {'a whole number' if whole else 'a number'} of at least {least}"
    if field == "jitter" and value > 1:
        return f"{field} must be between 0 and 1"
    return None
