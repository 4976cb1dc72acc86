"""Every store of this distribution keeps the contract, on every database that it may run on."""

import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.django_world import DeskWorld, DjangoWorld
from contracts.store_attempts import KeepsAttempts, SurvivesRaces
from contracts.store_contract import StoreContract
from contracts.store_events import AnnouncesChanges
from contracts.store_outcomes import HearsProviders, RecordsSends
from contracts.store_reading import ReadsMessages
from contracts.store_recording import RecordsOutcomes, RecordsRaces

from actors.stores.memory import MemoryStore
from actors.stores.rows import ConversationRow, MessageRow, Row
from actors.stores.sqlite import SqliteStore


class MemoryWorld:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.message, self.conversation = self.store.message, self.store.conversation

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def add(self, *rows: Row) -> None:
        self.store.add(*rows)

    def another_store(self) -> MemoryStore:
        return self.store

    def write_group_key(self, conversation_id: str, key: str, value: str) -> None:
        with self.store._lock:
            row = self.store.conversation(conversation_id)
            row.group_metadata[key] = value

    def leave_thread(self) -> None:
        """Nothing to give back."""


class SqliteWorld:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store, self.other = SqliteStore(path), SqliteStore(path)

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def add(self, *rows: Row) -> None:
        self.store.add(*rows)

    def message(self, message_id: str) -> MessageRow:
        return self.other.message(message_id)

    def conversation(self, conversation_id: str) -> ConversationRow:
        return self.other.conversation(conversation_id)

    def another_store(self) -> SqliteStore:
        return self.other

    def write_group_key(self, conversation_id: str, key: str, value: str) -> None:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        connection.execute(
            "UPDATE conversation SET group_metadata = json_set(group_metadata, ?, ?) WHERE id = ?",
            (f"$.{key}", value, conversation_id),
        )
        connection.close()

    def leave_thread(self) -> None:
        """Threads share the connection of the process."""

    def close(self) -> None:
        self.store.close()
        self.other.close()


class TestMemory(StoreContract):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()


class TestSqlite(StoreContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[SqliteWorld]:
        world = SqliteWorld(tmp_path / "chats.sqlite3")
        yield world
        world.close()


class TestDjangoOnSqlite(StoreContract):
    @pytest.fixture
    def world(self, sqlite_alias: str, unblocked: None) -> Iterator[DjangoWorld]:
        world = DjangoWorld(sqlite_alias)
        yield world
        world.clear()


@pytest.mark.postgres
class TestDjangoOnPostgres(StoreContract):
    @pytest.fixture
    def world(self, postgres_alias: str, unblocked: None) -> Iterator[DjangoWorld]:
        world = DjangoWorld(postgres_alias)
        yield world
        world.clear()


class TestDjangoWithOtherNames(
    *(ReadsMessages, KeepsAttempts, SurvivesRaces, RecordsOutcomes, RecordsRaces),
    *(RecordsSends, HearsProviders, AnnouncesChanges),
):
    @pytest.fixture
    def world(self, sqlite_alias: str, unblocked: None) -> Iterator[DeskWorld]:
        world = DeskWorld(sqlite_alias)
        yield world
        world.clear()
