"""All faults that were asked for, and which of them strike a request.

``contract`` asks :class:`Faults` twice per request: before it looks at anything (what a proxy or the network does) and
after validation.
"""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from actors.gateways.sandbox.replies import PRESETS, Reply, Subject
from actors.gateways.sandbox.rules import BadRule, Request, Rule, parse

#: Actions that leave room for another one on the same request.
_TOGETHER = ("latency", "persist_lag", "duplicate_id", "disconnect", "ack")


class Faults:
    """All rules, in the order they were added. Safe to call from many threads."""

    def __init__(self, seed: int, *, presets: Mapping[str, Callable[[Subject], Reply]] = PRESETS) -> None:
        self.presets = presets
        self._seed = seed
        self._lock = Lock()
        self._rules: list[Rule] = []
        self._made = 0

    def add(self, body: Any) -> Rule:
        """Add a rule; it counts from now.

        Raises:
            BadRule: something in it is unknown or of the wrong form.
        """
        with self._lock:
            rule = parse(body, default_id=f"f{self._made + 1}", presets=self.presets)
            if any(rule.id == other.id for other in self._rules):
                raise BadRule(f"there is a rule {rule.id!r} already")
            self._made += 1
            self._rules.append(rule)
            return rule

    def remove(self, rule_id: str | None = None) -> list[Rule]:
        """Remove one rule, or all; returns what was removed."""
        with self._lock:
            gone = [rule for rule in self._rules if rule_id in (None, rule.id)]
            self._rules = [rule for rule in self._rules if rule not in gone]
            return gone

    def reset(self) -> None:
        """Remove all rules and number the next one from 1 again: the same rules draw the same again."""
        with self._lock:
            self._rules, self._made = [], 0

    def listed(self) -> list[dict[str, Any]]:
        """All rules with their counts."""
        with self._lock:
            return [rule.as_dict() for rule in self._rules]

    def plan(self, request: Request, *, wire: bool, since_reset_s: float) -> list[Rule]:
        """The rules that strike this request; several latencies may, of the rest the first that answers."""
        struck: list[Rule] = []
        with self._lock:
            for rule in self._rules:
                if rule.is_wire is not wire or rule.is_immediate or not rule.covers(request):
                    continue
                if not rule.strikes(request, seed=self._seed, since_reset_s=since_reset_s):
                    continue
                rule.hits += 1
                struck.append(rule)
                if rule.kind not in _TOGETHER:
                    break
        return struck

    def take_back(self, struck: list[Rule], request: Request) -> None:
        """Do not count rules that struck a request which was refused before they could do anything."""
        with self._lock:
            for rule in struck:
                if not rule.is_at_once:
                    rule.take_back(request)

    def latency_s(self, rule: Rule, request: Request) -> float:
        """See :meth:`Rule.latency_s`."""
        return rule.latency_s(request, seed=self._seed)
