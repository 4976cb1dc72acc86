"""Every key the carrier uses, and the only place where their names are made.

Keys are fixed per queue, never one per lane or message: so every script names all it touches in ``KEYS``.
Read by ``scripts`` (their order is the order that lua/prelude.lua binds) and by docs/redis-keys.md, which a test compares.
"""

from dataclasses import dataclass

#: Suffix of each key of a queue, in the order of ``KEYS``; (name in Lua, suffix, type, what it holds).
QUEUE_KEYS: tuple[tuple[str, str, str, str], ...] = (
    ("ready", "", "list", "ids that may run now, next one first"),
    ("messages", ".msgs", "hash", "id → message as JSON; without it an id is void (cancelled)"),
    ("about", ".about", "hash", "id → JSON: lane, group, unique_key, enqueued_at_ms"),
    ("delayed", ".delayed", "zset", "id → eta_ms; retries and put-back messages wait here too"),
    ("leases", ".leases", "zset", "id → expires_at_ms; in flight"),
    ("tokens", ".tokens", "hash", "id → fencing token of its present lease"),
    ("deliveries", ".deliveries", "hash", "id → times started without an outcome"),
    ("lanes", ".lanes", "hash", "lane → '<since_ms> <id>' of the message that holds it"),
    ("lane_waiting", ".lane_waiting", "zset", "score 0, member 'lane NUL sequence NUL id': who comes next"),
    ("unique", ".unique", "hash", "unique_key → id of the live message that has it"),
    ("finished", ".finished", "zset", "tombstones: id or token → forget_at_ms; a repeated call finds itself here"),
    ("dead", "{dead}", "zset", "id → died_at_ms"),
    ("letters", "{dead}.letters", "hash", "id → JSON: reason, evidence, deliveries, about"),
    ("bodies", "{dead}.msgs", "hash", "id → message as it last was, raw bytes"),
    ("unannounced", "{dead}.unannounced", "zset", "id → announce_at_ms; dead letters nobody has been told of"),
    ("counters", ".counters", "hash", "what happened since the queue exists; also the token and lane sequences"),
    ("wake", ".wake", "list", "at most one token: there is something to fetch"),
)


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of all keys under one prefix. ``namespace`` has no trailing colon: stock Dramatiq's convention.

    ``dead`` is the suffix of the dead letters: ``.XQ`` shares stock's names and types (the bare broker class); ours is
    ``.dead``, because a stock producer's maintenance deletes what is older than a week from ``.XQ``.
    """

    namespace: str
    dead: str = ".dead"

    def queue(self, queue_name: str) -> list[str]:
        """All keys of a queue, in the order of ``KEYS``."""
        return [f"{self.namespace}:{queue_name}{suffix.format(dead=self.dead)}" for _, suffix, _, _ in QUEUE_KEYS]

    def of(self, queue_name: str, name: str) -> str:
        """One key of a queue by its name in Lua."""
        for key_name, suffix, _, _ in QUEUE_KEYS:
            if key_name == name:
                return f"{self.namespace}:{queue_name}{suffix.format(dead=self.dead)}"
        raise KeyError(name)

    def doorbell(self, broker_id: str) -> str:
        """List that only this process waits on: a change inside it must end its own block."""
        return f"{self.namespace}:__wake__.{broker_id}"

    @property
    def workers(self) -> str:
        """Sorted set, worker id → alive until (ms): which processes serve queues."""
        return f"{self.namespace}:__workers__"

    @property
    def worker_facts(self) -> str:
        """Hash, worker id → JSON of what it said of itself (``roster.ServingWorker``)."""
        return f"{self.namespace}:__workers__.facts"

    @property
    def ticks(self) -> str:
        """Sorted set, 'actor@slot_ms' → forget at (ms): slots of periodic actors that were sent."""
        return f"{self.namespace}:__ticks__"

    @property
    def memory(self) -> str:
        """Stream of memory samples, at most one a minute; its ids are minutes."""
        return f"{self.namespace}:__memory__"
