"""Every key the carrier uses, and the only place where their names are made.

Keys are fixed per queue, never one per lane or message: so every script names all it touches in ``KEYS``.
Read by ``scripts`` and by docs/redis-keys.md, which a test compares.
"""

from dataclasses import dataclass

#: Suffix of each key of a queue; (name in Lua, suffix, type, what it holds). A script gets those that it and its parts need, in
#: this order.
QUEUE_KEYS: tuple[tuple[str, str, str, str], ...] = (
    ("ready", "", "list", "ids that may run now, next one first"),
    ("messages", ".msgs", "hash", "id → message as JSON; without it an id is void (cancelled)"),
    (
        "about",
        ".about",
        "hash",
        "id → 'lane NUL group NUL unique_key NUL flags', unless its place has it or it has none",
    ),
    ("delayed", ".delayed", "zset", "id → eta_ms; retries and put-back messages wait here too"),
    ("leases", ".leases", "zset", "'id NUL token' → expires_at_ms; in flight"),
    ("deliveries", ".deliveries", "hash", "id → times started without an outcome, of those that were"),
    ("lanes", ".lanes", "hash", "lane → '<since_ms> <id>' of the message that holds it"),
    ("lane_waiting", ".lane_waiting", "zset", "score 0, member 'lane NUL sequence NUL id NUL facts': who comes next"),
    ("groups", ".groups", "hash", "group → '<admitted> <running>': ready or running, and of these running"),
    ("slots", ".slots", "hash", "id → group, of every message that is ready or running and has one"),
    (
        "gates",
        ".gates",
        "hash",
        "group → limit, next_at_ms, interval_ms, burst, tat_ms, paused_at_ms, jitter; none = open",
    ),
    ("group_waiting", ".group_waiting", "zset", "score 0, member 'group NUL place NUL id NUL facts': who comes next"),
    ("group_due", ".group_due", "zset", "group → when its gate may let the next one in"),
    ("unique", ".unique", "hash", "unique_key → id of the message that has it"),
    ("cooling", ".cooling", "zset", "unique_key → until when it stays taken though its message is over"),
    ("finished", ".finished", "set", "ids of messages that ended; a repeated enqueue finds itself here"),
    ("finished_before", ".finished_before", "set", "the same of two minutes before; they take turns"),
    ("dead", "{dead}", "zset", "id → died_at_ms"),
    ("letters", "{dead}.letters", "hash", "id → JSON: reason, fingerprint, evidence, deliveries, about"),
    ("bodies", "{dead}.msgs", "hash", "id → message as it last was, raw bytes"),
    ("unannounced", "{dead}.unannounced", "zset", "id → announce_at_ms; dead letters nobody has been told of"),
    ("dead_index", "{dead}.index", "zset", "score 0, member 'kind NUL value NUL sequence NUL id'; kinds f, g, l, r"),
    ("fingerprints", "{dead}.fingerprints", "hash", "fingerprint → number of letters"),
    ("control", ".control", "hash", "paused_at_ms, and what the scripts note for themselves"),
    ("counters", ".counters", "hash", "what happened since the queue exists; also the token and place sequences"),
    ("wake", ".wake", "list", "at most one token: there is something to fetch"),
    ("stock_delayed", ".DQ", "list", "a stock producer's delayed ids, until they are taken over"),
    ("stock_delayed_messages", ".DQ.msgs", "hash", "and their messages"),
    ("stock_dead", ".XQ", "zset", "a stock worker's rejected ids, until they are taken over"),
    ("stock_dead_messages", ".XQ.msgs", "hash", "and their messages"),
)


SUFFIXES = {name: suffix for name, suffix, _, _ in QUEUE_KEYS}


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
        return f"{self.namespace}:{queue_name}{SUFFIXES[name].format(dead=self.dead)}"

    def stock_hands(self, broker_id: str, queue_name: str) -> str:
        """Set of ids that a stock worker has fetched."""
        return f"{self.namespace}:__acks__.{broker_id}.{queue_name}"

    @property
    def stock_heartbeats(self) -> str:
        """Sorted set, stock broker id → when it last did anything (ms, by its own clock); its producers too."""
        return f"{self.namespace}:__heartbeats__"

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
        """Stream of memory samples, at most one a slot; its ids are slots."""
        return f"{self.namespace}:__memory__"

    @property
    def audit(self) -> str:
        """Stream of what operators did, capped."""
        return f"{self.namespace}:__audit__"

    @property
    def alerts(self) -> str:
        """Hash: the book of alerts as JSON (``middleware.alerts``), and when all facts were looked at last."""
        return f"{self.namespace}:__alerts__"

    @property
    def restoring(self) -> str:
        """Text that one restore at a time holds; expires."""
        return f"{self.namespace}:__restoring__"

    @property
    def memory_quarters(self) -> str:
        """Stream of their summaries, one for each quarter hour (``memory.QUARTERS_SUFFIX``)."""
        return f"{self.memory}.quarters"
