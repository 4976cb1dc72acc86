"""How long to wait before the next attempt. Pure; the caller brings the draw."""

#: Upper bound of the first wait, in milliseconds.
BASE_MS = 15_000
#: No wait is longer, in milliseconds.
CAP_MS = 60 * 60 * 1000


def delay_ms(attempt: int, *, draw: float, base_ms: int = BASE_MS, cap_ms: int = CAP_MS) -> int:
    """Wait after failed ``attempt`` (from 1), in milliseconds, with full jitter.

    The bound doubles from ``base_ms`` and stops at ``cap_ms``; ``draw`` in [0, 1) picks any point below it, so that
    messages that failed together do not return together. With the defaults attempts 1, 2, 3 wait at most 15, 30, 60 s.

    Raises:
        ValueError: ``attempt`` is below 1 or ``draw`` outside [0, 1).
    """
    if attempt < 1:
        raise ValueError(f"attempt is {attempt}; the first attempt is 1")
    if not 0 <= draw < 1:
        raise ValueError(f"draw is {draw}; it must be in [0, 1)")
    # 2**40 ms is 35 years: beyond it the cap always wins, and an unbounded shift would build huge integers.
    bound_ms = min(cap_ms, base_ms * 2 ** min(attempt - 1, 40))
    return int(bound_ms * draw)
