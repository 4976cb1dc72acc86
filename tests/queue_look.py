"""All that Redis holds of one queue, read in one round trip and decoded, for tests that compare it with a model."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import redis

from middleware.brokers.redis.keys import Keys


def _waiting(members: list[bytes]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for member in members:
        name, _, id_, _ = member.decode().split("\0", 3)
        places.setdefault(name, []).append(id_)
    return places


def _texts(found: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.items()}


@dataclass
class Look:
    """A queue as it lies in Redis. Ids without a body (cancelled ones) stand in the lists as they do there."""

    ready: list[str]
    bodies: set[str]
    about: set[str]
    delayed: dict[str, float]
    leases: dict[str, str]
    deliveries: dict[str, int]
    holders: dict[str, str]
    in_lanes: dict[str, list[str]]
    groups: dict[str, tuple[int, int]]
    slots: dict[str, str]
    gates: dict[str, list[float]]
    in_groups: dict[str, list[str]]
    group_due: dict[str, float]
    unique: dict[str, str]
    dead: list[str]
    letters: dict[str, dict[str, Any]]
    dead_bodies: set[str]
    unannounced: set[str]
    index: set[tuple[str, str, str]]
    fingerprints: dict[str, int]
    rang: bool

    def places(self) -> Counter[str]:
        """How many places each id that has a body, or is dead, stands in."""
        waiting = [id_ for places in (self.in_lanes, self.in_groups) for ids in places.values() for id_ in ids]
        standing = [id_ for id_ in [*self.ready, *waiting] if id_ in self.bodies]
        return Counter([*standing, *self.delayed, *self.leases, *self.dead])


def look(client: redis.Redis, keys: Keys, queue_name: str) -> Look:
    """What is there now."""
    raw = _raw(client, keys, queue_name)
    index = [member.decode().split("\0") for member in raw["dead_index"]]
    return Look(
        ready=[id_.decode() for id_ in raw["ready"]],
        bodies={id_.decode() for id_ in raw["messages"]},
        about={id_.decode() for id_ in raw["about"]},
        delayed={id_.decode(): score for id_, score in raw["delayed"]},
        leases=dict(member.decode().split("\0") for member, _ in raw["leases"]),
        deliveries={name: int(value) for name, value in _texts(raw["deliveries"]).items()},
        holders={lane: held.split(" ", 1)[1] for lane, held in _texts(raw["lanes"]).items()},
        in_lanes=_waiting(raw["lane_waiting"]),
        groups={name: (int(v.split()[0]), int(v.split()[1])) for name, v in _texts(raw["groups"]).items()},
        slots=_texts(raw["slots"]),
        gates={name: [float(part) for part in value.split()] for name, value in _texts(raw["gates"]).items()},
        in_groups=_waiting(raw["group_waiting"]),
        group_due={name.decode(): score for name, score in raw["group_due"]},
        unique=_texts(raw["unique"]),
        dead=[id_.decode() for id_, _ in raw["dead"]],
        letters={id_: json.loads(letter) for id_, letter in _texts(raw["letters"]).items()},
        dead_bodies={id_.decode() for id_ in raw["bodies"]},
        unannounced={id_.decode() for id_, _ in raw["unannounced"]},
        index={(kind, value, id_) for kind, value, _, id_ in index},
        fingerprints={name: int(value) for name, value in _texts(raw["fingerprints"]).items()},
        rang=bool(raw["wake"]),
    )


def _raw(client: redis.Redis, keys: Keys, queue_name: str) -> dict[str, Any]:
    pipe = client.pipeline(transaction=True)
    lists, zsets = ("ready",), ("delayed", "leases", "group_due", "dead", "unannounced")
    members = ("lane_waiting", "group_waiting", "dead_index")
    hashes = ("messages", "about", "deliveries", "lanes", "groups", "slots", "gates", "unique", "letters", "bodies")
    for name in lists:
        pipe.lrange(keys.of(queue_name, name), 0, -1)
    for name in zsets:
        pipe.zrange(keys.of(queue_name, name), 0, -1, withscores=True)
    for name in members:
        pipe.zrange(keys.of(queue_name, name), 0, -1)
    for name in (*hashes, "fingerprints"):
        pipe.hgetall(keys.of(queue_name, name))
    pipe.exists(keys.of(queue_name, "wake"))
    return dict(zip((*lists, *zsets, *members, *hashes, "fingerprints", "wake"), pipe.execute(), strict=True))
