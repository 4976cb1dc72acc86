"""Times as people write them: ``90m`` ago, ``7d`` ago, ``2026-11-26``, ``2026-11-26T14:00+01:00``."""

import re
from datetime import UTC, datetime

from actors.cli import terminal
from middleware.clock import SystemClock

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGO = re.compile(r"(\d{1,9})([smhdw])")


def now_ms() -> int:
    """Milliseconds since 1970."""
    return SystemClock().now_ms()


def read_ms(text: str | None, *, now_ms: int) -> int | None:
    """Milliseconds since 1970; a time without a zone is UTC.

    Raises:
        Refused: it is no time.
    """
    if text is None:
        return None
    if ago := _AGO.fullmatch(text.strip()):
        return now_ms - int(ago[1]) * _UNITS_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise terminal.Refused(f"{text!r} is no time; write 90m, 2h, 7d or 2026-11-26T14:00+01:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
