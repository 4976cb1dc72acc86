"""The way of one request through the sandbox, in Evolution's own order.

``server`` calls :meth:`Contract.answer`. Order: network and proxies, JSON, route, instance, key, schema, controller, loaded,
faults, limits, the endpoint itself (accept point inside), faults on the answer.
"""

import hmac
from dataclasses import replace
from typing import Any

from actors.gateways.jids import create_jid
from actors.gateways.sandbox import endpoints, validators
from actors.gateways.sandbox.calls import Call
from actors.gateways.sandbox.faults import AFTER, BEFORE, Faults, Rule
from actors.gateways.sandbox.limits import Limits
from actors.gateways.sandbox.replies import (
    BROKEN_BODIES,
    PRESETS,
    UNAUTHORIZED,
    Manner,
    Refused,
    Reply,
    Subject,
    as_json,
    envelope,
    no_instance,
    not_loaded,
)
from actors.gateways.sandbox.state import Outage, State

#: A hang ends by itself after this long, in seconds.
MAX_HANG_S = 120.0


class Contract:
    """Evolution 2.3.6 for the operations that it has routes for."""

    def __init__(self, state: State, faults: Faults, limits: Limits, *, api_key: str) -> None:
        self.state = state
        self.faults = faults
        self.limits = limits
        self._api_key = api_key

    def answer(self, call: Call) -> Reply:
        """The answer to ``call``; whatever it changes has changed when it returns."""
        facts = call.for_faults()
        since_s = self.state.since_reset_s()
        call.struck = self.faults.plan(facts, wire=True, since_reset_s=since_s)
        if call.struck:
            return self._struck(call, call.struck[0], Reply(200))
        try:
            self._guard(call)
            call.struck = self.faults.plan(facts, wire=False, since_reset_s=since_s)
            reply = self._before(call)
            if reply is None:
                self._check_limits(call)
                reply = endpoints.answer(self.state, call)
        except Refused as refused:
            return refused.reply
        return self._after(call, reply)

    def begin(self, rule: Rule) -> None:
        """Start an outage that a rule brings about without waiting for a request."""
        self._disconnect(rule, instance=str(rule.action.get("instance", "")))

    def _guard(self, call: Call) -> None:
        if call.is_malformed:
            raise Refused(envelope(400, "Unexpected token in JSON at position 0", title="Internal Server Error"))
        if call.op is None:
            raise Refused(envelope(404, [f"Cannot {call.method} {call.target}"]))
        if call.op == "version":
            return
        if call.op != "fetchInstances" and call.instance not in self.state.instances:
            raise Refused(no_instance(call.instance))
        self._check_key(call)
        # Evolution lets the query override the path after its guards; a client must never send one.
        call.instance = call.query.get("instanceName", call.instance)
        self._check_body(call)
        fixture = self.state.instances.get(call.instance)
        if call.op != "fetchInstances" and (fixture is None or not fixture.loaded):
            raise Refused(not_loaded(call.op))

    def _check_key(self, call: Call) -> None:
        fixture = self.state.instances.get(call.instance)
        given = call.headers.get("apikey", "").encode()
        known = [self._api_key, fixture.token if fixture is not None else None]
        if not given or not any(hmac.compare_digest(given, key.encode()) for key in known if key):
            raise Refused(UNAUTHORIZED)

    def _check_body(self, call: Call) -> None:
        if call.op == "sendText":
            validators.check_text(call.fields)
        elif call.op == "sendMedia":
            validators.check_media(call.fields)
        elif call.op == "sendWhatsAppAudio":
            validators.check_audio(call.fields)
        elif call.op == "findGroupInfos":
            call.query["groupJid"] = validators.check_group(call.query)

    def _before(self, call: Call) -> Reply | None:
        for rule in call.struck:
            if rule.kind == "latency" and rule.when == BEFORE:
                self.state.pause(self.faults.latency_s(rule, call.for_faults()))
            elif rule.kind == "disconnect":
                self._disconnect(rule, instance=str(rule.action.get("instance", call.instance)))
            elif rule.kind == "status" and rule.when == BEFORE:
                return self._preset(call, rule)
        return None

    def _check_limits(self, call: Call) -> None:
        if not call.is_send or not self.limits.limits:
            return
        wait_s = self.limits.wait_s(call.instance, create_jid(call.number), now_ms=self.state.boot_ms())
        if wait_s <= 0:
            return
        with self.state.lock:
            self.state.counts["rate_violations"] += 1
        if self.limits.mode == "429":
            subject = Subject(call.op or "", call.instance, retry_after=str(max(1, round(wait_s))))
            raise Refused(PRESETS["429"](subject))

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
            subject = Subject(call.op or "", call.instance, text=call.text, retry_after=text)
            reply = PRESETS[action["preset"]](subject)
        elif isinstance(action.get("body"), str):
            reply = Reply(action["status"], action["body"].encode(), content_type="text/html")
        else:
            reply = as_json(action["status"], action.get("body", {}))
        headers: dict[str, Any] = action.get("headers", {})
        return replace(reply, headers={**reply.headers, **{name: str(value) for name, value in headers.items()}})

    def _disconnect(self, rule: Rule, *, instance: str) -> None:
        for_s = rule.action.get("for_s")
        until_ms = None if for_s is None else self.state.boot_ms() + int(float(for_s) * 1000)
        with self.state.lock:
            self.state.outages.append(Outage(instance, until_ms, bool(rule.action.get("lie", False)), rule.id))
