"""Evolution's webhooks: which events go where, in which envelope, once, twice or in the wrong order.

``state`` announces what happens, ``admin`` sets the address, ``webhook_sender`` sends. The envelope carries the instance's key, as
Evolution's does.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from actors.gateways.evolution_endpoint import clean_url, is_loopback
from actors.gateways.sandbox.state import State
from actors.gateways.sandbox.webhook_sender import Event, Retry, WebhookSender

EVENTS = ("send.message", "send.message.update", "messages.update", "connection.update", "status.instance")
#: A withheld event is sent at last after this long, when no other one comes to overtake it.
OVERTAKE_MS = 500


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Where events go. ``duplicate`` and ``reorder`` are the shares of events sent twice, or after the next one.

    With ``by_events`` the name of the event is added to the URL, as ``/send-message``.
    """

    url: str
    events: tuple[str, ...] = EVENTS
    retry: Retry = field(default_factory=Retry)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    by_events: bool = False
    duplicate: float = 0.0
    reorder: float = 0.0

    @classmethod
    def parse(cls, body: Any, *, allow_remote: bool) -> "WebhookConfig":
        """Read it from JSON; ``events`` takes ``send.message`` and Evolution's ``SEND_MESSAGE``.

        Raises:
            ValueError: something in it is unknown, or the URL is of another machine.
        """
        known = set(cls.__dataclass_fields__)
        if not isinstance(body, dict) or not set(body) <= known or not isinstance(body.get("url"), str):
            raise ValueError(f"a webhook has a url, and may have {', '.join(sorted(known - {'url'}))}")
        url = clean_url(body["url"], source="url")
        if not allow_remote and not is_loopback(url):
            raise ValueError(
                "url names another machine: webhooks of a sandbox stay on this one unless remote is allowed"
            )
        events = tuple(str(one).lower().replace("_", ".") for one in body.get("events", EVENTS))
        if not set(events) <= set(EVENTS):
            raise ValueError(f"events are {', '.join(EVENTS)}")
        shares = {name: float(body.get(name, 0)) for name in ("duplicate", "reorder")}
        if not all(0 <= share <= 1 for share in shares.values()):
            raise ValueError("duplicate and reorder are shares, from 0 to 1")
        return cls(
            url,
            events or EVENTS,
            _retry(body.get("retry", {})),
            headers={str(name): str(value) for name, value in body.get("headers", {}).items()},
            by_events=bool(body.get("by_events", False)),
            **shares,
        )


def _retry(body: Any) -> Retry:
    if not isinstance(body, dict) or not set(body) <= set(Retry.__dataclass_fields__):
        raise ValueError(f"retry has {', '.join(Retry.__dataclass_fields__)}")
    given = dict(body)
    if "never_after" in given:
        given["never_after"] = frozenset(int(one) for one in given["never_after"])
    return Retry(**given)


class Webhooks:
    """The events of one sandbox. Safe to call from many threads."""

    def __init__(self, state: State, sender: WebhookSender, *, seed: int, server_url: Callable[[], str]) -> None:
        self._state = state
        self.sender = sender
        self._server_url = server_url
        self._seed = seed
        self.config: WebhookConfig | None = None
        self.clear()
        state.listeners.append(self.emit)

    def clear(self) -> None:
        """Send nothing any more; the same events draw the same again."""
        self.config = None
        self._draws = random.Random(f"{self._seed}|events")  # noqa: S311  # a repeatable draw, not a secret
        self.sender.clear()

    def emit(
        self,
        name: str,
        instance: str,
        data: Any,
        *,
        delay_ms: float = 0,
        still: Callable[[], bool] | None = None,
    ) -> None:
        """Send an event if it is asked for; ``still`` is asked when its time has come."""
        config = self.config
        if config is None or name not in config.events:
            return
        url = f"{config.url}/{name.replace('.', '-')}" if config.by_events else config.url

        def body() -> bytes | None:
            return None if still is not None and not still() else self._envelope(name, instance, data, url)

        event = Event(url, name, body, retry=config.retry, headers=config.headers)
        late = self._draws.random() < config.reorder
        twice = self._draws.random() < config.duplicate
        self.sender.add(event, delay_ms=delay_ms, overtaken_ms=OVERTAKE_MS if late else 0)
        if twice:
            self.sender.add(Event(url, name, body, retry=config.retry, headers=config.headers), delay_ms=delay_ms)

    def _envelope(self, name: str, instance: str, data: Any, url: str) -> bytes:
        fixture = self._state.instances.get(instance)
        # Local time that says it is UTC; the sandbox' local time is UTC.
        at = datetime.fromtimestamp(self._state.now_ms() / 1000, UTC).isoformat(timespec="milliseconds")
        envelope = {
            "event": name,
            "instance": instance,
            "data": data,
            "destination": url,
            "date_time": at.replace("+00:00", "Z"),
            "sender": fixture.owner_jid if fixture is not None else None,
            "server_url": self._server_url(),
            "apikey": (fixture.token if fixture is not None else None) or "Apikey not found",
        }
        return json.dumps(envelope, separators=(",", ":")).encode()
