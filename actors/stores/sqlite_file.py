"""One SQLite file, opened safely from many threads and processes.

Used by ``sqlite.py``; the schema is made on first use.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.errors import SettingsError
from actors.stores import sqlite_schema

#: How long a writer waits for another process's, in seconds.
BUSY_S = 30.0


class SqliteFile:
    """One connection per process, shared by its threads under a lock: SQLite writes one at a time anyway."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._in_block = False
        self._inherited: list[sqlite3.Connection | None] = []

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """The connection, in autocommit, for this thread alone."""
        with self._lock:
            if self._connection is None or self._pid != os.getpid():
                # A forked child must neither use nor close what its parent has open (sqlite.org/howtocorrupt.html).
                self._inherited.append(self._connection)
                self._connection, self._pid = _connect(self._path), os.getpid()
            if self._connection.in_transaction and not self._in_block:
                # A time limit may strike anywhere, also between a BEGIN and the block that would have ended it.
                self._connection.execute("ROLLBACK")
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The same inside a transaction that holds the write lock from its start; a block inside another is part of it."""
        with self.open() as connection:
            if self._in_block:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._in_block = True
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._in_block = False
            connection.execute("COMMIT")

    def close(self) -> None:
        """Give the file back; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None


def _connect(path: Path) -> sqlite3.Connection:
    # It holds chat texts and keys: for its owner only.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    # A claim must be on disk before the gateway is called, even if the machine loses power then.
    connection.execute("PRAGMA synchronous = FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > sqlite_schema.VERSION:
        connection.close()
        raise SettingsError([f"CHAT_SQLITE_PATH: {str(path)!r} was made by a newer version of this package; update it"])
    if version < sqlite_schema.VERSION:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        upgrades = [one for old, steps in sqlite_schema.UPGRADES.items() if 0 < version <= old for one in steps]
        for statement in (*upgrades, *sqlite_schema.STATEMENTS):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {sqlite_schema.VERSION}")
        connection.execute("COMMIT")
    return connection
