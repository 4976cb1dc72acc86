"""Rate limits of the sandbox: either answered with 429, or only counted, as WhatsApp counts before it bans.

``contract`` asks before it accepts a message.
"""

from dataclasses import dataclass, field
from threading import Lock
from typing import Any


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_ms: int


@dataclass(frozen=True, slots=True)
class _Limit:
    rate: float
    burst: float


@dataclass(slots=True)
class Limits:
    """Token buckets per instance and per (instance, recipient). Safe to call from many threads."""

    mode: str = "record"
    limits: dict[str, _Limit] = field(default_factory=dict)
    _buckets: dict[tuple[str, ...], _Bucket] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def configure(self, body: Any) -> None:
        """Replace all limits: ``{"instance": {"rate", "burst"}, "pair": {…}, "mode": "429" | "record"}``.

        Raises:
            ValueError: it has another form.
        """
        if not isinstance(body, dict) or not set(body) <= {"instance", "pair", "mode"}:
            raise ValueError("limits have instance, pair and mode")
        mode = body.get("mode", "record")
        if mode not in ("429", "record"):
            raise ValueError('mode is "429" or "record"')
        limits = {}
        for scope in ("instance", "pair"):
            one = body.get(scope)
            if one is None:
                continue
            if not isinstance(one, dict) or not all(
                isinstance(one.get(name), int | float) for name in ("rate", "burst")
            ):
                raise ValueError(f"{scope} has rate (per second) and burst, both numbers")
            limits[scope] = _Limit(rate=float(one["rate"]), burst=float(one["burst"]))
        with self._lock:
            self.mode, self.limits, self._buckets = mode, limits, {}

    def wait_s(self, instance: str, jid: str, *, now_ms: int) -> float:
        """Take a token of each bucket; 0 when all had one, else how long until the emptiest has one again."""
        with self._lock:
            waits = [0.0]
            for scope, limit in self.limits.items():
                key = (instance,) if scope == "instance" else (instance, jid)
                bucket = self._buckets.setdefault(key, _Bucket(tokens=limit.burst, at_ms=now_ms))
                gained = max(0, now_ms - bucket.at_ms) / 1000 * limit.rate
                bucket.tokens, bucket.at_ms = min(limit.burst, bucket.tokens + gained), now_ms
                if bucket.tokens >= 1:
                    bucket.tokens -= 1
                else:
                    waits.append((1 - bucket.tokens) / limit.rate if limit.rate > 0 else 60.0)
            return max(waits)
