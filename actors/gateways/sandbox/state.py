"""What the sandbox knows and has seen: fixtures, accepted messages, requests, counts. In memory, safe to call from many threads.

``contract`` writes it, ``admin`` shows it.
"""

import hashlib
import secrets
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict
from threading import Condition, Event, RLock
from typing import Any

from actors.gateways.sandbox.fixtures import ContactFixture, GroupFixture
from actors.gateways.sandbox.saved import Saved
from actors.gateways.sandbox.sessions import Sessions
from middleware.clock import Clock

#: What a send occupies: (instance,) or (instance, chat).
Lane = tuple[str, ...]
#: Latest requests kept for inspection.
MAX_REQUESTS = 50_000


def _evolution_id(digest: str) -> str:
    return f"3EB0{digest[:18].upper()}"


def instance_id(name: str) -> str:
    """The database id of an instance, or of anything else with a name: always the same."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"


class State:
    """Everything but faults and limits. Times run on ``clock`` plus what was advanced."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._salt = secrets.token_hex(8)
        self._ids = 0
        self._requests = 0
        self.lock = RLock()
        self.changed = Condition(self.lock)
        self.stopping = Event()
        #: Called when the clocks were moved or the sandbox stops: who waits for a time looks again.
        self.alarms: list[Callable[[], None]] = []
        #: Told what happens, as ``announce``: webhooks listen.
        self.listeners: list[Callable[..., None]] = []
        self.sessions = Sessions(self.boot_ms, self.announce)
        self.saved = Saved(self.boot_ms)
        self.instances = self.sessions.instances
        self.contacts: dict[str, ContactFixture] = {}
        self.groups: dict[str, GroupFixture] = {}
        self._running: dict[Lane, list[Callable[[], bool]]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget everything but the fixtures."""
        with self.lock:
            self.offset_ms = 0
            self.started_ms = self._clock.boot_ms()
            self.deliveries: list[dict[str, Any]] = []
            self.requests: deque[dict[str, Any]] = deque(maxlen=MAX_REQUESTS)
            self.saved.clear()
            self.sessions.clear()
            self.known_jids: set[str] = set()
            self.last_key_id: str | None = None
            self._first_instance: dict[str, str] = {}
            self._seen_refs: Counter[str] = Counter()
            self._seen_prints: Counter[str] = Counter()
            self._last_seq: dict[tuple[str, str], int] = {}
            self.counts: Counter[str] = Counter()
            self.by_status: Counter[str] = Counter()
            self.most: Counter[str] = Counter()
            self.changed.notify_all()

    def now_ms(self) -> int:
        """Wall clock of the sandbox."""
        return self._clock.now_ms() + self.offset_ms

    def boot_ms(self) -> int:
        """Boot clock of the sandbox."""
        return self._clock.boot_ms() + self.offset_ms

    def since_reset_s(self) -> float:
        """Age of this run."""
        return (self.boot_ms() - self.started_ms) / 1000

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clocks; real waits are not shortened."""
        with self.lock:
            self.offset_ms += int(seconds * 1000)
        self._sound()

    def stop(self) -> None:
        """End every wait."""
        self.stopping.set()
        with self.lock:
            self.changed.notify_all()
        self._sound()

    def _sound(self) -> None:
        for alarm in self.alarms:
            alarm()

    def pause(self, seconds: float) -> None:
        """Wait, unless the sandbox stops."""
        self.stopping.wait(max(0.0, seconds))

    def is_open(self, instance: str) -> bool:
        """Whether the session really is open."""
        return self.sessions.is_open(instance)

    def announce(self, name: str, instance: str, data: Any, **when: Any) -> None:
        """Tell an event to whoever listens; ``delay_ms`` and ``still`` as :meth:`Webhooks.emit` takes them."""
        for listener in self.listeners:
            listener(name, instance, data, **when)

    def begin(self, entry: dict[str, Any], lanes: list[Lane], is_gone: Callable[[], bool]) -> dict[str, Any]:
        """Log a request at its start; ``lanes`` are the instance and chat that it occupies while it runs.

        Requests whose client has given up do not count: what is measured is how many a client lets run at once.
        """
        with self.lock:
            most = [0]
            for lane in lanes:
                running = self._running.setdefault(lane, [])
                running.append(is_gone)
                most.append(sum(not gone() for gone in running))
                name = "max_concurrency_per_instance" if len(lane) == 1 else "max_concurrency_per_chat"
                self.most[name] = max(self.most[name], most[-1])
            self._requests += 1
            entry |= {"started_at": self._at(), "concurrency": max(most)}
            entry["request_id"] = entry["request_id"] or f"r{self._requests}"
            self.requests.append(entry)
            if entry["client_ref"] is not None:
                self._first_instance.setdefault(entry["client_ref"], entry["instance"])
            return entry

    def end(self, entry: dict[str, Any], lanes: list[Lane], is_gone: Callable[[], bool], *, status: int | None) -> None:
        """Log its end. ``status`` None: the answer was not written whole."""
        sent = status is not None
        with self.lock:
            for lane in lanes:
                self._running[lane].remove(is_gone)
            entry |= {"ended_at": self._at(), "status": status, "response_sent": sent}
            self.by_status["none" if status is None else str(status)] += 1
            if entry["op"] is not None and entry["seq"] is None:
                self.counts["rejected"] += entry["is_send"]
            # A reset may have come in between.
            if entry["seq"] is not None and entry["seq"] <= len(self.deliveries):
                self.deliveries[entry["seq"] - 1]["response_sent"] = sent
            self.changed.notify_all()

    def amend_unsent(self, entry: dict[str, Any]) -> None:
        """Take back that an answer was written: its client had gone."""
        with self.lock:
            self.by_status[str(entry["status"])] -= 1
            self.by_status["none"] += 1
            entry |= {"status": None, "response_sent": False}
            if entry["seq"] is not None and entry["seq"] <= len(self.deliveries):
                self.deliveries[entry["seq"] - 1]["response_sent"] = False

    def accept(
        self, delivery: dict[str, Any], *, reuse_id: bool, make_id: Callable[[str], str] = _evolution_id
    ) -> dict[str, Any]:
        """Append to the delivery log; from here on the message counts as delivered.

        ``make_id`` makes the provider's id of 64 hex digits that never repeat.
        """
        with self.lock:
            if reuse_id and self.last_key_id is not None:
                key_id = self.last_key_id
            else:
                self._ids += 1
                digest = hashlib.sha256(f"{self._salt}|{self._ids}".encode()).hexdigest()
                key_id = make_id(digest)
            self.last_key_id = key_id
            entry = {"seq": len(self.deliveries) + 1, "accepted_at": self._at(), "key_id": key_id, **delivery}
            self.deliveries.append(entry)
            self._count(entry)
            self.changed.notify_all()
            return entry

    def _count(self, entry: dict[str, Any]) -> None:
        self.counts["accepted"] += 1
        self._seen_prints[entry["fingerprint"]] += 1
        self.counts["duplicates_by_fingerprint"] += self._seen_prints[entry["fingerprint"]] > 1
        if entry["client_ref"] is not None:
            self._seen_refs[entry["client_ref"]] += 1
            self.counts["duplicates_by_client_ref"] += self._seen_refs[entry["client_ref"]] > 1
            first = self._first_instance.get(entry["client_ref"], entry["instance"])
            self.counts["wrong_instance"] += first != entry["instance"]
        if entry["client_seq"] is not None:
            chat = (entry["instance"], entry["jid"])
            # Parts of one message share its number, so only a smaller one is out of order.
            self.counts["order_violations"] += entry["client_seq"] < self._last_seq.get(chat, 0)
            self._last_seq[chat] = max(entry["client_seq"], self._last_seq.get(chat, 0))

    def counters(self) -> dict[str, Any]:
        """All counts."""
        names = ("accepted", "rejected", "duplicates_by_client_ref", "duplicates_by_fingerprint")
        more = ("order_violations", "rate_violations", "wrong_instance")
        most = ("max_concurrency_per_instance", "max_concurrency_per_chat")
        with self.lock:
            counts = {name: int(self.counts[name]) for name in (*names, *more)}
            return {**counts, **{name: self.most[name] for name in most}, "by_status": dict(+self.by_status)}

    def wait_accepted(self, count: int, timeout_s: float) -> int:
        """Number of accepted messages, once there are ``count`` or the time is up."""
        with self.changed:
            self.changed.wait_for(
                lambda: len(self.deliveries) >= count or self.stopping.is_set(), timeout=max(0.0, timeout_s)
            )
            return len(self.deliveries)

    def fixtures(self) -> dict[str, Any]:
        """All fixtures, for inspection."""
        with self.lock:
            return {
                "instances": {name: asdict(one) for name, one in self.instances.items()},
                "contacts": {jid: asdict(one) for jid, one in self.contacts.items()},
                "groups": {jid: asdict(one) for jid, one in self.groups.items()},
            }

    def _at(self) -> dict[str, int]:
        return {"wall_ms": self.now_ms(), "boot_ms": self.boot_ms()}
