"""Sessions of the connected numbers: open, closed for a while, or closed and saying open.

``contract`` begins outages, ``admin`` ends them; both are told to whoever listens as ``connection.update``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Any

from actors.gateways.sandbox.fixtures import InstanceFixture

#: Reasons after which Evolution does not reconnect: somebody must scan the code again.
FINAL_REASONS = frozenset({401, 402, 403, 406})
#: The reason of a connection that was merely lost.
LOST = 428

Announce = Callable[..., None]


@dataclass(slots=True)
class Outage:
    """An instance's session is down until a time of the boot clock (None: until removed)."""

    instance: str
    until_ms: int | None
    lie: bool
    rule_id: str
    reason: int = LOST
    ended: bool = False


class Sessions:
    """Who is connected. Safe to call from many threads.

    ``announce(name, instance, data, delay_ms=…, still=…)`` tells an event, unless ``still`` says by then that it is untrue.
    """

    def __init__(self, now_ms: Callable[[], int], announce: Announce) -> None:
        self._now_ms = now_ms
        self._announce = announce
        self._lock = RLock()
        self.instances: dict[str, InstanceFixture] = {}
        self._outages: list[Outage] = []

    def clear(self) -> None:
        """End all outages without a word."""
        with self._lock:
            self._outages = []

    def put(self, name: str, fixture: InstanceFixture) -> None:
        """Connect a number or change it."""
        with self._lock:
            before = self.instances.get(name)
            self.instances[name] = fixture
        if before is not None and before.state != fixture.state:
            self._tell(name, fixture.state, LOST if fixture.state == "close" else 200)

    def outage(self, instance: str) -> Outage | None:
        """The outage that an instance is in."""
        if not self._outages:
            return None
        with self._lock:
            now_ms = self._now_ms()
            self._outages = [one for one in self._outages if one.until_ms is None or now_ms < one.until_ms]
            return next((one for one in self._outages if one.instance == instance), None)

    def is_open(self, instance: str) -> bool:
        """Whether the session really is open."""
        return self.instances[instance].state == "open" and self.outage(instance) is None

    def told_state(self, instance: str) -> str | None:
        """What ``connectionState`` says; None where Evolution has nothing to say: the instance is not in memory."""
        fixture = self.instances.get(instance)
        if fixture is None or not fixture.loaded:
            return None
        if fixture.reported_state is not None:
            return fixture.reported_state
        outage = self.outage(instance)
        return "close" if outage is not None and not outage.lie else fixture.state

    def begin(self, outage: Outage, *, for_ms: int | None) -> None:
        """Close a session, for a while or until :meth:`end`."""
        with self._lock:
            self._outages.append(outage)
        # A session that lies does not know that it is closed.
        if outage.lie:
            return
        if outage.reason in FINAL_REASONS:
            closed = {"instance": outage.instance, "status": "closed", "disconnectionReasonCode": outage.reason}
            self._announce("status.instance", outage.instance, closed)
        self._tell(outage.instance, "close", outage.reason)
        if for_ms is not None:
            self._tell(outage.instance, "open", 200, delay_ms=for_ms, still=lambda: not outage.ended)

    def end(self, rule_ids: set[str]) -> None:
        """End the outages of these rules."""
        with self._lock:
            gone = [one for one in self._outages if one.rule_id in rule_ids]
            self._outages = [one for one in self._outages if one not in gone]
        for one in gone:
            one.ended = True
            if not one.lie:
                self._tell(one.instance, "open", 200)

    def _tell(self, instance: str, state: str, reason: int, **when: Any) -> None:
        told = {"instance": instance, "state": state, "statusReason": reason}
        self._announce("connection.update", instance, told, **when)
