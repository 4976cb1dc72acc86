"""Durations and amounts of memory as people read them."""


def age(seconds: float | None) -> str | None:
    """A duration: ``8.1 s``, ``3 min``, ``2 h``, ``5 d``."""
    if seconds is None:
        return None
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.1f} {unit}" if unit == "s" else f"{seconds // length:.0f} {unit}"
    return f"{seconds // 86_400:.0f} d"


def size(amount: float | None) -> str | None:
    """An amount of memory: ``512 B``, ``3.0 MB``."""
    if amount is None:
        return None
    for unit in ("B", "kB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"
