"""The command line: ``chat-actors …``, ``python -m actors.cli …`` and ``manage.py chat …``.

All three call :func:`main`. Every command stands in a file of its own and imports what it needs when it runs.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, *, program: str = "chat-actors") -> int:
    """Run one command; returns the exit code (docs/exit-codes.md). ``argv`` is without the program's name, which ``program`` is."""
    from actors.cli.app import run

    return int(run(list(sys.argv[1:] if argv is None else argv), program=program))
