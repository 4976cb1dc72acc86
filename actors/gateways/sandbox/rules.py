"""One fault as a rule: which requests, when, and what goes wrong. Draws depend on seed, rule and request, never on timing.

``faults`` keeps rules, ``admin`` and ``--config`` bring them as JSON.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.gateways.sandbox.replies import AFTER_SEND, BROKEN_BODIES, PRESETS, PROXY_PAGES

BEFORE, AFTER = "before_accept", "after_accept"

#: Action type → the parameters it takes.
ACTIONS: dict[str, frozenset[str]] = {
    "latency": frozenset({"ms", "when"}),
    "status": frozenset({"status", "body", "preset", "headers", "when", "retry_after"}),
    "drop": frozenset({"when"}),
    "hang": frozenset({"when", "max_s"}),
    "slow_body": frozenset({"bytes_per_s", "when"}),
    "truncate": frozenset({"bytes"}),
    "invalid_json": frozenset({"status", "body"}),
    "wrong_jid": frozenset({"jid"}),
    "refuse": frozenset({"for_s"}),
    "disconnect": frozenset({"instance", "for_s", "lie", "reason"}),
    "duplicate_id": frozenset(),
    "persist_lag": frozenset({"ms", "never"}),
    "ack": frozenset({"status", "after_ms"}),
}
_NEEDED = {
    "latency": "ms",
    "slow_body": "bytes_per_s",
    "truncate": "bytes",
    "wrong_jid": "jid",
    "refuse": "for_s",
    "ack": "status",
}
_MATCHES = frozenset({"op", "instance", "number_re", "text_re", "ref_re"})
_TRIGGERS = frozenset({"always", "next", "every", "nth", "probability", "between_s"})


#: Statuses of a message, as Evolution tells them.
STATUSES = ("ERROR", "PENDING", "SERVER_ACK", "DELIVERY_ACK", "READ", "PLAYED", "DELETED")


_OF_SENDS = ("wrong_jid", "duplicate_id", "persist_lag", "ack")


class BadRule(ValueError):
    """A rule that cannot be used; the text says which part."""


@dataclass(frozen=True, slots=True)
class Request:
    """What rules may ask of a request. ``reference`` is the client's, else a digest of the request."""

    op: str
    instance: str
    reference: str
    is_send: bool = True
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
    def is_of_sends(self) -> bool:
        """Whether it changes a message, so that nothing else can be struck."""
        return self.kind in _OF_SENDS or self.action.get("preset") in AFTER_SEND

    @property
    def is_at_once(self) -> bool:
        """Whether it has happened before the request is carried out."""
        return self.kind == "disconnect" or (self.kind == "latency" and self.when == BEFORE)

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
        if self.is_of_sends and not request.is_send:
            return False
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

    def take_back(self, request: Request) -> None:
        """It did not happen after all: the request was refused before it could."""
        self.seen -= 1
        self.hits -= 1
        self.requests[request.op, request.reference] -= 1

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


def parse(body: Any, *, default_id: str, presets: Mapping[str, Any] = PRESETS) -> Rule:
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
    _check_preset(action, presets)
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
    if kind == "slow_body" and action.get("when", AFTER) != AFTER:
        raise BadRule("slow_body drips an answer, so the message is accepted first: when is after_accept")
    if kind == "ack" and action["status"] not in STATUSES:
        raise BadRule(f"status is one of {', '.join(STATUSES)}")
    if kind == "status" and ("preset" in action) == ("status" in action):
        raise BadRule("action status needs a status (with a body) or a preset")
    if kind == "invalid_json" and action.get("body", "html") not in BROKEN_BODIES:
        raise BadRule(f"unknown body {action['body']!r}; known: {', '.join(sorted(BROKEN_BODIES))}")


def _check_preset(action: dict[str, Any], presets: Mapping[str, Any]) -> None:
    if "preset" in action and action["preset"] not in presets:
        raise BadRule(f"unknown preset {action['preset']!r}; known: {', '.join(sorted(presets))}")


def _only(given: dict[str, Any], known: "set[str] | frozenset[str]", what: str) -> None:
    for name in given:
        if name not in known:
            raise BadRule(f"unknown {what} field {name!r}; known: {', '.join(sorted(known)) or 'none'}")
