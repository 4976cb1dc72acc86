"""Status webhooks of the Cloud API: signed, to the URL that was configured, one for each step of a message's way.

``cloud`` tells of every accepted message; the admin interface configures it and makes a message fail. Source:
docs/whatsapp-cloud.md, "Webhooks".
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from actors.errors import AuthConfig
from actors.gateways.cloud_webhooks import sign
from actors.gateways.evolution_endpoint import clean_url, is_loopback
from actors.gateways.sandbox.cloud_replies import CODES
from actors.gateways.sandbox.state import State
from actors.gateways.sandbox.webhook_sender import Event, Retry, WebhookSender

STATUSES = ("sent", "delivered", "read", "played", "failed")
_FIELDS = {"url", "app_secret", "statuses", "delay_ms", "repeat", "error_code", "max_attempts", "first_s"}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What follows an accepted message: ``statuses`` in this order, each ``repeat`` times, ``delay_ms`` apart."""

    url: str
    app_secret: str
    statuses: tuple[str, ...]
    delay_ms: int
    repeat: int
    error_code: int
    retry: Retry


class StatusHooks:
    """Queues statuses. Safe to call from many threads."""

    def __init__(self, state: State, sender: WebhookSender) -> None:
        self._state = state
        self._sender = sender
        self._lock = Lock()
        self._plan: _Plan | None = None
        #: Routes of the admin interface.
        self.routes: dict[tuple[str, str], Callable[[str, dict[str, str], Any], Any]] = {
            ("PUT", "cloud_webhook"): lambda _, __, body: self.configure(body),
            ("POST", "cloud_status"): self._say,
        }

    def configure(self, body: Any) -> dict[str, Any]:
        """From now on tell ``url`` of every accepted message; ``{}`` tells nobody.

        Shape: ``{"url", "app_secret", "statuses": ["sent", …], "delay_ms", "repeat", "error_code", "max_attempts", "first_s"}``;
        ``first_s`` is the wait before the first retry.

        Raises:
            ValueError: something in it is unknown.
        """
        if not isinstance(body, dict) or not set(body) <= _FIELDS:
            raise ValueError(f"a cloud webhook has {', '.join(sorted(_FIELDS))}")
        statuses = tuple(body.get("statuses", ("sent", "delivered")))
        if not set(statuses) <= set(STATUSES):
            raise ValueError(f"statuses are {', '.join(STATUSES)}")
        plan = None
        if body.get("url"):
            plan = _Plan(
                url=_loopback(str(body["url"])),
                app_secret=str(body.get("app_secret", "")),
                statuses=statuses,
                delay_ms=int(body.get("delay_ms", 0)),
                repeat=int(body.get("repeat", 1)),
                error_code=int(body.get("error_code", 131026)),
                # Meta tries for 7 days, whatever the answer was.
                retry=Retry(
                    max_attempts=int(body.get("max_attempts", 10)),
                    first_s=float(body.get("first_s", 5.0)),
                    never_after=frozenset(),
                ),
            )
        with self._lock:
            self._plan = plan
        return {"statuses": list(statuses) if plan is not None else []}

    def accepted(self, delivery: dict[str, Any]) -> None:
        """A message was accepted; its statuses follow."""
        with self._lock:
            plan = self._plan
        if plan is None:
            return
        for step, status in enumerate(plan.statuses):
            for _ in range(plan.repeat):
                self._queue(plan, delivery, status, delay_ms=plan.delay_ms * (step + 1), error_code=plan.error_code)

    def _say(self, _: str, __: dict[str, str], body: Any) -> dict[str, Any]:
        """One status of an accepted message, now: ``{"seq", "status", "error_code"}``."""
        with self._lock:
            plan = self._plan
        if plan is None:
            raise ValueError("PUT cloud_webhook first")
        status = str(body["status"])
        if status not in STATUSES:
            raise ValueError(f"statuses are {', '.join(STATUSES)}")
        with self._state.lock:
            delivery = dict(self._state.deliveries[int(body["seq"]) - 1])
        self._queue(plan, delivery, status, delay_ms=0, error_code=int(body.get("error_code", plan.error_code)))
        return {"queued": status}

    def _queue(self, plan: _Plan, delivery: dict[str, Any], status: str, *, delay_ms: int, error_code: int) -> None:
        def body() -> bytes:
            return status_body(delivery, status, at_ms=self._state.now_ms(), error_code=error_code)

        event = Event(
            plan.url,
            f"statuses.{status}",
            body,
            retry=plan.retry,
            sign=lambda content: {"X-Hub-Signature-256": sign(content, app_secret=plan.app_secret)},
        )
        self._sender.add(event, delay_ms=delay_ms)


def _loopback(text: str) -> str:
    try:
        url = clean_url(text, source="url")
    except AuthConfig as error:
        raise ValueError(str(error)) from error
    if not is_loopback(url):
        raise ValueError("url names another machine: webhooks of a sandbox stay on this one")
    return url


def status_body(delivery: dict[str, Any], status: str, *, at_ms: int, error_code: int) -> bytes:
    """Meta's body for one status of one message."""
    told: dict[str, Any] = {
        "id": delivery["key_id"],
        "status": status,
        "timestamp": str(at_ms // 1000),
        "recipient_id": delivery["jid"].partition("@")[0],
    }
    if not delivery["jid"].endswith("@s.whatsapp.net"):
        told["recipient_type"] = "group"
    if delivery["client_ref"] is not None:
        told["biz_opaque_callback_data"] = delivery["client_ref"]
    if status == "failed":
        title = CODES.get(error_code, (400, "Unknown error"))[1]
        told["errors"] = [{"code": error_code, "title": title, "message": title, "error_data": {"details": title}}]
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": delivery["instance"]},
        "statuses": [told],
    }
    entry = {"id": "102290129340398", "changes": [{"value": value, "field": "messages"}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
