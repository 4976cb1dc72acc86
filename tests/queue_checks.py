"""What must hold of a queue in Redis: against the model, and of itself whatever the model says."""

from queue_look import Look
from queue_model import QueueModel

from middleware.brokers.redis.values import QueueStats


def check_against(model: QueueModel, now: Look) -> None:
    """Every place holds what the model says, in its order."""
    assert model.standing(now.ready) == model.standing(model.ready)
    assert set(now.delayed) == model.delayed
    assert set(now.leases) == model.running
    assert now.holders == model.holders
    waiting = {name: model.standing(ids) for name, ids in now.in_lanes.items()}
    assert {lane: ids for lane, ids in waiting.items() if ids} == _filled(model, model.in_lanes)
    waiting = {name: model.standing(ids) for name, ids in now.in_groups.items()}
    expected = {group: place.all() for group, place in model.in_groups.items()}
    assert {group: ids for group, ids in waiting.items() if ids} == _filled(model, expected)
    assert now.slots == model.slots
    assert {group: (gate[0], gate[5] > 0) for group, gate in now.gates.items()} == {
        group: (gate.limit, gate.is_paused) for group, gate in model.gates.items()
    }
    assert set(now.group_due) == set(model.group_due)
    assert now.bodies == model.live
    assert now.deliveries == model.crashes
    assert sorted(now.dead) == sorted(model.dead)
    assert now.unannounced == model.unannounced
    for key in now.unique | model.keys:
        owner = now.unique.get(key)
        assert (owner if owner in now.bodies | now.unannounced else None) == model.owner_of_key(key)


def check_stats(model: QueueModel, stats: QueueStats) -> None:
    """The depths add up; each is exact unless a cancelled message stands where nobody can tell."""
    in_lanes = [id_ for ids in model.in_lanes.values() for id_ in ids]
    in_groups = [id_ for waiting in model.in_groups.values() for id_ in waiting.all()]
    assert (stats.delayed, stats.in_flight, stats.dead) == (len(model.delayed), len(model.running), len(model.dead))
    assert stats.unfinished == len(model.live)
    assert (stats.paused_for_s is not None) == model.is_paused
    if {*model.ready, *in_lanes, *in_groups} <= model.live:
        waiting = (stats.ready, stats.waiting_in_lane, stats.waiting_in_group)
        assert waiting == (len(model.ready), len(in_lanes), len(in_groups))


def _filled(model: QueueModel, places: dict[str, list[str]]) -> dict[str, list[str]]:
    standing = {name: model.standing(ids) for name, ids in places.items()}
    return {name: ids for name, ids in standing.items() if ids}


def check_alone(before: Look, now: Look) -> None:
    """What holds of any queue, by what lies in Redis only."""
    _everybody_is_somewhere_once(now)
    _lanes_have_one(now)
    _groups_are_counted(before, now)
    letters_are_indexed(now)
    _nothing_is_left_behind(now)
    _the_bell_rang(before, now)


def _everybody_is_somewhere_once(now: Look) -> None:
    places = now.places()
    assert set(places.values()) <= {1}
    assert set(places) == now.bodies | set(now.dead)


def _lanes_have_one(now: Look) -> None:
    """Who waits for a lane waits for somebody; who is past it holds it."""
    for lane, ids in now.in_lanes.items():
        if now.bodies & set(ids):
            assert now.holders[lane] in now.bodies | set(now.dead)
            assert now.holders[lane] not in ids


def _groups_are_counted(before: Look, now: Look) -> None:
    admitted = {group: sum(one == group for one in now.slots.values()) for group in set(now.slots.values())}
    running = {group: sum(now.slots.get(id_) == group for id_ in now.leases) for group in admitted}
    assert now.groups == {group: (count, running[group]) for group, count in admitted.items()}
    assert set(now.slots) <= set(now.leases) | set(now.ready)
    for group, gate in now.gates.items():
        limit = gate[0]
        if limit >= 0:
            # A gate that closes takes nobody's place away, but gives none either.
            assert admitted.get(group, 0) <= max(limit, before.groups.get(group, (0, 0))[0])
    for group, ids in now.in_groups.items():
        if now.bodies & set(ids):
            limit, _, _, _, _, paused_at_ms, _ = now.gates[group]
            is_full = limit >= 0 and admitted.get(group, 0) >= limit
            assert is_full or paused_at_ms > 0 or group in now.group_due


def letters_are_indexed(now: Look) -> None:
    dead = set(now.dead)
    assert (set(now.letters), now.dead_bodies) == (dead, dead)
    assert now.unannounced <= dead
    expected, fingerprints = set(), {}
    for id_, letter in now.letters.items():
        values = {"f": letter["fingerprint"], "g": letter["about"].get("group"), "l": letter["about"].get("lane")}
        expected |= {(kind, value, id_) for kind, value in {**values, "r": letter["reason"]}.items() if value}
        fingerprints[letter["fingerprint"]] = fingerprints.get(letter["fingerprint"], 0) + 1
    assert now.index == expected
    assert now.fingerprints == fingerprints


def _nothing_is_left_behind(now: Look) -> None:
    assert now.about <= now.bodies
    assert set(now.deliveries) <= now.bodies
    assert set(now.holders.values()) <= now.bodies | set(now.dead)
    voids = {id_ for places in (now.in_lanes, now.in_groups) for ids in places.values() for id_ in ids} - now.bodies
    # The key of one that was cancelled while it waited goes when somebody comes past it, or to whoever asks for it.
    assert set(now.unique.values()) <= now.bodies | now.unannounced | voids


def _the_bell_rang(before: Look, now: Look) -> None:
    new = set(now.ready) & now.bodies - set(before.ready)
    first = min(now.delayed.values(), default=None)
    is_nearer = first is not None and first < min(before.delayed.values(), default=float("inf"))
    assert now.rang or not (new or (is_nearer and first > 1))
