"""The way of one request through the sandbox, in the provider's own order.

``wire`` calls :meth:`Contract.answer`. Order: network and proxies, then what the dialect guards (for Evolution: JSON, route,
instance, key, schema, controller, loaded), faults, limits, the endpoint itself (accept point inside), faults on the answer.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.dialect import Dialect
from actors.gateways.sandbox.faults import Faults
from actors.gateways.sandbox.limits import Limits
from actors.gateways.sandbox.replies import BROKEN_BODIES, Manner, Refused, Reply, Subject, as_json
from actors.gateways.sandbox.rules import AFTER, BEFORE, Rule
from actors.gateways.sandbox.sessions import LOST, Outage
from actors.gateways.sandbox.state import State

#: A hang ends by itself after this long, in seconds.
MAX_HANG_S = 120.0


class Contract:
    """Every dialect behind one set of faults, limits and logs. Safe to call from many threads."""

    def __init__(self, state: State, faults: Faults, limits: Limits, *, dialects: Sequence[Dialect]) -> None:
        self.state = state
        self.faults = faults
        self.limits = limits
        self._dialects = dialects

    def read(self, call: Call) -> Dialect:
        """The dialect that claims ``call``, which now knows what it asks for."""
        dialect = next(one for one in self._dialects if one.claims(call))
        dialect.read(call)
        return dialect

    def answer(self, call: Call, dialect: Dialect) -> Reply:
        """The answer to ``call``; whatever it changes has changed when it returns."""
        facts = call.for_faults()
        since_s = self.state.since_reset_s()
        call.struck = self.faults.plan(facts, wire=True, since_reset_s=since_s)
        if call.struck:
            return self._struck(call, call.struck[0], Reply(200))
        try:
            dialect.guard(call)
            call.struck = self.faults.plan(facts, wire=False, since_reset_s=since_s)
            reply = self._before(call)
            if reply is None:
                self._check_limits(call, dialect)
                reply = dialect.serve(call)
        except Refused as refused:
            self.faults.take_back(call.struck, facts)
            return refused.reply
        return self._after(call, reply)

    def begin(self, rule: Rule) -> None:
        """Start an outage that a rule brings about without waiting for a request."""
        self._disconnect(rule, instance=str(rule.action.get("instance", "")))

    def _before(self, call: Call) -> Reply | None:
        for rule in call.struck:
            if rule.kind == "latency" and rule.when == BEFORE:
                self.state.pause(self.faults.latency_s(rule, call.for_faults()))
            elif rule.kind == "disconnect":
                self._disconnect(rule, instance=str(rule.action.get("instance", call.instance)))
            elif rule.kind == "status" and rule.when == BEFORE:
                return self._preset(call, rule)
        return None

    def _check_limits(self, call: Call, dialect: Dialect) -> None:
        if not call.is_send or not self.limits.limits:
            return
        wait_s = self.limits.wait_s(call.instance, call.jid, now_ms=self.state.boot_ms())
        if wait_s <= 0:
            return
        with self.state.lock:
            self.state.counts["rate_violations"] += 1
        if self.limits.mode == "429":
            raise Refused(dialect.too_many(call, wait_s=wait_s))

    def _after(self, call: Call, reply: Reply) -> Reply:
        for rule in call.struck:
            if rule.kind == "latency" and rule.when == AFTER:
                self.state.pause(self.faults.latency_s(rule, call.for_faults()))
            elif rule.is_on_answer:
                reply = self._struck(call, rule, reply)
        return reply

    def _struck(self, call: Call, rule: Rule, reply: Reply) -> Reply:
        """``reply`` as the rule leaves it."""
        action = rule.action
        if rule.kind in ("drop", "refuse"):
            return replace(reply, manner=Manner("refuse" if rule.kind == "refuse" else "drop", action.get("for_s", 0)))
        if rule.kind == "hang":
            return replace(reply, manner=Manner("hang", float(action.get("max_s", MAX_HANG_S))))
        if rule.kind == "slow_body":
            return replace(reply, manner=Manner("drip", float(action["bytes_per_s"])))
        if rule.kind == "truncate":
            return replace(reply, manner=Manner("cut", float(action["bytes"])))
        if rule.kind == "invalid_json":
            body = BROKEN_BODIES[action.get("body", "html")]
            return replace(reply, status=action.get("status", reply.status), body=body)
        if rule.kind == "status":
            return replace(self._preset(call, rule), seq=reply.seq)
        return reply

    def _preset(self, call: Call, rule: Rule) -> Reply:
        action = rule.action
        if "preset" in action:
            retry_after = action.get("retry_after")
            text = None if retry_after is None else str(retry_after)
            subject = Subject(call.instance, unloaded=call.unloaded, text=call.text, retry_after=text)
            reply = self.faults.presets[action["preset"]](subject)
        elif isinstance(action.get("body"), str):
            reply = Reply(action["status"], action["body"].encode(), content_type="text/html")
        else:
            reply = as_json(action["status"], action.get("body", {}))
        headers: dict[str, Any] = action.get("headers", {})
        return replace(reply, headers={**reply.headers, **{name: str(value) for name, value in headers.items()}})

    def _disconnect(self, rule: Rule, *, instance: str) -> None:
        action = rule.action
        for_ms = None if action.get("for_s") is None else int(float(action["for_s"]) * 1000)
        until_ms = None if for_ms is None else self.state.boot_ms() + for_ms
        outage = Outage(instance, until_ms, bool(action.get("lie", False)), rule.id, int(action.get("reason", LOST)))
        self.state.sessions.begin(outage, for_ms=for_ms)
