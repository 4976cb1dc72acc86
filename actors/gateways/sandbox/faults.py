"""Faults as rules: which requests, when, and what goes wrong.

``contract`` asks :class:`Faults` twice per request: before it looks at anything (what a proxy or the network does) and
after validation. Draws depend on the seed, the rule and the request, never on the timing of threads.
"""

import random
import re
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from actors.gateways.sandbox.replies import AFTER_SEND, BROKEN_BODIES, PRESETS, PROXY_PAGES

BEFORE, AFTER = "before_accept", "after_accept"

#: Action type → the parameters it takes.
ACTIONS: dict[str, frozenset[str]] = {
    "latency": frozenset({"ms", "when"}),
    "status": frozenset({"status", "body", "preset", "headers", "when", "retry_after"}),
    "drop": frozenset({"when"}),
    "hang": frozenset({"when", "max_s"}),
    "slow_body": frozenset({"bytes_per_s"}),
    "truncate": frozenset({"bytes"}),
    "invalid_json": frozenset({"status", "body"}),
    "wrong_jid": frozenset({"jid"}),
    "refuse": frozenset({"for_s"}),
    "disconnect": frozenset({"instance", "for_s", "lie"}),
    "duplicate_id": frozenset(),
    "persist_lag": frozenset({"ms", "never"}),
}
_NEEDED = {"latency": "ms", "slow_body": "bytes_per_s", "truncate": "bytes", "wrong_jid": "jid", "refuse": "for_s"}
_MATCHES = frozenset({"op", "instance", "number_re", "text_re", "ref_re"})
_TRIGGERS = frozenset({"always", "next", "every", "nth", "probability", "between_s"})


class BadRule(ValueError):
    """A rule that cannot be used; the text says which part."""


@dataclass(frozen=True, slots=True)
class Request:
    """What rules may ask of a request. ``reference`` is the client's, else a digest of the request."""

    op: str
    instance: str
    reference: str
    number: str = field(default="", repr=False)
    text: str = field(default="", repr=False)


@dataclass(slots=True)
class Rule:
    """One fault and how often it matched (``seen``) and struck (``hits``)."""

    id: str
    match: dict[str, Any]
    trigger: dict[str, Any]
    action: dict[str, Any]
    seen: int = 0
    hits: int = 0
    requests: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> str:
        """Type of its action."""
        return str(self.action["type"])

    @property
    def when(self) -> str:
        """Before or after the accept point."""
        if self.action.get("preset") in AFTER_SEND:
            return AFTER
        return str(self.action.get("when", BEFORE))

    @property
    def is_wire(self) -> bool:
        """Whether it strikes before Evolution sees the request."""
        is_page = self.kind == "status" and self.action.get("preset") in PROXY_PAGES
        return (self.kind in ("drop", "hang", "refuse") or is_page) and self.when == BEFORE

    @property
    def is_on_answer(self) -> bool:
        """Whether it changes the answer, after the message was accepted."""
        if self.kind in ("slow_body", "truncate", "invalid_json"):
            return True
        return self.when == AFTER and self.kind in ("status", "drop", "hang")

    @property
    def is_immediate(self) -> bool:
        """Whether it is a state of the server that begins when the rule is added."""
        return self.kind in ("refuse", "disconnect") and not self.match and self.trigger == {"always": True}

    def covers(self, request: Request) -> bool:
        """Whether it is about this request."""
        match = self.match
        if "op" in match and request.op not in match["op"]:
            return False
        if "instance" in match and request.instance != match["instance"]:
            return False
        texts = (("number_re", request.number), ("text_re", request.text), ("ref_re", request.reference))
        return all(re.search(match[name], text) for name, text in texts if name in match)

    def strikes(self, request: Request, *, seed: int, since_reset_s: float) -> bool:
        """Whether it happens now; counts the request."""
        self.seen += 1
        trigger = self.trigger
        key = (request.op, request.reference)
        nth = self.requests[key] = self.requests.get(key, 0) + 1
        if "next" in trigger:
            return self.seen <= int(trigger["next"])
        if "every" in trigger:
            return self.seen % int(trigger["every"]) == 0
        if "nth" in trigger:
            return self.seen in trigger["nth"]
        if "probability" in trigger:
            return self._draw(request, nth, seed=seed, what="strike") < float(trigger["probability"])
        if "between_s" in trigger:
            start_s, end_s = trigger["between_s"]
            return bool(start_s <= since_reset_s < end_s)
        return True

    def latency_s(self, request: Request, *, seed: int) -> float:
        """How long this latency is for this request."""
        ms = self.action["ms"]
        if isinstance(ms, list):
            nth = self.requests.get((request.op, request.reference), 0)
            ms = ms[0] + (ms[1] - ms[0]) * self._draw(request, nth, seed=seed, what="latency")
        return float(ms) / 1000

    def _draw(self, request: Request, nth: int, *, seed: int, what: str) -> float:
        text = f"{seed}|{self.id}|{what}|{request.op}|{request.reference}|{nth}"
        return random.Random(text).random()  # noqa: S311  # a repeatable draw, not a secret

    def as_dict(self) -> dict[str, Any]:
        """For the list of rules."""
        return {
            "id": self.id,
            "match": self.match,
            "trigger": self.trigger,
            "action": self.action,
            "seen": self.seen,
            "hits": self.hits,
        }


class Faults:
    """All rules, in the order they were added. Safe to call from many threads."""

    def __init__(self, seed: int) -> None:
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
            rule = parse(body, default_id=f"f{self._made + 1}")
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
                if rule.kind not in ("latency", "persist_lag", "duplicate_id", "disconnect"):
                    break
        return struck

    def latency_s(self, rule: Rule, request: Request) -> float:
        """See :meth:`Rule.latency_s`."""
        return rule.latency_s(request, seed=self._seed)


def parse(body: Any, *, default_id: str) -> Rule:
    """Read a rule; what is unknown is refused, never ignored: a fault that does not strike proves nothing.

    Raises:
        BadRule: something in it is unknown or of the wrong form.
    """
    if not isinstance(body, dict):
        raise BadRule("a rule is an object with match, trigger and action")
    _only(body, {"id", "match", "trigger", "action"}, "rule")
    match, trigger, action = body.get("match", {}), body.get("trigger", {"always": True}), body.get("action")
    if not isinstance(match, dict) or not isinstance(trigger, dict) or not isinstance(action, dict):
        raise BadRule("match, trigger and action are objects")
    _only(match, _MATCHES, "match")
    _check_trigger(trigger)
    _check_action(action)
    for name in ("number_re", "text_re", "ref_re"):
        try:
            re.compile(match.get(name, ""))
        except (re.error, TypeError) as error:
            raise BadRule(f"{name} is not a regular expression") from error
    if isinstance(match.get("op"), str):
        match = {**match, "op": [match["op"]]}
    return Rule(id=str(body.get("id", default_id)), match=match, trigger=trigger, action=action)


def _check_trigger(trigger: dict[str, Any]) -> None:
    _only(trigger, _TRIGGERS, "trigger")
    if len(trigger) != 1:
        raise BadRule("a trigger has exactly one of " + ", ".join(sorted(_TRIGGERS)))
    name, value = next(iter(trigger.items()))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in ("next", "every") and not (isinstance(value, int) and is_number and value >= 1):
        raise BadRule(f"{name} is a number of requests, at least 1")
    if name == "probability" and not (is_number and 0 <= value <= 1):
        raise BadRule("probability is a number from 0 to 1")
    if name in ("nth", "between_s") and not (isinstance(value, list) and value):
        raise BadRule(f"{name} is a list of numbers")
    if name == "always" and value is not True:
        raise BadRule("always is true")


def _check_action(action: dict[str, Any]) -> None:
    kind = action.get("type")
    if kind not in ACTIONS:
        raise BadRule(f"unknown action type {kind!r}; known: {', '.join(sorted(ACTIONS))}")
    _only(action, {"type", *ACTIONS[kind]}, f"action {kind}")
    if kind in _NEEDED and _NEEDED[kind] not in action:
        raise BadRule(f"action {kind} needs {_NEEDED[kind]}")
    if action.get("when", BEFORE) not in (BEFORE, AFTER):
        raise BadRule(f"when is {BEFORE} or {AFTER}")
    if kind == "status" and ("preset" in action) == ("status" in action):
        raise BadRule("action status needs a status (with a body) or a preset")
    if kind == "status" and "preset" in action and action["preset"] not in PRESETS:
        raise BadRule(f"unknown preset {action['preset']!r}; known: {', '.join(sorted(PRESETS))}")
    if kind == "invalid_json" and action.get("body", "html") not in BROKEN_BODIES:
        raise BadRule(f"unknown body {action['body']!r}; known: {', '.join(sorted(BROKEN_BODIES))}")


def _only(given: dict[str, Any], known: "set[str] | frozenset[str]", what: str) -> None:
    for name in given:
        if name not in known:
            raise BadRule(f"unknown {what} field {name!r}; known: {', '.join(sorted(known)) or 'none'}")
