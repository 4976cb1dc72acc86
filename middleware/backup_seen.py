"""Which ids were copied already, however many there are: kept in a file of SQLite's own that is gone afterwards.

``middleware.backup`` asks it. A Python set of a million ids takes 100 MB; this takes a quarter of that at most.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from types import TracebackType

#: Ids that are asked for at a time; SQLite took 999 values at most for long.
_PAGE = 500
#: Memory for pages of the file, in KiB.
_CACHE_KIB = 4096
#: Up to so many ids are kept in memory, about 25 MB: there a look takes a twentieth of the time.
IN_MEMORY = 200_000


class Seen:
    """Ids that were seen, and ids that are put aside to be looked at later. For one thread.

    Raises:
        sqlite3.Error: the disk for temporary files is full.
    """

    def __init__(self, *, in_memory: int = IN_MEMORY) -> None:
        self._most_in_memory = in_memory
        self._in_memory: set[bytes] = set()
        #: Whether some are in the file.
        self._has_spilled = False
        # An empty name is a temporary file that SQLite deletes by itself, and writes only when its cache is full.
        self._db = sqlite3.connect("", isolation_level=None)
        for line in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            f"PRAGMA cache_size=-{_CACHE_KIB}",
            "CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE aside (id BLOB PRIMARY KEY)",
        ):
            self._db.execute(line)

    def __enter__(self) -> "Seen":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def add(self, ids: Sequence[bytes]) -> set[bytes]:
        """Mark ids as seen; returns those that were not."""
        new = self.unseen(ids)
        self._in_memory |= new
        if len(self._in_memory) > self._most_in_memory:
            self._spill()
        return new

    def _spill(self) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO seen VALUES (?)", ((id_,) for id_ in sorted(self._in_memory)))
        self._db.execute("COMMIT")
        self._in_memory, self._has_spilled = set(), True

    def put_aside(self, ids: Sequence[bytes]) -> None:
        """Keep ids that were not seen, for :meth:`aside`."""
        self._db.executemany("INSERT OR IGNORE INTO aside VALUES (?)", ((id_,) for id_ in self.unseen(ids)))

    def aside(self) -> Iterator[list[bytes]]:
        """What was put aside and not seen since, page by page."""
        last = 0
        while rows := self._db.execute(
            "SELECT rowid, id FROM aside WHERE rowid > ? ORDER BY rowid LIMIT ?", (last, _PAGE)
        ).fetchall():
            last = rows[-1][0]
            unseen = self.unseen([id_ for _, id_ in rows])
            yield [id_ for _, id_ in rows if id_ in unseen]

    @property
    def has_aside(self) -> bool:
        """Whether anything was put aside."""
        return self._db.execute("SELECT 1 FROM aside LIMIT 1").fetchone() is not None

    def unseen(self, ids: Sequence[bytes]) -> set[bytes]:
        """Those of the ids that were not seen."""
        unseen = set(ids) - self._in_memory
        if not self._has_spilled:
            return unseen
        for first in range(0, len(ids), _PAGE):
            part = list(ids[first : first + _PAGE])
            marks = ",".join("?" * len(part))
            found = self._db.execute(f"SELECT id FROM seen WHERE id IN ({marks})", part)  # noqa: S608  # question marks
            unseen.difference_update(id_ for (id_,) in found)
        return unseen
