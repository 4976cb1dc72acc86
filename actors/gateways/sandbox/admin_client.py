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
            # Plain HTTP on this machine: reading the certificates of the world takes longer than most tests.
            verify=False,  # noqa: S501
        )

    def put_instance(self, name: str, **fixture: Any) -> None:
        """Connect a number: ``token``, ``state``, ``loaded``, ``reported_state``, ``save_messages``."""
        self.call("PUT", f"instances/{quote(name, safe='')}", fixture)

    def delete_instance(self, name: str) -> None:
        """Forget a number."""
        self.call("DELETE", f"instances/{quote(name, safe='')}")

    def put_contact(self, jid: str, **fixture: Any) -> None:
        """Set a person: ``exists``, ``picture_url``, ``lid``; ``jid`` may be digits."""
        self.call("PUT", f"contacts/{quote(jid, safe='')}", fixture)

    def put_group(self, jid: str, **fixture: Any) -> None:
        """Set a group: ``subject``, ``desc``, ``owner``, ``participants``, ``picture_url``, ``error``."""
        self.call("PUT", f"groups/{quote(jid, safe='')}", fixture)

    def add_fault(
        self,
        action: dict[str, Any],
        *,
        match: dict[str, Any] | None = None,
        trigger: dict[str, Any] | None = None,
    ) -> str:
        """Let something go wrong from now on; the rule's id."""
        body = {"action": action, "match": match or {}, "trigger": trigger or {"always": True}}
        return str(self.call("POST", "faults", body)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """All rules with how often they matched (``seen``) and struck (``hits``)."""
        return list(self.call("GET", "faults")["faults"])

    def clear_faults(self, rule_id: str = "") -> None:
        """Remove one rule, or all."""
        self.call("DELETE", f"faults/{quote(rule_id, safe='')}" if rule_id else "faults")

    def put_limits(self, **limits: Any) -> None:
        """Set rate limits: ``instance`` and ``pair`` (``rate`` per second, ``burst``), ``mode`` "429" or "record"."""
        self.call("PUT", "limits", limits)

    def put_webhook(self, url: str, **config: Any) -> None:
        """Send events there: ``events``, ``retry``, ``headers``, ``by_events``, ``duplicate``, ``reorder``."""
        self.call("PUT", "webhook", {"url": url, **config})

    def webhooks(self, *, timeout_s: float = 0.0) -> list[dict[str, Any]]:
        """What was sent, once nothing is due any more or the time is up: ``event``, ``url``, ``attempts``, ``outcome``."""
        return list(self.call("GET", "webhooks", query={"timeout": timeout_s})["webhooks"])

    def put_cloud_webhook(self, **plan: Any) -> None:
        """Tell ``url`` of every message of the Cloud API, signed with ``app_secret``; without ``url`` nobody is told.

        Also ``statuses``, ``delay_ms``, ``repeat``, ``error_code``, ``max_attempts``, ``first_s``.
        """
        self.call("PUT", "cloud_webhook", plan)

    def say_cloud_status(self, seq: int, status: str, **more: Any) -> None:
        """Post one status of the message that was accepted as number ``seq``; ``error_code`` is of a ``failed`` one."""
        self.call("POST", "cloud_status", {"seq": seq, "status": status, **more})

    def deliveries(self, **query: Any) -> list[dict[str, Any]]:
        """What was accepted, in order: ``instance``, ``jid``, ``after_seq`` narrow it."""
        return list(self.call("GET", "deliveries", query=query)["deliveries"])

    def requests(self) -> list[dict[str, Any]]:
        """Every request, refused ones too."""
        return list(self.call("GET", "requests")["requests"])

    def counters(self) -> dict[str, Any]:
        """Counts: accepted, rejected, duplicates, order violations, concurrency."""
        return dict(self.call("GET", "counters"))

    def reset(self) -> None:
        """Forget everything but the fixtures; faults and limits too."""
        self.call("POST", "reset")

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clocks."""
        self.call("POST", "clock", {"advance_s": seconds})

    def wait(self, accepted: int, *, timeout_s: float = 10.0) -> bool:
        """Wait until that many messages were accepted; whether they were."""
        return bool(self.call("GET", "wait", query={"accepted": accepted, "timeout": timeout_s})["reached"])

    def call(self, method: str, path: str, body: Any = None, *, query: dict[str, Any] | None = None) -> dict[str, Any]:
        """Any admin request; the methods above are its everyday ones.

        Raises:
            SandboxRefused: it was refused.
        """
        content = None if body is None else json.dumps(body).encode()
        answer = self._client.request(method, path, content=content, params=query or {})
        found: dict[str, Any] = answer.json()
        if answer.status_code != 200:
            raise SandboxRefused(f"{method} {path.partition('/')[0]}: {found.get('error')}")
        return found

    def close(self) -> None:
        """Give back connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
