"""Rows that worker processes share with a test: in an SQLite file, or in PostgreSQL as the demo project has them.

``tests/chaos/conftest.py`` imports the fixtures ``sqlite_rows`` and ``postgres_rows``; each gives the rows, and the environment
that lets a worker find them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest
from chat.models import WhatsAppInstance
from contracts.django_world import DjangoWorld
from django.db import connections
from waiting import stays

from actors.stores.base import Store
from actors.stores.rows import MessageRow, Row
from actors.stores.sqlite import SqliteStore


class Rows(Protocol):
    """A store's rows; ``store`` works on them.

    ``mend`` puts another key into an instance's row, ``disturb`` lets the workers' database fail, ``leave_thread`` gives back
    what the calling thread has open.
    """

    store: Store

    def add(self, *rows: Row) -> None: ...

    def message(self, message_id: str) -> MessageRow: ...

    def mend(self, instance_name: str, key: str) -> None: ...

    def disturb(self) -> None: ...

    def leave_thread(self) -> None: ...


class SqliteRows:
    """Rows in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore(path)
        self.add, self.message = self.store.add, self.store.message

    def mend(self, instance_name: str, key: str) -> None:
        with closing(sqlite3.connect(self.path, timeout=10)) as connection, connection:
            connection.execute("UPDATE instance SET api_key = ? WHERE instance_name = ?", (key, instance_name))

    def disturb(self) -> None:
        """Somebody else writes for a while, as long as no writer waits in vain."""
        with closing(sqlite3.connect(self.path, timeout=10)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            stays(lambda: True, for_ms=300)
            connection.rollback()

    def leave_thread(self) -> None:
        """The store has one connection for all threads."""


class DjangoRows(DjangoWorld):
    """Rows of the demo project, in PostgreSQL."""

    def mend(self, instance_name: str, key: str) -> None:
        WhatsAppInstance.objects.using(self.alias).filter(instance_name=instance_name).update(api_key=key)

    def disturb(self) -> None:
        """PostgreSQL ends every connection to this database but our own, whatever is under way on it."""
        # Those of this process that other tests use would be found dead by them.
        for one in connections.all(initialized_only=True):
            if one.alias != self.alias and one.vendor == "postgresql":
                one.close()
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        with connections[self.alias].cursor() as cursor:
            cursor.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608


@pytest.fixture
def sqlite_rows(tmp_path: Path) -> tuple[Rows, dict[str, str]]:
    path = tmp_path / "chat.sqlite3"
    return SqliteRows(path), {"CHAT_STORE": "sqlite", "CHAT_SQLITE_PATH": str(path)}


@pytest.fixture
def postgres_rows(postgres_alias: str, postgres, unblocked: None) -> Iterator[tuple[Rows, dict[str, str]]]:
    rows = DjangoRows(postgres_alias)
    rows.clear()
    project = Path(__file__).parent / "project"
    environ = {
        "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        "CHATSITE_DATABASE": postgres.url,
        "PYTHONPATH": f"{project.parents[1]}:{project}",
    }
    yield rows, environ
    # The database is that of all tests: another one's instance of the same name would send with this one's key.
    rows.clear()
