"""Divide the places of a process among the queues that may have something. Pure; ``exchange`` asks before every round."""

from collections.abc import Collection, Mapping


def divided(
    wanted: Mapping[str, int], *, room: int | None, slow_queues: Collection[str] = (), slow_room: int | None = None
) -> dict[str, int]:
    """How much to fetch from each of ``wanted`` (queue → most that its consumer takes), in their order; none of nothing.

    Args:
        wanted: the one asked longest ago first; each gets an equal part of what is left.
        room: places of the process; None = as many as the consumers take.
        slow_queues: these together get no more than ``slow_room``.
        slow_room: None = no bound of their own.
    """
    shares: dict[str, int] = {}
    for index, (name, most) in enumerate(wanted.items()):
        share = most if room is None else -(-room // (len(wanted) - index))
        if slow_room is not None and name in slow_queues:
            share = min(share, slow_room)
            slow_room -= share
        if room is not None:
            room -= share
        if share > 0:
            shares[name] = share
    return shares
