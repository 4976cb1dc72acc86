"""A Redis as the old product left it: lists in database 2, streams in database 3, keys and numbers in its payloads."""

import json
from collections.abc import Iterable
from typing import Any

import redis

from middleware.brokers.redis.embedded import EmbeddedRedis

API_KEY = "B6D711FCDE4D4FD5936544120E713976"
PHONE = "+5511987654321"
JID = "120363041234567890@g.us"
BASE_URL = "https://evo.old-product.example"
SECRETS = (API_KEY, PHONE, PHONE[1:], JID, "120363041234567890", "evo.old-product", "4321")
AT = "2026-03-21T10:11:12.131415+00:00"


def picture(conversation_id: str) -> dict[str, Any]:
    return {"conversation_id": conversation_id, "phone": PHONE}


def group(conversation_id: str, **fields: Any) -> dict[str, Any]:
    keys = {"instance_name": "support", "api_key": API_KEY, "base_url": BASE_URL}
    return {"conversation_id": conversation_id, "group_jid": JID, **keys, **fields}


class OldProduct:
    """Producers, consumers and leftovers of the lists and streams."""

    def __init__(self, server: EmbeddedRedis, *, list_db: int = 2, stream_db: int = 3) -> None:
        self.server = server
        self.lists = server.client(list_db)
        self.streams = server.client(stream_db)

    def push(self, queue: str, *payloads: dict[str, Any] | bytes, prefix: str = "chat:queue") -> None:
        """As its producer did: at the head."""
        raw = [one if isinstance(one, bytes) else json.dumps(one) for one in payloads]
        self.lists.lpush(f"{prefix}:{queue}", *raw)

    def dead(self, queue: str, payload: dict[str, Any]) -> None:
        """As its list consumer gave up: the time is JSON in JSON."""
        record = {"queue": f"chat:queue:{queue}", "payload": payload, "error": f"401 {API_KEY} for {PHONE}"}
        self.push("dead_letter", {**record, "failed_at": json.dumps(AT)})

    def add(self, stream: str, *payloads: dict[str, Any]) -> list[bytes]:
        """As its stream producer did."""
        made = []
        for payload in payloads:
            fields = {"retry": 0, "enqueued_at": AT, "extra": {}, **payload}
            text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
            made.append(self.streams.xadd(f"chat:stream:{stream}", text, maxlen=5_000, approximate=True))
        return made

    def consume(self, stream: str, *, count: int, acknowledge: bool) -> list[bytes]:
        """As its workers did: all replicas under one name."""
        key, name = f"chat:stream:{stream}", "chat_workers"
        if not self.streams.xinfo_groups(key):
            self.streams.xgroup_create(key, name, id="0")
        rows = self.streams.xreadgroup(name, "worker-default-send-1", {key: ">"}, count=count)
        ids = [id_ for id_, _ in rows[0][1]] if rows else []
        if acknowledge and ids:
            self.streams.xack(key, name, *ids)
        # What a connection said last tells whether it consumes.
        self.streams.ping()
        return ids

    def close(self) -> None:
        self.lists.close()
        self.streams.close()


def everything(server: EmbeddedRedis, databases: Iterable[int] = range(4)) -> str:
    """All keys and values of these databases as one text."""
    text: list[bytes] = []
    for db in databases:
        with server.client(db) as client:
            for key in client.scan_iter("*", count=1_000):
                text += [key, client.dump(key) or b""]
                text += _values(client, key)
    return b"\n".join(text).decode("utf-8", "replace")


def _values(client: redis.Redis, key: bytes) -> list[bytes]:
    match client.type(key):
        case b"list":
            return client.lrange(key, 0, -1)
        case b"hash":
            return [part for pair in client.hgetall(key).items() for part in pair]
        case b"zset":
            return client.zrange(key, 0, -1)
        case b"set":
            return list(client.smembers(key))
        case b"stream":
            return [part for _, fields in client.xrange(key) for pair in fields.items() for part in pair]
        case _:
            return [client.get(key) or b""]


def leaks(text: str) -> list[str]:
    """Secrets of the old payloads that stand in a text."""
    return [secret for secret in SECRETS[:-1] if secret in text]
