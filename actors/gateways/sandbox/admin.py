"""The sandbox's own interface under ``/__sandbox__/``: fixtures, faults, limits, what was delivered.

``wire`` hands requests over; ``SandboxAdmin`` in ``admin_client`` speaks it.
"""

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from actors.gateways.jids import create_jid
from actors.gateways.sandbox.cloud_checks import GROUP_ID
from actors.gateways.sandbox.contract import Contract
from actors.gateways.sandbox.fixtures import ContactFixture, GroupFixture, InstanceFixture
from actors.gateways.sandbox.replies import PLAIN, Manner, Reply, as_json
from actors.gateways.sandbox.rules import BadRule, Rule
from actors.gateways.sandbox.webhooks import WebhookConfig, Webhooks

#: The longest one waits in one request, in seconds.
MAX_WAIT_S = 30.0

#: Takes what follows the route's name in the path, the query and the body; gives the answer.
Route = Callable[[str, dict[str, str], Any], Any]
F = TypeVar("F", InstanceFixture, ContactFixture, GroupFixture)


class Admin:
    """Answers to admin requests."""

    def __init__(  # one per part of the server
        self,
        contract: Contract,
        webhooks: Webhooks,
        *,
        token: str,
        more: Mapping[tuple[str, str], Route] | None = None,
        allow_remote: bool = False,
    ) -> None:
        self._contract = contract
        self._webhooks = webhooks
        self._allow_remote = allow_remote
        self._state = contract.state
        self._token = token
        self._routes: dict[tuple[str, str], Route] = {
            **(more or {}),
            ("PUT", "instances"): self._put_instance,
            ("DELETE", "instances"): self._delete_instance,
            ("PUT", "contacts"): self._put_contact,
            ("PUT", "groups"): self._put_group,
            ("GET", "fixtures"): lambda *_: self._state.fixtures(),
            ("DELETE", "fixtures"): self._forget_fixtures,
            ("POST", "faults"): self._add_fault,
            ("GET", "faults"): lambda *_: {"faults": contract.faults.listed()},
            ("DELETE", "faults"): self._remove_faults,
            ("PUT", "limits"): self._put_limits,
            ("PUT", "webhook"): self._put_webhook,
            ("GET", "webhooks"): self._sent_webhooks,
            ("GET", "deliveries"): self._deliveries,
            ("GET", "requests"): self._requests,
            ("GET", "counters"): lambda *_: self._state.counters(),
            ("POST", "reset"): self._reset,
            ("POST", "clock"): self._advance,
            ("GET", "wait"): self._wait,
        }

    def answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Reply:
        """Answer one request; ``path`` is what follows the prefix."""
        if not hmac.compare_digest(headers.get("x-sandbox-admin", "").encode(), self._token.encode()):
            return as_json(403, {"error": "X-Sandbox-Admin is missing or wrong"})
        parts = urlsplit(path)
        name, _, rest = parts.path.partition("/")
        route = self._routes.get((method, name))
        if route is None:
            return as_json(404, {"error": f"there is no {method} {name!r} here"})
        try:
            body = json.loads(raw) if raw else {}
            found = route(unquote(rest), dict(parse_qsl(parts.query)), body)
            # The one admin request that the server itself must carry out.
            manner = Manner("refuse", found.pop("refuse_s")) if "refuse_s" in found else PLAIN
            return replace(as_json(200, found), manner=manner)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            return as_json(400, {"error": f"{type(error).__name__}: {error}"})

    def _put_instance(self, name: str, _: dict[str, str], body: Any) -> dict[str, Any]:
        fixture = _fixture(InstanceFixture, body)
        if not name or "/" in name:
            raise ValueError("an instance has a name without slash")
        self._state.sessions.put(name, fixture)
        return {"instance": name}

    def _delete_instance(self, name: str, _: dict[str, str], __: Any) -> dict[str, Any]:
        with self._state.lock:
            return {"deleted": self._state.instances.pop(name, None) is not None}

    def _forget_fixtures(self, *_: Any) -> dict[str, Any]:
        with self._state.lock:
            for kind in (self._state.instances, self._state.contacts, self._state.groups):
                kind.clear()
        return {"forgotten": True}

    def _put_contact(self, jid: str, _: dict[str, str], body: Any) -> dict[str, Any]:
        # Kept under the address that Evolution would make of the number, so that it is found.
        known = create_jid(jid.removesuffix("@s.whatsapp.net"))
        with self._state.lock:
            self._state.contacts[known] = _fixture(ContactFixture, body)
        return {"contact": known}

    def _put_group(self, jid: str, _: dict[str, str], body: Any) -> dict[str, Any]:
        fixture = _fixture(GroupFixture, body)
        if not jid.endswith("@g.us") and not GROUP_ID.fullmatch(jid):
            raise ValueError("a group is named <digits>@g.us, or Y2FwaV9ncm91cDo… at the Cloud API")
        with self._state.lock:
            self._state.groups[jid] = fixture
        return {"group": jid}

    def _add_fault(self, _: str, __: dict[str, str], body: Any) -> dict[str, Any]:
        rule = self._contract.faults.add(body)
        found = {"id": rule.id}
        return found | self._begin(rule) if rule.is_immediate else found

    def _begin(self, rule: Rule) -> dict[str, Any]:
        rule.hits += 1
        if rule.kind == "refuse":
            return {"refuse_s": float(rule.action["for_s"])}
        if "instance" not in rule.action:
            self._contract.faults.remove(rule.id)
            raise BadRule("disconnect without a match names its instance")
        self._contract.begin(rule)
        return {}

    def _remove_faults(self, rule_id: str, _: dict[str, str], __: Any) -> dict[str, Any]:
        gone = {rule.id for rule in self._contract.faults.remove(rule_id or None)}
        self._state.sessions.end(gone)
        return {"removed": sorted(gone)}

    def _put_limits(self, _: str, __: dict[str, str], body: Any) -> dict[str, Any]:
        self._contract.limits.configure(body)
        return {"limits": body}

    def _put_webhook(self, _: str, __: dict[str, str], body: Any) -> dict[str, Any]:
        config = WebhookConfig.parse(body, allow_remote=self._allow_remote)
        self._webhooks.config = config
        return {"url": config.url, "events": list(config.events)}

    def _sent_webhooks(self, _: str, query: dict[str, str], __: Any) -> dict[str, Any]:
        idle = self._webhooks.sender.wait_idle(min(float(query.get("timeout", "0")), MAX_WAIT_S))
        return {"webhooks": self._webhooks.sender.log(), "idle": idle}

    def _deliveries(self, _: str, query: dict[str, str], __: Any) -> dict[str, Any]:
        after = int(query.get("after_seq", "0"))
        with self._state.lock:
            found = [dict(one) for one in self._state.deliveries[after:]]
        wanted = {name: query[name] for name in ("instance", "jid") if name in query}
        return {"deliveries": [one for one in found if all(one[name] == value for name, value in wanted.items())]}

    def _requests(self, *_: Any) -> dict[str, Any]:
        with self._state.lock:
            return {"requests": [dict(one) for one in self._state.requests]}

    def _reset(self, *_: Any) -> dict[str, Any]:
        self._contract.faults.reset()
        self._contract.limits.configure({})
        self._webhooks.clear()
        self._state.reset()
        return {"reset": True}

    def _advance(self, _: str, __: dict[str, str], body: Any) -> dict[str, Any]:
        self._state.advance(float(body["advance_s"]))
        return {"offset_ms": self._state.offset_ms}

    def _wait(self, _: str, query: dict[str, str], __: Any) -> dict[str, Any]:
        count = int(query.get("accepted", "1"))
        accepted = self._state.wait_accepted(count, min(float(query.get("timeout", "10")), MAX_WAIT_S))
        return {"accepted": accepted, "reached": accepted >= count}


def _fixture(kind: type[F], body: Any) -> F:
    """A fixture from JSON.

    Raises:
        ValueError: it has unknown fields.
    """
    known = {one.name for one in fields(kind)}
    if not isinstance(body, dict) or not set(body) <= known:
        raise ValueError(f"a fixture has {', '.join(sorted(known))}")
    return kind(**body)
