"""Times that answers name in their headers. Pure; no header makes it fail.

Gateways that speak HTTP use it.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

#: No proxy is obeyed for longer.
RETRY_AFTER_CAP_S = 15 * 60
_MINUTE_MS = 60_000


def retry_after_ms(headers: Mapping[str, str], *, now_ms: int) -> int | None:
    """``Retry-After`` in milliseconds, seconds or HTTP date, at least 1 s and at most 15 min; None when there is none.

    ``headers`` have lower-case names.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+", text, re.ASCII):
        seconds = float(text[:12])
    else:
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - datetime.fromtimestamp(now_ms / 1000, tz=UTC)).total_seconds()
    return int(min(max(seconds, 1.0), RETRY_AFTER_CAP_S) * 1000)


def regain_ms(headers: Mapping[str, str]) -> int | None:
    """When Meta takes calls of the account again, from ``X-Business-Use-Case-Usage``; None when it says nothing.

    Shape: ``{"<account id>": [{"type", "call_count", …, "estimated_time_to_regain_access": <minutes>}]}``. The longest counts.
    """
    text = headers.get("x-business-use-case-usage", "")
    try:
        usage = json.loads(text)
    except (ValueError, RecursionError):
        return None
    minutes = [one for one in map(_minutes, _entries(usage)) if one > 0]
    return int(max(minutes) * _MINUTE_MS) if minutes else None


def _entries(usage: Any) -> list[Any]:
    accounts = list(usage.values()) if isinstance(usage, dict) else []
    return [entry for entries in accounts if isinstance(entries, list) for entry in entries]


def _minutes(entry: Any) -> float:
    value = entry.get("estimated_time_to_regain_access") if isinstance(entry, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    # JSON of Python knows NaN, Infinity and numbers that no float holds.
    return float(value) if 0 < value < 1_000_000 else 0.0
