"""How much memory this process holds.

The roster shows it of every worker, and ``memory_watch`` has a worker replaced that grew too large.
"""

import os
from pathlib import Path

_STATM = Path("/proc/self/statm")


def rss_bytes() -> int | None:
    """Resident bytes of this process, now; None where the system does not say (it has no ``/proc``)."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
