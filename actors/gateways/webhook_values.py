"""What a webhook's values may be before anything is made of them. Pure; whatever was posted, nothing here fails.

``cloud_webhooks`` and ``evolution_webhooks`` read with it.
"""

import json
from collections.abc import Iterator
from typing import Any

#: Longest id, name or address that is kept, in characters; stores keep 255.
MAX_CHARS = 255
#: Milliseconds of the year 2100: a later time is none.
_LATEST_MS = 4_102_444_800_000


def decoded(raw: bytes) -> Any:
    """The body as JSON; None when it is none."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def items(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of a list; nothing when it is no list."""
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def table(value: Any) -> dict[str, Any]:
    """The object itself, or an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any, *, max_chars: int = MAX_CHARS) -> str | None:
    """A text that can be stored and compared: not empty, not too long, and printable."""
    # A lone surrogate is a str that no database takes, and a null byte one that PostgreSQL refuses; neither is printable.
    if isinstance(value, str) and 0 < len(value) <= max_chars and value.isprintable() and value.strip():
        return value
    return None


def whole(value: Any) -> int | None:
    """A whole number, also written as a text of digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15 else None


def time_ms(seconds: Any) -> int:
    """Seconds since 1970 in milliseconds; 0 when it is no time."""
    at_s = whole(seconds)
    return at_s * 1000 if at_s is not None and 0 < at_s * 1000 <= _LATEST_MS else 0
