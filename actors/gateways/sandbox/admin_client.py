"""Steer and inspect a sandbox from outside.

Tests, the demo and benchmarks use it.
"""

import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx


class SandboxRefused(Exception):
    """The sandbox refused an admin request; the text says why."""


class SandboxAdmin:
    """Client of one sandbox's admin interface. Safe to call from many threads; also a context manager."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=f"{self.url}/__sandbox__/",
            headers={"X-Sandbox-Admin": token},
            # Longer than the sandbox's longest wait.
            timeout=httpx.Timeout(40.0, connect=5.0),
            limits=httpx.Limits(keepalive_expiry=2.0),
            trust_env=False,
        )

    def put_instance(self, name: str, **fixture: Any) -> None:
        """Connect a number: ``token``, ``state``, ``loaded``, ``reported_state``, ``save_messages``."""
        self._call("PUT", f"instances/{quote(name, safe='')}", fixture)

    def delete_instance(self, name: str) -> None:
        """Forget a number."""
        self._call("DELETE", f"instances/{quote(name, safe='')}")

    def put_contact(self, jid: str, **fixture: Any) -> None:
        """Set a person: ``exists``, ``picture_url``, ``lid``; ``jid`` may be digits."""
        self._call("PUT", f"contacts/{quote(jid, safe='')}", fixture)

    def put_group(self, jid: str, **fixture: Any) -> None:
        """Set a group: ``subject``, ``desc``, ``owner``, ``participants``, ``picture_url``, ``error``."""
        self._call("PUT", f"groups/{quote(jid, safe='')}", fixture)

    def add_fault(
        self,
        action: dict[str, Any],
        *,
        match: dict[str, Any] | None = None,
        trigger: dict[str, Any] | None = None,
    ) -> str:
        """Let something go wrong from now on; the rule's id."""
        body = {"action": action, "match": match or {}, "trigger": trigger or {"always": True}}
        return str(self._call("POST", "faults", body)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """All rules with how often they matched (``seen``) and struck (``hits``)."""
        return list(self._call("GET", "faults")["faults"])

    def clear_faults(self, rule_id: str = "") -> None:
        """Remove one rule, or all."""
        self._call("DELETE", f"faults/{quote(rule_id, safe='')}" if rule_id else "faults")

    def put_limits(self, **limits: Any) -> None:
        """Set rate limits: ``instance`` and ``pair`` (``rate`` per second, ``burst``), ``mode`` "429" or "record"."""
        self._call("PUT", "limits", limits)

    def deliveries(self, **query: Any) -> list[dict[str, Any]]:
        """What was accepted, in order: ``instance``, ``jid``, ``after_seq`` narrow it."""
        return list(self._call("GET", "deliveries", query=query)["deliveries"])

    def requests(self) -> list[dict[str, Any]]:
        """Every request, refused ones too."""
        return list(self._call("GET", "requests")["requests"])

    def counters(self) -> dict[str, Any]:
        """Counts: accepted, rejected, duplicates, order violations, concurrency."""
        return dict(self._call("GET", "counters"))

    def reset(self) -> None:
        """Forget everything but the fixtures; faults and limits too."""
        self._call("POST", "reset")

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clocks."""
        self._call("POST", "clock", {"advance_s": seconds})

    def wait(self, accepted: int, *, timeout_s: float = 10.0) -> bool:
        """Wait until that many messages were accepted; whether they were."""
        return bool(self._call("GET", "wait", query={"accepted": accepted, "timeout": timeout_s})["reached"])

    def close(self) -> None:
        """Give back connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, path: str, body: Any = None, *, query: dict[str, Any] | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        answer = self._client.request(method, path, content=content, params=query or {})
        found: dict[str, Any] = answer.json()
        if answer.status_code != 200:
            raise SandboxRefused(f"{method} {path.partition('/')[0]}: {found.get('error')}")
        return found
